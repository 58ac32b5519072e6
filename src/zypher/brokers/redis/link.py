"""The one way to Redis.

What is asked in one turn of the loop goes out as one pipeline, over one connection, in the order
in which it was asked; the next goes out when that has been answered. No call is ever cancelled
half-way: who asked may leave, the answer comes all the same. When the connection is lost, or what
answers is no primary any more, everything is sent again, for `PATIENCE` seconds in all: no call
does its work twice.
"""

import asyncio
import hashlib
import logging
import math
import random
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ResponseError

from zypher.brokers.redis.address import Address, close
from zypher.brokers.redis.calls import (
    LOST,
    REFUSALS,
    Call,
    explained,
    is_not_now,
    joined,
    lacks_script,
    reason,
)
from zypher.brokers.redis.scripts import SCRIPTS
from zypher.brokers.refusals import shutting_down
from zypher.errors import Internal, Unavailable

log = logging.getLogger("zypher.redis")

# For how long a call is tried, in seconds: a caller has an answer before five are over.
PATIENCE = 4.0

# A call that has waited for others before it is tried for so long at least, in seconds.
_LEAST = 0.3

# A connection is given up when Redis has not answered for so long, in seconds.
_SILENCE = 2.0

# Answers that come within so many seconds move the end of that silence once.
_MOMENT = 0.05

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0

# Calls in one pipeline at most.
_MOST = 500

_SHAS = {name: hashlib.sha1(text.encode()).hexdigest() for name, text in SCRIPTS.items()}  # noqa: S324


class Link:
    """A connection to Redis that comes back by itself."""

    def __init__(self, address: Address) -> None:
        self.trouble: str | None = None
        self.connections = 0  # that it has had; behind each may be another Redis, or an older state
        self._address = address
        self._client: Redis = address.client()
        self._pool: Any = self._client.connection_pool
        self._connection: Any = None
        self._waiting: list[Call] = []
        self._pumping: asyncio.Task[None] | None = None
        self._closed = False

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # asking for it is a system call, in Python 3.11

    def run(
        self,
        script: str,
        *arguments: Any,
        orphaned: Callable[[Any], None] | None = None,
        means: Callable[[Any], Any] | None = None,
    ) -> asyncio.Future[Any]:
        """What a script answers, or what that `means`. Raises `Unavailable` or `StorageFull`."""
        command = ("EVALSHA", _SHAS[script], 0, *arguments)
        return self.send(Call(self._loop, command, orphaned, means=means))

    def run_once(
        self, script: str, *arguments: Any, orphaned: Callable[[Any], None]
    ) -> asyncio.Future[Any]:
        """The same for one that must not be sent twice; `Unavailable`: it may have been done."""
        command = ("EVALSHA", _SHAS[script], 0, *arguments)
        return self.send(Call(self._loop, command, orphaned, repeatable=False))

    def run_with_others(
        self, script: str, argument: bytes, means: Callable[[Any], Any]
    ) -> asyncio.Future[Any]:
        """The same for one that takes any number of arguments, and answers each of them.

        The future has what that answer `means`, or what it raises.
        """
        return self.send(
            Call(self._loop, ("EVALSHA", _SHAS[script], 0, argument), means=means, joins=True)
        )

    def do(self, *command: Any) -> asyncio.Future[Any]:
        """What Redis answers to a command."""
        return self.send(Call(self._loop, command))

    def send(self, call: Call) -> asyncio.Future[Any]:
        """Have a call made."""
        if self._closed:
            call.failed(shutting_down())
        else:
            self._waiting.append(call)
            if self._pumping is None:
                self._pumping = asyncio.create_task(self._pump())
        return call.answer

    def listener(self) -> PubSub:
        """A connection of its own that hears what is published."""
        return self._client.pubsub(ignore_subscribe_messages=True)

    async def aclose(self) -> None:
        """Make the calls that were asked for, if that can be done, and let go."""
        self._closed = True
        if (pumping := self._pumping) is not None:
            await asyncio.wait([pumping], timeout=PATIENCE)
            pumping.cancel()
        await close(self._client)

    # How calls are made.

    async def _pump(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            try:
                await self._make(calls)
            except Unavailable as error:
                calls, self._waiting = calls + self._waiting, []
                for call in calls:  # also those behind: nobody waits for two patiences
                    call.failed(error)
            except Exception:
                log.exception("calls to Redis")
                for call in calls:
                    call.failed(Internal("The broker has failed; its log says more."))
        self._pumping = None

    async def _make(self, calls: list[Call]) -> None:
        """Have these calls answered, in as many tries as fit into the patience of the first."""
        now = self._loop.time
        deadline = max(calls[0].asked + PATIENCE, now() + _LEAST)
        pause = _FIRST_PAUSE
        while calls:
            try:
                async with asyncio.timeout_at(deadline):
                    calls = await self._try(calls)
                self._is_back()
            except LOST as error:
                calls = await self._lost(calls, error)
                pause = min(2 * pause, _LONGEST_PAUSE)
                if now() + pause >= deadline:
                    raise self._unavailable() from None
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311

    async def _try(self, calls: list[Call]) -> list[Call]:
        """Send these calls; those that Redis lacked a script for are to be sent again."""
        async with asyncio.timeout(_SILENCE) as patience:
            connection = await self._connect()
            try:
                groups = joined(calls)
                await connection.send_packed_command([_packed(group) for group in groups])
                refusals = await self._read(connection, groups, patience)
            except BaseException:
                await connection.disconnect(nowait=True)  # with answers that nobody has read
                raise
        calls[:] = [call for call, _ in refusals]
        for _, refusal in refusals:
            if not lacks_script(refusal):
                raise refusal
        if refusals:
            await self._load()
        return calls

    async def _connect(self) -> Any:
        """The connection, made again if it has been closed meanwhile."""
        if self._connection is None:
            self._connection = await self._pool.get_connection()
            self._count(self._connection)
            self._connection.register_connect_callback(self._count)
        else:
            await self._pool.ensure_connection(self._connection)
        return self._connection

    def _count(self, _: Any) -> None:
        self.connections += 1

    async def _read(
        self, connection: Any, groups: Sequence[Sequence[Call]], patience: asyncio.Timeout
    ) -> list[tuple[Call, Exception]]:
        """Read the answers to groups of calls; those that are to be sent again, and why.

        Each is told its answer at once, and its caller goes on while Redis answers the others.
        """
        now = self._loop.time
        heard = -math.inf
        refusals: list[tuple[Call, Exception]] = []
        for group in groups:
            if now() > heard + _MOMENT:
                heard = now()
                patience.reschedule(heard + _SILENCE)
            try:
                answer = await self._client.parse_response(connection, group[0].command[0])
            except REFUSALS as error:
                if lacks_script(error) or is_not_now(error):
                    refusals += [(call, error) for call in group]
                else:
                    for call in group:
                        call.failed(explained(error))
            else:
                answers = answer if group[0].joins else [answer]
                for call, its in zip(group, answers, strict=True):
                    if isinstance(its, ResponseError):
                        call.failed(explained(its))
                    else:
                        call.answered(its)
        return refusals

    async def _load(self) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for text in SCRIPTS.values():
            pipeline.script_load(text)
        await pipeline.execute()

    async def _lost(self, calls: list[Call], error: Exception) -> list[Call]:
        """Begin with a new connection; the calls that may be sent again."""
        if self.trouble is None:
            log.warning("Redis at %s cannot be used: %s", self._address.name, reason(error))
        self.trouble = f"Redis at {self._address.name} cannot be used: {reason(error)}."
        if self._connection is not None:
            # Without waiting: what was not sent may wait for the network as long as it likes.
            await self._connection.disconnect(nowait=True)
        if not is_not_now(error):
            for call in calls:
                if not call.repeatable:
                    call.failed(self._unavailable())
        return [call for call in calls if not call.answer.done()]

    def _is_back(self) -> None:
        if self.trouble is not None:
            log.warning("Redis at %s can be used again", self._address.name)
        self.trouble = None

    def _unavailable(self) -> Unavailable:
        return Unavailable(self.trouble or "Redis does not answer.", retry_after=1)


def _packed(group: Sequence[Call]) -> bytes:
    """What is sent for calls that are made as one."""
    first, *others = group
    name, *arguments = first.command
    arguments += [call.command[-1] for call in others]
    packed: bytes = pack_command((*name.split(), *arguments))
    return packed
