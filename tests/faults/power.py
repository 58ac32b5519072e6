"""A power cut: of what was written to a file but not synced, any part is gone.

The calls of a server to the disk are stopped at random moments, and its files copied. What a
sync had covered by then must stay; of the rest a cut leaves what it likes.
"""

import random
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.files import DATABASE, FILES, damage
from tests.faults.history import History
from tests.faults.report import Report, Size
from tests.faults.rig import Rig
from tests.faults.syscalls import Call, Supervisor
from zypher.brokers import Limits, open_broker
from zypher.clock import SystemClock

_SYNCS = ("fsync", "fdatasync")
_SECTOR = 512
# Of the moments at which a copy is wanted, this part is copied: so they are spread.
_KEPT = 0.05
_MOMENTS = 10
# The disk is slow at such a moment: whoever does not wait for it answers meanwhile. In seconds.
_SLOWNESS = 0.02

Files = dict[str, bytes]


@dataclass(frozen=True)
class Moment:
    """The files at one moment, and what clients had been told by then."""

    synced: Files
    written: Files
    accepted: list[str]
    final: list[str]


class Witness:
    """Sees every call of a server to its disk, and keeps some moments."""

    def __init__(self, directory: Path, history: History) -> None:
        self.wanted = 0  # so many moments are still to be kept
        self.moments: list[Moment] = []
        self._directory = directory
        self._history = history
        self._synced: Files = {}
        self._syncing: Files = {}

    def policy(self, call: Call) -> int:
        """What a supervisor asks. The caller stands still meanwhile."""
        name = call.path.name
        if name in FILES:
            self._synced |= self._syncing  # one thread makes all these calls: the last one is over
            self._syncing = {name: call.path.read_bytes()} if call.name in _SYNCS else {}
            if self.wanted and random.random() < _KEPT:
                time.sleep(_SLOWNESS)
                self.moments.append(self._moment())
                self.wanted -= 1
        return 0

    def _moment(self) -> Moment:
        files = [self._directory / name for name in FILES]
        return Moment(
            dict(self._synced),
            {file.name: file.read_bytes() for file in files if file.exists()},
            list(self._history.accepted),
            [seen.id for seen in self._history.seen if seen.final],
        )


def cut(synced: bytes, written: bytes) -> bytes:
    """What a power cut may leave of a file, by sectors: each one old, new, or never written."""
    left = bytearray(synced)
    if len(written) < len(synced) and random.random() < 0.5:
        del left[len(written) :]
    arrived = random.random()
    for start in range(0, len(written), _SECTOR):
        sector = written[start : start + _SECTOR]
        if sector != synced[start : start + _SECTOR] and random.random() < arrived:
            left += random.randbytes(max(0, start - len(left)))
            left[start : start + len(sector)] = sector
    return bytes(left)


def _write_cut(directory: Path, moment: Moment) -> None:
    """Write the files as a power cut at that moment may leave them."""
    for name, written in moment.written.items():
        (directory / name).write_bytes(cut(moment.synced.get(name, b""), written))


async def power_cuts(size: Size, directory: Path) -> Report:
    """The power fails at many moments, in many ways at each."""
    rounds, cuts = size.of((1, 10), (10, 20))
    history = History()
    witness = Witness(directory, history)
    with Supervisor([*_SYNCS, "pwrite64"], witness.policy) as faults:
        rig = Rig(
            directory, "work", history=history, prefix=faults.prefix, pass_fds=faults.pass_fds
        )
        async with rig:
            wrong: list[str] = []
            for _ in range(rounds):
                witness.moments, witness.wanted = [], _MOMENTS
                async with rig.load() as load:
                    while witness.wanted:
                        await load.accepts(1)
                wrong += [
                    sentence
                    for moment in witness.moments
                    for _ in range(cuts)
                    async for sentence in _wrong_after_cut(moment)
                ]
            remarks = [f"{rounds * _MOMENTS * cuts:,} cuts"]
            return await rig.report("power cuts", *wrong, remarks=remarks)


async def _wrong_after_cut(moment: Moment) -> AsyncIterator[str]:
    """What is wrong with the files that one power cut left, as the broker finds them."""
    with tempfile.TemporaryDirectory() as directory:
        database = Path(directory, DATABASE)
        _write_cut(Path(directory), moment)
        broker = open_broker(f"sqlite:///{database}", Limits(), SystemClock())
        await broker.start()
        try:
            for sentence in broker.degraded():
                yield f"After a power cut: {sentence}"
                return
            found = await broker.list(limit=1_000_000)
        finally:
            await broker.aclose()
        for sentence in damage(database):
            yield f"After a power cut: {sentence}"
    status = {record.id: record.status for record in found.predictions}
    for id in moment.accepted:
        if id not in status:
            yield f"{id} got a 202, and a power cut lost it."
    for id in moment.final:
        if id in status and not status[id].terminal:
            yield f"{id} was seen final, and is {status[id]} after a power cut."
