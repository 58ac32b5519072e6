"""A disk that is full for a while."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2

from tests.faults.disk import Disk, small_disk
from tests.faults.history import History
from tests.faults.load import Load
from tests.faults.report import Report, Size, percentile
from tests.faults.rig import Rig
from tests.harness import PATIENCE

# Seconds within which a submit is refused, and within which they are accepted again.
_REFUSED = 1.0
_BACK = 5.0


async def full_disk(size: Size, directory: Path) -> Report:
    """The disk is filled to the last byte while clients submit, and later has room again."""
    with small_disk(megabytes=8) as disk:
        broker = f"sqlite:///{disk.path / 'zypher.db'}"
        async with Rig(directory, "work", "--broker", broker, prefix=disk.prefix) as rig:
            wrong: list[str] = []
            async with rig.load() as load:
                for _ in range(size.of(1, 10)):
                    await load.accepts(size.of(100, 100))
                    wrong += await _fill_for_a_while(rig, load, disk)
                # What was accepted has to be in the file, and not only in the server.
                await rig.kill()
                await rig.start()
            if code := await rig.stop():
                wrong.append(f"The server ended with exit code {code}.")
            wrong += _wrong_in_file(disk.outside / "zypher.db")
            await rig.start()
            return await rig.report("the disk is full for a while", *wrong)


async def _fill_for_a_while(rig: Rig, load: Load, disk: Disk) -> list[str]:
    """Fill the disk until submits are refused, and free it again; what went wrong."""
    filled = time.monotonic()
    rig.history.note("the disk is full")
    disk.fill()
    await load.refuses(503)
    wrong = [*await _wrong_synchronous(rig)]
    freed = time.monotonic()
    disk.free()
    rig.history.note("the disk has room again")
    await load.accepts(1)
    if (seconds := time.monotonic() - freed) > _BACK:
        wrong.append(f"Submits were accepted {seconds:.1f} s after the disk had room.")
    return [*wrong, *_slow_refusals(rig.history, filled)]
