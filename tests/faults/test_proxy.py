"""The proxy does to a connection what it says, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import Proxy
from tests.harness import PATIENCE, steady_port
from tests.redis_servers import RedisServer

pytestmark = pytest.mark.anyio

PING, PONG = b"PING\r\n", b"+PONG\r\n"
ECHO, ECHOED = b"ECHO hello\r\n", b"$5\r\nhello\r\n"
# So long nothing comes where nothing may come.
SILENCE = 0.1


class Caller:
    """A client that speaks to the server by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def call(self, command: bytes = PING, within: float = PATIENCE) -> bytes:
        """What is answered, or all until the connection ends."""
        self._writer.write(command)
        return await self.hear(within)

    async def hear(self, within: float = PATIENCE) -> bytes:
        return await asyncio.wait_for(self._reader.read(100), within)

    def hang_up(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    async with Proxy(redis_server.port) as proxy:
        yield proxy


async def connect(proxy: Proxy) -> Caller:
    return Caller(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_it_passes_everything_on(proxy: Proxy) -> None:
    caller = await connect(proxy)
    assert await caller.call(PING) == PONG
    assert await caller.call(ECHO) == ECHOED
    caller.hang_up()


async def test_a_cut_resets_the_old_and_refuses_the_new_until_it_heals(proxy: Proxy) -> None:
    caller = await connect(proxy)
    await caller.call()
    await proxy.cut()
    with pytest.raises(ConnectionResetError):
        await caller.hear()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    await proxy.heal()
    caller = await connect(proxy)
    assert await caller.call() == PONG
    caller.hang_up()


async def test_a_stall_holds_everything_back_until_it_heals(proxy: Proxy) -> None:
    caller = await connect(proxy)
    await caller.call()
    proxy.stall()
    with pytest.raises(TimeoutError):
        await caller.call(within=SILENCE)
    await proxy.heal()
    assert await caller.hear() == PONG
    caller.hang_up()


async def test_a_forgotten_connection_stays_silent_while_a_new_one_works(proxy: Proxy) -> None:
    old = await connect(proxy)
    await old.call()
    proxy.forget()
    new = await connect(proxy)
    assert await new.call() == PONG
    with pytest.raises(TimeoutError):
        await old.call(within=SILENCE)
    for caller in (old, new):
        caller.hang_up()


async def test_a_delay_is_there_in_both_directions(proxy: Proxy) -> None:
    caller = await connect(proxy)
    proxy.delay = SILENCE
    started = asyncio.get_running_loop().time()
    assert await caller.call() == PONG
    took = asyncio.get_running_loop().time() - started
    assert round(took, 3) >= 2 * SILENCE  # the loop's clock counts whole milliseconds
    caller.hang_up()


async def test_a_reply_that_is_reset_arrives_in_part_and_only_once(proxy: Proxy) -> None:
    first, second = await connect(proxy), await connect(proxy)
    await first.call(), await second.call()
    proxy.reset_next_reply()
    assert await first.call(ECHO) == ECHOED[: len(ECHOED) // 2]
    with pytest.raises(ConnectionResetError):
        await first.hear()
    assert await second.call(ECHO) == ECHOED
    second.hang_up()


async def test_a_client_of_a_server_that_is_not_there_is_reset(proxy: Proxy) -> None:
    async with Proxy(steady_port()) as lonely:
        with pytest.raises(ConnectionResetError):
            await (await connect(lonely)).call()
