"""A disk that is full for a while."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

from tests.faults.clients import client_of
from tests.faults.disk import Disk, small_disk
from tests.faults.files import damage
from tests.faults.load import Load
from tests.faults.report import Report, Size
from tests.faults.rig import Rig
from tests.harness import ASYNC
from zypher.prediction import new_id

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
                for _ in range(size.of(2, 20)):
                    await load.accepts(50)
                    wrong += [sentence async for sentence in _fill_for_a_while(rig, load, disk)]
            await rig.kill()
            wrong += damage(disk.outside / "zypher.db")
            await rig.start()  # so that the last look is at what is in the file
            return await rig.report("the disk is full for a while", *wrong)


async def _fill_for_a_while(rig: Rig, load: Load, disk: Disk) -> AsyncIterator[str]:
    """Fill the disk until submits are refused, and free it again; what is wrong meanwhile."""
    filled = time.monotonic()
    rig.history.note("the disk is full")
    disk.fill()
    await load.refuses()
    async for sentence in _wrong_answers(rig):
        yield sentence
    freed = time.monotonic()
    rig.history.note("the disk has room")
    disk.free()
    await load.accepts(1)
    seconds = time.monotonic() - freed
    rig.history.recoveries.append(seconds)
    if seconds > _BACK:
        yield f"It took {seconds:.1f} s after the disk had room until a submit was accepted."
    for submit in rig.history.submits:
        if filled < submit.asked < freed and submit.answered - submit.asked > _REFUSED:
            yield f"A submit was answered after {submit.answered - submit.asked:.1f} s."


async def _wrong_answers(rig: Rig) -> AsyncIterator[str]:
    """What is wrong with the answers of a server whose disk is full."""
    async with client_of(rig.url) as client:
        for _ in range(10):
            work = rig.work(new_id())
            response = await client.post("/predict", json={"input": work})
            if response.status_code != 200:
                yield f"A synchronous prediction was answered {response.status_code}."
        ready = await client.get("/readyz")
        if ready.status_code != 200 or not ready.json()["degraded"]:
            yield f"/readyz does not tell that the disk is full: {ready.text}"
        refused = await client.post("/predict", json={"input": work}, headers=ASYNC)
        if (refused.status_code, refused.json().get("code")) != (503, "storage_full"):
            yield f"A submit on a full disk was answered: {refused.text}"
