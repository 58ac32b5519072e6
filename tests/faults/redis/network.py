"""A network between Redis and those who use it that delays, loses, stalls and cuts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.faults import invariants
from tests.faults.callers import Callers
from tests.faults.proxy import Proxy
from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.redis.outages import late_return
from tests.faults.report import Report, Size, percentile
from tests.redis_servers import RedisServer

# While the network is broken, a submit is answered within so many seconds.
_ANSWERED = 5.0

# No break lasts so long, with the time between two renewals: none is a reason to run it again.
_LEASE = 60.0

# Between two submits of a client, in seconds, at full size: what is submitted while the workers are
# cut off is watched, and thousands of watchers would make the test's own proxies late.
_PAUSE = 0.5

# How often all subscriptions are cut, in seconds.
_CUT = 2.0

# How soon a caller is answered all the same, in seconds: somebody looks once a second. Where many
# tests run side by side (the small size), what was found waits for a processor.
_SOON = (3.0, 1.5)


async def partitions(size: Size, directory: Path) -> Report:
    """The server, and then the workers, lose Redis in every way that a network has."""
    with durable_redis(directory) as redis:
        async with (
            Proxy(redis.port) as servers_way,
            Proxy(redis.port) as workers_way,
            _cluster(directory, redis, servers_way, workers_way) as cluster,
        ):
            callers = Callers(cluster.url, cluster.work, clients=2)
            wrong: list[str] = []
            async with cluster.load(pause=size.of(0.05, _PAUSE)) as load, callers:
                for seconds in size.of((0.2,), (0.1, 1, 5, 20)):
                    for way in (servers_way, workers_way):
                        for breaks in (_cut, _stall, _reset, _forget, _delay):
                            await load.accepts(10)
                            cluster.history.note(breaks.__doc__ or "")
                            await breaks(way, seconds)
                            wrong += await late_return(cluster, load)
            refused = sum("came too late and was refused" in line for line in cluster.lines())
            slow = [s.answered - s.asked for s in cluster.history.submits]
            return await cluster.report(
                "partitions",
                *wrong,
                *callers.wrong(),
                *(f"A submit was answered after {s:.1f} s." for s in slow if s > _ANSWERED),
                *invariants.failed(cluster.history),
                *([f"{refused} outcomes were refused, and none was late."] if refused else []),
            )


async def _cut(way: Proxy, seconds: float) -> None:
    """Connections are reset, and new ones refused."""
    await way.cut()
    await asyncio.sleep(seconds)
    await way.heal()


async def _stall(way: Proxy, seconds: float) -> None:
    """Nothing arrives for a while."""
    way.stall()
    await asyncio.sleep(seconds)
    await way.heal()


async def _forget(way: Proxy, seconds: float) -> None:
    """Connections are half open."""
    way.forget()
    await asyncio.sleep(seconds)


async def _reset(way: Proxy, seconds: float) -> None:
    """Connections are reset in the middle of replies: after an end, with a record, of any."""
    for part in (b"done", b"attempt", b"") * 3:
        with suppress(TimeoutError):  # not every reply comes on every way
            async with asyncio.timeout(1):
                await way.reset_next_reply(part).wait()
        await asyncio.sleep(seconds / 9)


async def _delay(way: Proxy, seconds: float) -> None:
    """Everything is late."""
    way.delay = min(seconds / 5, 0.5)
    await asyncio.sleep(seconds)
    await way.heal()


@asynccontextmanager
async def _cluster(
    directory: Path, redis: RedisServer, servers_way: Proxy, workers_way: Proxy
) -> AsyncIterator[Cluster]:
    server, workers = (
        redis.url.replace(str(redis.port), str(way.port)) for way in (servers_way, workers_way)
    )
    async with Cluster(directory, server, lease=_LEASE, workers_broker=workers) as cluster:
        yield cluster


async def deaf(size: Size, directory: Path) -> Report:
    """All subscriptions are cut, again and again: news are lost, and nobody waits for ever."""
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url) as cluster:
            callers = Callers(cluster.url, cluster.work, clients=8)
            async with cluster.load(clients=2), callers:
                for _ in range(size.of(2, 30)):
                    await asyncio.sleep(_CUT)
                    cluster.history.note("subscriptions are cut")
                    redis.call("CLIENT", "KILL", "TYPE", "pubsub")
            p99 = percentile([call.seconds for call in callers.calls], 0.99)
            return await cluster.report(
                "lost news",
                *callers.wrong(),
                *(f"A caller was answered {call.status}." for call in callers.refused()),
                *([f"The p99 of callers was {p99:.1f} s."] if p99 > size.of(*_SOON) else []),
                *invariants.failed(cluster.history),
                remarks=[f"callers waited {p99:.2f} s at most (p99)"],
            )
