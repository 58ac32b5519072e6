"""Servers that end: killed without warning, and asked to stop."""

import random
import time
from collections.abc import Awaitable
from pathlib import Path

from tests.faults import invariants
from tests.faults.report import Report, Size
from tests.faults.rig import Rig

_GRACE = 1.0
# What a stop may take beside `drain-delay` and `grace`, in seconds.
_MOMENT = 5.0


async def killed_servers(size: Size, directory: Path) -> Report:
    """kill -9 of the server while clients submit, again and again."""
    async with Rig(directory, "work", "--max-crashes", "100") as rig:
        async with rig.load() as load:
            for _ in range(size.of(4, 20)):
                await load.accepts(random.randint(5, 60))
                await rig.kill()
                await rig.start()
            await load.accepts(5)
        await rig.kill()
        await rig.start()  # with nothing but what has ended in its file
        return await rig.report("kill -9 of the server", *invariants.failed(rig.history))


async def restarts(size: Size, directory: Path) -> Report:
    """SIGTERM under load, again and again, with one run that outlasts every grace."""
    patient = directory / "the long run may end"
    arguments = ("--grace", f"{_GRACE:g}", "--concurrency", "50", "--max-crashes", "2")
    async with Rig(directory, "work", *arguments) as rig:
        wrong: list[str] = []
        async with rig.load() as load:
            await load.submit("long", rig.work("long", until=str(patient)))
            for _ in range(size.of(3, 20)):
                await load.accepts(random.randint(5, 60))
                wrong += await stopped(rig.stop(), _GRACE)
                await rig.start()
            patient.touch()
        rig.history.runs = rig.runs()
        return await rig.report(
            "SIGTERM of the server",
            *wrong,
            *invariants.failed(rig.history),
            *invariants.cut_off(rig.history),
            *(
                f"{token} ran again, although it was shorter than grace."
                for token in invariants.run_again(rig.history)
                if token != "long"
            ),
        )


async def stopped(stop: Awaitable[int], seconds: float) -> list[str]:
    """Wait until a process has stopped; what is wrong with how it did. It has so many seconds."""
    started = time.monotonic()
    code = await stop
    took = time.monotonic() - started
    late = took > seconds + _MOMENT
    return [
        *([f"A stopped process ended with exit code {code}."] if code else []),
        *([f"A stop took {took:.1f} s, and not {seconds:g} at most."] if late else []),
    ]
