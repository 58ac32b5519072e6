"""More work than the queue may hold, and a Redis that may take no more memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.faults import invariants
from tests.faults.clients import client_of
from tests.faults.load import Load
from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.redis.outages import late_return
from tests.faults.report import Report, Size
from tests.harness import ASYNC, PATIENCE
from zypher.prediction import new_id

# So many may wait in the queue that overflows.
_MOST = 20
# So many run when the memory is full.
_HELD = 5
_PAUSE = 0.02


async def overload(size: Size, directory: Path) -> Report:
    """Submits come faster than they are run, until the queue is full."""
    limits = ("--max-queued", str(_MOST), "--concurrency", "2")
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, *limits) as cluster:
            wrong: list[str] = []
            async with cluster.load(seconds=0.1, clients=size.of(10, 100), pause=0) as load:
                await load.accepts(2 * _MOST)
                for _ in range(size.of(5, 20)):
                    await load.accepts(10)
                    wrong += [sentence async for sentence in _wrong_overflow(cluster)]
            refused = [submit.status for submit in cluster.history.submits if submit.status != 202]
            return await cluster.report(
                "more submits than runs",
                *wrong,
                *(f"A submit was answered {status}." for status in refused if status != 429),
                *([] if refused else ["Nothing was refused."]),
                *invariants.failed(cluster.history),
                remarks=[f"{len(refused)} were refused"],
            )


async def _wrong_overflow(cluster: Cluster) -> AsyncIterator[str]:
    """What is wrong with a queue that is about full, and with how it refuses."""
    async with client_of(cluster.url) as client:
        waiting = (await client.get("/readyz")).json()["jobs"]["queued"]
        if waiting > _MOST:
            yield f"{waiting} waited, and {_MOST} may."
        refused = await client.post(
            "/predict", json={"input": cluster.work(new_id())}, headers=ASYNC
        )
        if refused.status_code == 429 and "retry-after" not in refused.headers:
            yield "A refused submit was not told when to try again."


async def full_memory(size: Size, directory: Path) -> Report:
    """Redis has reached its maxmemory: nothing comes in, and what runs can end."""
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url) as cluster:
            wrong: list[str] = []
            async with cluster.load() as load:
                for turn in range(size.of(1, 10)):
                    await load.accepts(20)
                    may_end = directory / f"the runs of turn {turn} may end"
                    held = await _held(cluster, load, may_end)
                    cluster.history.note("the memory is full")
                    redis.call("CONFIG", "SET", "maxmemory", 1)
                    await load.refuses()
                    may_end.touch()
                    wrong += [sentence async for sentence in _wrong_answers(cluster, held)]
                    cluster.history.note("there is memory again")
                    redis.call("CONFIG", "SET", "maxmemory", 0)
                    wrong += await late_return(cluster, load)
            return await cluster.report(
                "Redis has no memory left", *wrong, *invariants.failed(cluster.history)
            )


async def _held(cluster: Cluster, load: Load, may_end: Path) -> list[str]:
    """Some that run until there is this file; their ids."""
    tokens = [new_id() for _ in range(_HELD)]
    work = [cluster.work(token, until=str(may_end)) for token in tokens]
    submits = [await load.submit(*pair) for pair in zip(tokens, work, strict=True)]
    async with asyncio.timeout(PATIENCE):
        while not {run.token for run in cluster.runs()}.issuperset(tokens):
            await asyncio.sleep(_PAUSE)
    return [submit.id for submit in submits]


async def _wrong_answers(cluster: Cluster, held: list[str]) -> AsyncIterator[str]:
    """What is wrong with a server whose Redis has no memory left, and which runs these."""
    async with client_of(cluster.url) as client:
        for id in held:
            ended = await client.get(f"/predict/{id}", headers={"Prefer": "wait=10"})
            if ended.status_code != 200:
                yield f"What ran could not end: {ended.text}"
        work = {"input": cluster.work(new_id())}
        refused = await client.post("/predict", json=work, headers=ASYNC)
        if refused.status_code != 503 or "retry-after" not in refused.headers:
            yield f"A submit was answered {refused.status_code}: {refused.text}"
