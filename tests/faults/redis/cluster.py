"""The rig of these tests: a Redis, a server without replicas, and workers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from tests.faults.clients import client_of
from tests.faults.history import Run
from tests.faults.load import Load
from tests.faults.rig import Rig, target
from tests.harness import PATIENCE, WorkerProcess
from tests.redis_servers import ALWAYS, RedisServer

# The shortest lease that one can set: what a dead worker ran is missed after so many seconds.
LEASE = 1.0

# How long to wait before looking again at what the models have written down.
_PAUSE = 0.01


class Cluster(Rig):
    """A server, and `workers` other processes that run its models.

    `arguments` are those of all of them. Server and workers reach Redis by `broker`, and the
    workers by `workers_broker` if they have a way of their own.
    """

    def __init__(
        self,
        directory: Path,
        broker: str,
        *arguments: str,
        models: Sequence[str] = ("work",),
        lease: float = LEASE,
        workers: int = 1,
        workers_broker: str | None = None,
    ) -> None:
        common = ("--lease", f"{lease:g}", "--max-crashes", "100", *arguments)
        super().__init__(directory, None, "--replicas", "0", "--broker", broker, *common)
        self._of_workers = (*map(target, models), "--broker", workers_broker or broker, *common)
        self._size = workers
        self.workers: list[WorkerProcess] = []

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(self.start(), *(self.start_worker() for _ in range(self._size)))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        for worker in self.workers:
            await asyncio.to_thread(worker.kill)

    # The workers.

    async def start_worker(self) -> WorkerProcess:
        """Start one more worker, and wait until it is ready."""
        worker = WorkerProcess(*self._of_workers, cwd=self.directory)
        self.workers.append(worker)
        await asyncio.to_thread(worker.wait_ready)
        return worker

    async def kill_worker(self, worker: WorkerProcess) -> None:
        """kill -9 a worker; its replicas die with it."""
        self.workers.remove(worker)
        await asyncio.to_thread(worker.kill)
        # Not before: what begins until then is hit as well.
        self.history.note("a worker is killed", worker.process.pid)

    async def stop_worker(self, worker: WorkerProcess) -> int:
        """Ask a worker to stop; its exit code."""
        self.workers.remove(worker)
        self.history.note("a worker is asked to stop", worker.process.pid)
        code = await asyncio.to_thread(worker.stop)
        await asyncio.to_thread(worker.kill)
        return code

    async def busy_worker(self) -> WorkerProcess:
        """One of the workers, as soon as it runs something."""
        async with asyncio.timeout(PATIENCE):
            while True:
                busy = {run.server for run in self.runs() if run.ended is None}
                for worker in self.workers:
                    if worker.process.pid in busy:
                        return worker
                await asyncio.sleep(_PAUSE)

    def runs_of(self, worker: WorkerProcess) -> list[Run]:
        """What this worker has run or runs."""
        return [run for run in self.runs() if run.server == worker.process.pid]

    # Everything.

    def load(self, *, seconds: float = 0.05, clients: int = 4, pause: float = 0.05) -> Load:
        """Clients that leave the processes of the cluster some of the machine."""
        return super().load(seconds=seconds, clients=clients, pause=pause)

    async def stale_outcomes(self) -> int:
        """How many outcomes came too late, by what the workers have told."""
        async with client_of(self.url) as client:
            workers = (await client.get("/stats")).json()["workers"]
            return sum(worker["stale_outcomes"] for worker in workers)

    def processes(self) -> list[psutil.Process]:
        """The server, the workers and their replicas, as the system knows them."""
        parents = [psutil.Process(p.process.pid) for p in (self.running, *self.workers)]
        return [*parents, *(child for parent in parents for child in parent.children())]

    def lines(self) -> Sequence[str]:
        """All that the server and the workers have logged."""
        return [line for process in (self.running, *self.workers) for line in process.lines]


def durable_redis(directory: Path) -> RedisServer:
    """A Redis that has on the disk what it has confirmed."""
    place = directory / "redis"
    place.mkdir()
    return RedisServer(place, *ALWAYS)
