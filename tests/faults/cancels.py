"""Cancels at every moment: while it waits, while it runs, at its very end, and too late."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil

from tests.faults.clients import client_of
from tests.faults.history import History, Run, Submit
from tests.faults.load import Load
from tests.faults.report import Report, Size
from tests.faults.rig import Rig, target
from tests.harness import ASYNC, PATIENCE

_RACERS = 8
_RUN = 0.02
_FOR_EVER = 60.0
# Within so many seconds a run that can hear of its cancel has ended, and after its grace one that
# cannot. So long is that grace.
_SOON, _GRACE = 1.0, 0.5
_PAUSE = 0.01

# The servers' arguments, and the other model that they serve.
ARGUMENTS = ("--concurrency", "4", "--cancel-grace", f"{_GRACE:g}")
DEAF = "work_blocking"


class Canceler:
    """A client that cancels, and remembers what it was answered and when."""

    def __init__(self, rig: Rig) -> None:
        self.answers: dict[str, int] = {}
        self.canceled_at: dict[str, float] = {}
        self._rig = rig
        self._client = client_of(rig.url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def race(self, load: Load, tokens: Iterator[str]) -> None:
        """Submit short runs, and cancel each at some moment of its life."""
        for token in tokens:
            submit = await load.submit(token, self._rig.work(token, seconds=_RUN))
            await asyncio.sleep(random.uniform(0, 3 * _RUN))
            await self.cancel(submit)

    async def stop(self, load: Load, token: str) -> None:
        """Submit a run that would go on for ever, and cancel it once it runs."""
        submit = await load.submit(token, self._rig.work(token, seconds=_FOR_EVER))
        await self._started(token)
        await self.cancel(submit)

    async def stop_the_deaf(self, token: str) -> str | None:
        """The same with a run that hears nothing: a sentence if it has no successor soon."""
        path = f"/models/{DEAF}/predict"
        work = self._rig.work(token, seconds=_FOR_EVER)
        response = await self._client.post(path, json={"input": work}, headers=ASYNC)
        process = psutil.Process((await self._started(token)).pid)
        await self._client.post(f"/predictions/{response.json()['prediction_id']}/cancel")
        _, alive = await asyncio.to_thread(psutil.wait_procs, [process], _GRACE + _SOON)
        if alive:
            return f"The process of {token} lived on after the grace."
        after = {"input": self._rig.work(f"after-{token}")}
        served = await self._client.post(path, json=after)
        return f"After {token}, another run was answered {served}." if served.is_error else None

    async def cancel(self, submit: Submit) -> None:
        """Cancel what was submitted."""
        response = await self._client.post(f"/predictions/{submit.id}/cancel")
        self.answers[submit.id] = response.status_code
        self.canceled_at[submit.token] = time.monotonic()

    async def _started(self, token: str) -> Run:
        async with asyncio.timeout(PATIENCE):
            while not (runs := [run for run in self._rig.runs() if run.token == token]):
                await asyncio.sleep(_PAUSE)
        return runs[0]


async def cancels(size: Size, directory: Path) -> Report:
    """Cancels that race the end, and cancels of runs that hear of it and of such that do not."""
    async with Rig(directory, "work", target(DEAF), *ARGUMENTS) as rig:
        return await cancel_everything(rig, size)


async def cancel_everything(rig: Rig, size: Size) -> Report:
    """Cancel predictions of a server that was started with `ARGUMENTS` at every moment."""
    races, stops = size.of((40, 2), (1_000, 20))
    async with rig.load(clients=0) as load, Canceler(rig) as canceler:
        tokens = (f"race-{number}" for number in range(races))
        await asyncio.gather(*(canceler.race(load, tokens) for _ in range(_RACERS)))
        for number in range(stops):
            await canceler.stop(load, f"endless-{number}")
        deaf = await canceler.stop_the_deaf("deaf")
    rig.history.runs = rig.runs()
    answers = list(canceler.answers.values())
    return await rig.report(
        "cancels at every moment",
        *([deaf] if deaf else []),
        *_wrong_ends(rig.history, canceler),
        *_late_ends(rig.history, canceler),
        remarks=[f"{answers.count(200)} canceled, {answers.count(409)} too late"],
    )


def _wrong_ends(history: History, canceler: Canceler) -> Iterator[str]:
    """What did not end as the one who canceled it was told."""
    told = {200: "canceled", 409: "completed"}
    for seen in history.seen:
        answer = canceler.answers.get(seen.id)
        if seen.final and answer is not None and seen.status != told.get(answer):
            yield f"The cancel of {seen.id} was answered {answer}, and it is {seen.status}."


def _late_ends(history: History, canceler: Canceler) -> Iterator[str]:
    """What still ran long after it was canceled."""
    for run in history.runs:
        canceled = canceler.canceled_at.get(run.token)
        if canceled is not None and (run.ended is None or run.ended > canceled + _SOON):
            yield f"{run.token} still ran {_SOON:g} s after it was canceled."
