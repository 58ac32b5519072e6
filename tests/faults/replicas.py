"""Replicas that die, and a replica that does not answer."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.faults import invariants
from tests.faults.bystander import MODEL, Bystander
from tests.faults.history import Fault, History, Run
from tests.faults.report import Report, Size
from tests.faults.rig import Rig, target

# What becomes of each poison. The kernel's answer to exhausted memory is a kill; a limit on it
# is an exception in the model, which its process outlives.
_POISONS = {"segfault": "model_crashed", "kill": "model_crashed", "memory": "model_error"}

# How many times its p99 another model may take while replicas are killed, and beside poison.
_UNNOTICED, _BEARABLE = 1.2, 2.0

# How long the runs take behind which others wait, in seconds.
_BRIEF = 0.05

# Within so many seconds what a dead replica ran is running again: no lease has to run out.
_SOON = 2.0


async def killed_replicas(size: Size, directory: Path) -> Report:
    """kill -9 of a replica while it runs something, again and again."""
    arguments = ("--replicas", "2", "--concurrency", "8", "--max-crashes", "100")
    async with Rig(directory, "work", target(MODEL), *arguments) as rig:
        async with Bystander(rig.url, directory) as bystander, rig.load() as load:
            for _ in range(size.of(5, 20)):
                await load.accepts(size.of(20, 300))
                await _kill_a_busy_one(rig)
        rig.history.runs = rig.runs()
        late = [seconds for seconds in invariants.recoveries(rig.history) if seconds > _SOON]
        sentences = (f"A killed run was taken over after {seconds:.1f} s." for seconds in late)
        return await rig.report(
            "kill -9 of replicas",
            *sentences,
            *invariants.failed(rig.history),
            *bystander.noticed(rig.history.faults, size, _UNNOTICED),
            remarks=[bystander.remark(rig.history.faults)],
        )


async def killed_between_runs(size: Size, directory: Path) -> Report:
    """kill -9 of replicas shortly before a run ends, when the next one waits behind it."""
    arguments = ("--replicas", "2", "--max-crashes", "1")
    async with Rig(directory, "work_blocking", target(MODEL), *arguments) as rig:
        async with rig.load(seconds=_BRIEF, pause=0.1) as load:
            for _ in range(size.of(5, 30)):
                await load.accepts(size.of(20, 30))
                await _kill_towards_an_end(rig)
        rig.history.runs = rig.runs()
        return await rig.report("kill -9 between two runs", *_wrongly_charged(rig.history))


async def _kill_towards_an_end(rig: Rig) -> None:
    """Kill a replica when a run of it is nearly over, and not its first: others are brief, too."""
    while not (running := _later_runs(rig)):
        await asyncio.sleep(0.001)
    run = running[-1]
    end = run.started + random.uniform(0.94, 1.02) * _BRIEF
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    rig.history.note("a replica is killed", run.pid)
    os.kill(run.pid, signal.SIGKILL)


def _later_runs(rig: Rig) -> list[Run]:
    """What runs in processes that live, and have run something before."""
    runs, killed = rig.runs(), {fault.pid for fault in rig.history.faults}
    warm = {run.pid for run in runs if run.ended is not None} - killed
    return [run for run in runs if run.ended is None and run.pid in warm]


def _wrongly_charged(history: History) -> Iterator[str]:
    """Whoever ran when its process was killed has to fail at once here, and nobody else."""
    failed = {history.accepted[seen.id].token for seen in history.seen if seen.code}
    killed = {fault.pid for fault in history.faults}
    for run in history.runs:
        if run.ended is None and run.pid in killed and run.token not in failed:
            yield f"{run.token} ran alone when its process was killed, and was not charged."
    if len(failed) > len(killed):
        yield f"{len(killed)} processes were killed, and {len(failed)} predictions charged."


async def _kill_a_busy_one(rig: Rig) -> None:
    while not (busy := _busy_replicas(rig)):
        await asyncio.sleep(0.005)
    victim = random.choice(busy)
    rig.history.note("a replica is killed", victim.pid)
    victim.kill()


def _busy_replicas(rig: Rig) -> list[psutil.Process]:
    running = {run.pid for run in rig.runs() if run.ended is None}
    return [process for process in rig.running.replicas() if process.pid in running]


async def poison(size: Size, directory: Path) -> Report:
    """Inputs that kill their process, or exhaust its memory, among good ones."""
    quarter = size.of(25, 250)
    async with Rig(directory, "work", target(MODEL), "--concurrency", "20") as rig:
        async with Bystander(rig.url, directory) as bystander, rig.load() as load:
            for kind in _POISONS:
                await load.accepts(quarter)
                await load.submit(kind, rig.work(kind, poison=kind))
            await load.accepts(quarter)
        deaths = _deaths(rig.runs())
        rig.history.faults += deaths
        often = Counter(fault.what for fault in deaths)
        remarks = [f"{kind}: {often[kind]} processes died" for kind in _POISONS]
        return await rig.report(
            "poison",
            *_wrong_ends(rig.history),
            *bystander.noticed(deaths, size, _BEARABLE),
            remarks=[*remarks, bystander.remark(deaths)],
        )


def _deaths(runs: list[Run]) -> list[Fault]:
    """The processes that poison killed, when it was taken."""
    return [
        Fault(run.started, run.token, run.pid)
        for run in runs
        if _POISONS.get(run.token) == "model_crashed"
    ]


def _wrong_ends(history: History) -> list[str]:
    """Good ones that failed, and poisons that ended in another way than theirs."""
    return [
        f"{token} ended as {seen.status} ({seen.code or 'no error'})."
        for seen in history.seen
        if seen.final and (token := history.accepted[seen.id].token)
        if seen.code != _POISONS.get(token, "")
    ]


async def held_interpreter(size: Size, directory: Path) -> Report:
    """Runs that keep the interpreter of their replica for many times the lease."""
    lease, seconds = size.of((1, 4), (5, 60))
    async with Rig(directory, "hog", "--lease", str(lease), "--replicas", "2") as rig:
        async with rig.load(seconds=seconds, clients=1) as load:
            await load.accepts(1)
        return await rig.report("a run of many leases")
