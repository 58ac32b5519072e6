"""A disk that fails: a call now and then, and then every one."""

import errno
import random
from pathlib import Path

from tests.faults.files import DATABASE, FILES, damage
from tests.faults.report import Report, Size
from tests.faults.rig import Rig
from tests.faults.syscalls import Call, Supervisor

_CALLS = ("fsync", "fdatasync", "pwrite64")


class Disk:
    """Fails a part of the calls that are about the queue's files; all is well with a part of 0."""

    def __init__(self) -> None:
        self.part = 0.0
        self.failed = 0
        self._random = random.Random(1)

    def policy(self, call: Call) -> int:
        """What a supervisor asks."""
        if call.path.name not in FILES or self._random.random() >= self.part:
            return 0
        self.failed += 1
        return errno.EIO


async def broken_disk(size: Size, directory: Path) -> Report:
    """Some calls to the disk fail under load; then all do, and the server is killed."""
    disk = Disk()
    with Supervisor(_CALLS, disk.policy) as faults:
        async with Rig(directory, "work", prefix=faults.prefix, pass_fds=faults.pass_fds) as rig:
            async with rig.load() as load:
                await load.accepts(20)
                disk.part = 0.01
                while disk.failed < size.of(5, 100):
                    await load.accepts(1)
                disk.part = 1.0
                await load.refuses()
                await rig.kill()
                wrong = [*damage(directory / DATABASE)]
                disk.part = 0.0
                await rig.start()
                await load.accepts(20)
            remarks = [f"{disk.failed} calls failed"]
            return await rig.report("the disk fails", *wrong, remarks=remarks)
