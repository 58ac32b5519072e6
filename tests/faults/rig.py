"""The rig of a fault test: one server that comes back at the same place, and its history."""

import asyncio
import functools
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.faults import invariants
from tests.faults.clients import client_of
from tests.faults.history import Counts, History, Run, read_runs
from tests.faults.load import Load, look
from tests.faults.report import Report, report
from tests.harness import PATIENCE, Server, steady_port

MODELS = Path(__file__).with_name("models.py")

# How long to wait before looking again whether the queue is empty.
_PAUSE = 0.05


def target(model: str) -> str:
    """A model of the fault tests, as one writes it on the command line."""
    return f"{model}={MODELS}:{model}"


class Rig:
    """A server of `model`, if it runs one, in a directory of its own, on a port that stays.

    Its models write their runs to one log, and its clients theirs to one history.
    """

    def __init__(
        self,
        directory: Path,
        model: str | None,
        *arguments: str,
        history: History | None = None,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.directory = directory
        self.history = history or History()
        self.log = directory / "runs.log"
        self.port = steady_port()
        self.url = f"http://127.0.0.1:{self.port}"
        models = () if model is None else (target(model),)
        self.arguments = (*models, "--port", str(self.port), *arguments)
        self.prefix = prefix
        self.pass_fds = pass_fds
        self.server: Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.server is not None:
            await asyncio.to_thread(self.server.kill)

    # The server.

    @property
    def running(self) -> Server:
        """The server that was started last."""
        assert self.server is not None
        return self.server

    async def start(self, *more: str) -> Server:
        """Start the server, perhaps with more arguments, and wait until it is ready."""
        self.history.starts.append(time.monotonic())
        self.server = Server(
            *self.arguments,
            *more,
            cwd=self.directory,
            prefix=self.prefix,
            pass_fds=self.pass_fds,
        )
        await asyncio.to_thread(self.server.wait_ready)
        return self.server

    async def kill(self) -> None:
        """kill -9 the server."""
        server = self.running
        await asyncio.to_thread(server.kill)
        # Not before: what begins until then is hit as well.
        self.history.note("the server is killed", server.process.pid)

    async def stop(self) -> int:
        """Ask the server to stop; its exit code."""
        server = self.running
        self.history.note("the server is asked to stop", server.process.pid)
        code = await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.kill)
        return code

    # The work.

    def work(self, token: str, **more: Any) -> dict[str, Any]:
        """The input of a run."""
        return {"log": str(self.log), "token": token, **more}

    def load(self, *, seconds: float = 0.02, clients: int = 8, pause: float = 0.0) -> Load:
        """Clients that submit runs of so many seconds."""
        work = functools.partial(self.work, seconds=seconds)
        patience = PATIENCE + seconds
        return Load(self.url, self.history, work, clients=clients, pause=pause, patience=patience)

    def runs(self) -> list[Run]:
        """What the models have written down so far."""
        return read_runs(self.log)

    # The end.

    async def report(
        self,
        fault: str,
        *violations: str,
        remarks: Iterable[str] = (),
        has_looked: bool = False,
        forgiven: Collection[str] = (),
    ) -> Report:
        """What the history says, after a last look at the queue.

        And at all that was accepted, unless somebody `has_looked`. Nothing had been promised of
        tokens that are `forgiven`: they are counted alone.
        """
        async with client_of(self.url) as client:
            self.history.counts.append(await _counts(client))
            for id in () if has_looked else self.history.accepted:
                await look(client, self.history, id, {})
        self.history.runs = self.runs()
        promised = self.history.without(forgiven)
        found = report(fault, promised, violations=violations, remarks=remarks)
        return replace(
            found,
            accepted=len(self.history.accepted),
            lost=len(invariants.lost(self.history)),
            run_again=len(invariants.run_again(self.history)) - found.executed_twice,
        )


async def _counts(client: httpx2.AsyncClient) -> Counts:
    """What the server has still to do, once it has had the time to become idle."""
    deadline = time.monotonic() + PATIENCE
    while True:
        counts = Counts(**(await client.get("/readyz")).json()["jobs"])
        if counts == Counts(0, 0) or time.monotonic() > deadline:
            return counts
        await asyncio.sleep(_PAUSE)
