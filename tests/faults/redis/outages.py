"""A Redis that dies, that is away for a while, and that has lost everything."""

import asyncio
import functools
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tests.faults import invariants
from tests.faults.callers import Callers
from tests.faults.clients import client_of
from tests.faults.history import History
from tests.faults.load import Load, look
from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.report import Report, Size
from tests.redis_servers import EVERY_SECOND, RedisServer

# Once Redis is back, submits are accepted again within so many seconds.
_BACK = 5.0
# While it is away, a submit is answered within so many seconds.
_ANSWERED = 5.0
# And nobody asks for it in a busy loop: so much of a core all processes may take together, and so
# many lines they may log in a second.
_IDLE = 0.5
_LINES = 50


async def killed_redis(size: Size, directory: Path) -> Report:
    """kill -9 of Redis under load, again and again; every write waits for the disk."""
    return await _killed(size, directory, durable_redis(directory), "kill -9 of Redis")


async def power_cut_everysec(size: Size, directory: Path) -> Report:
    """The machine of Redis loses power, with one flush to the disk a second."""
    with RedisServer(directory, *EVERY_SECOND) as redis:
        async with Cluster(directory, redis.url) as cluster:
            wrong: list[str] = []
            forgiven: set[str] = set()
            for number in range(size.of(2, 20)):
                wrong += await _cut(cluster, redis, directory / f"copy-{number}", forgiven)
            return await cluster.report(
                "power cut of Redis, appendfsync everysec",
                *wrong,
                forgiven=forgiven,
                remarks=["lost: what was not on the disk yet"],
            )


async def _cut(
    cluster: Cluster, redis: RedisServer, place: Path, forgiven: set[str]
) -> Sequence[str]:
    """Cut the power under load; what is wrong. `forgiven` gets what may be lost or run again."""
    callers = Callers(cluster.url, cluster.work, clients=2)
    async with cluster.load() as load, callers:
        await load.accepts(random.randint(20, 60))
        safe = time.monotonic()
        await asyncio.to_thread(redis.copy_disk, place)
        await load.accepts(random.randint(20, 60))
        redis.cut_power(place)
        redis.start()
        back = time.monotonic()
        late = await late_return(cluster, load)
    history = cluster.history
    before = [one for one in history.submits if one.asked < back and one.token not in forgiven]
    safely = [one.id for one in before if one.outcome == "ok" and one.answered < safe]
    async with client_of(cluster.url) as client:
        found = [await look(client, history, id, {}) for id in safely]
    kept = {seen.id for seen in found if seen and seen.final}
    ended = {seen.id for seen in history.seen if seen.final and seen.answered < safe}
    forgiven |= {one.token for one in before if one.id not in ended}
    calls = [call for call in callers.calls if call.asked < back and call.answered > safe]
    forgiven |= {call.token for call in calls}
    return [
        *late,
        *(f"{id} was on the disk, and is lost." for id in safely if id not in kept),
        *(f"{id} was asked for in vain." for id in history.overdue),
        *callers.wrong(),
        *(f"A caller was answered {call.status}." for call in callers.refused()),
    ]


async def _killed(size: Size, directory: Path, redis: RedisServer, fault: str) -> Report:
    with redis:
        async with Cluster(directory, redis.url) as cluster:
            wrong: list[str] = []
            callers = Callers(cluster.url, cluster.work, clients=2)
            async with cluster.load() as load, callers:
                for _ in range(size.of(2, 20)):
                    await load.accepts(random.randint(20, 60))
                    cluster.history.note("Redis is killed")
                    redis.kill()
                    redis.start()
                    wrong += await late_return(cluster, load)
            return await cluster.report(
                fault,
                *wrong,
                *callers.wrong(),
                *(f"A caller was answered {call.status}." for call in callers.refused()),
                *invariants.failed(cluster.history),
            )


async def late_return(cluster: Cluster, load: Load) -> list[str]:
    """Wait until submits are accepted again; a sentence if that takes too long."""
    started = time.monotonic()
    await load.accepts(1)
    seconds = time.monotonic() - started
    cluster.history.recoveries.append(seconds)
    return [f"It took {seconds:.1f} s until a submit was accepted."] if seconds > _BACK else []


async def away(size: Size, directory: Path) -> Report:
    """Redis is not there for a while, under load: submits are refused, and nobody frets."""
    seconds = size.of(3, 60)
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url) as cluster:
            async with cluster.load() as load:
                await load.accepts(20)
                cluster.history.note("Redis is away")
                redis.kill()
                fretful, remark = await _fretful(cluster, seconds)
                await load.refuses()
                redis.start()
                late = await late_return(cluster, load)
            return await cluster.report(
                "Redis is away for a while",
                *fretful,
                *late,
                *_slow(cluster.history),
                *invariants.failed(cluster.history),
                remarks=[remark],
            )


async def _fretful(cluster: Cluster, seconds: float) -> tuple[list[str], str]:
    """What is too much of what all processes do in this time, and what they do."""
    logged = len(cluster.lines())
    busy = await _busy(cluster.processes(), seconds)
    lines = (len(cluster.lines()) - logged) / seconds
    remark = f"{busy:.2f} of a core and {lines:.1f} lines/s while it was away"
    return [f"All took {remark}."] if busy > _IDLE or lines > _LINES else [], remark


def _slow(history: History) -> Iterator[str]:
    """The submits that were answered too late."""
    for submit in history.submits:
        if submit.answered - submit.asked > _ANSWERED:
            yield f"A submit was answered after {submit.answered - submit.asked:.1f} s."


async def _busy(processes: list[psutil.Process], seconds: float) -> float:
    """How much of a core these take together in this time."""

    def used() -> float:
        times = [process.cpu_times() for process in processes]
        return sum(of_one.user + of_one.system for of_one in times)

    before = used()
    await asyncio.sleep(seconds)
    return (used() - before) / seconds


async def flushed(size: Size, directory: Path) -> Report:
    """Somebody empties Redis under load, or deletes the streams."""
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, "--concurrency", "8") as cluster:
            wrong: list[str] = []
            for _ in range(size.of(1, 5)):
                wrong += await _emptied(cluster, redis)
            async with cluster.load(seconds=0.2) as load:  # more than runs at once: some wait
                for _ in range(size.of(1, 5)):
                    await load.accepts(40)
                    cluster.history.note("the streams are deleted")
                    redis.call("DEL", *redis.call("KEYS", "zypher:q:work:*"))
                await load.accepts(20)
            return await cluster.report(
                "Redis is emptied",
                *wrong,
                *invariants.failed(cluster.history),
                remarks=["what had been accepted before it was emptied is not counted"],
            )


async def _emptied(cluster: Cluster, redis: RedisServer) -> list[str]:
    """Empty it while clients wait and submit; what is wrong with what they are told."""
    before = cluster.history, cluster.log
    cluster.history, cluster.log = History(), cluster.directory / "emptied.log"
    callers = Callers(cluster.url, functools.partial(cluster.work, seconds=0.5), clients=4)
    async with cluster.load() as load, callers:
        await load.accepts(20)
        logged = len(cluster.lines())
        redis.call("FLUSHALL")
        flushed = time.monotonic()
        await load.accepts(50)
        seconds = time.monotonic() - flushed
    emptied = cluster.history
    cluster.history, cluster.log = before
    lines = (len(cluster.lines()) - logged) / seconds
    return [
        *callers.wrong(),
        *(f"A caller was answered {call.status}." for call in callers.refused()),
        *(f"{id} was asked for in vain." for id in emptied.overdue),
        *_lost_later(emptied, flushed),
        *([f"{lines:.0f} lines/s were logged."] if lines > _LINES else []),
    ]


def _lost_later(history: History, flushed: float) -> Iterator[str]:
    """What was submitted when it had been emptied, and is not known."""
    for id in invariants.lost(history):
        if history.accepted[id].asked > flushed:
            yield f"{id} was accepted after it was emptied, and lost."
