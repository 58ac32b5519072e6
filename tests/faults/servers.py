"""Servers that end: killed without warning, and asked to stop."""

import random
from pathlib import Path

from tests.faults import invariants
from tests.faults.report import Report, Size
from tests.faults.rig import Rig


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
    arguments = ("--grace", "1", "--concurrency", "50", "--max-crashes", "2")
    async with Rig(directory, "work", *arguments) as rig:
        codes = []
        async with rig.load() as load:
            await load.submit("long", rig.work("long", until=str(patient)))
            for _ in range(size.of(3, 20)):
                await load.accepts(random.randint(5, 60))
                codes.append(await rig.stop())
                await rig.start()
            patient.touch()
        rig.history.runs = rig.runs()
        return await rig.report(
            "SIGTERM of the server",
            *invariants.failed(rig.history),
            *(f"A stopped server ended with exit code {code}." for code in codes if code),
            *(
                f"{token} ran again, although it was shorter than grace."
                for token in invariants.run_again(rig.history)
                if token != "long"
            ),
        )
