"""Guards: the lines that keep the promises. Each is taken out, to see that a fault test notices."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.faults.alone import Told
from tests.faults.report import Report

_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "src" / "zypher"


class Guard(NamedTuple):
    """A guard, the fault that needs it, and how the source reads without it."""

    name: str
    fault: str
    file: str
    text: str
    without: str


GUARDS = (
    Guard(
        "a dead replica's work is taken back at once",
        "killed-replicas",
        "worker/claims.py",
        'await self._ended(claims, self._tell(replica, "crash", report))',
        "pass",
    ),
    Guard(
        "what waits behind a run that is killed is no company of it",
        "killed-between-runs",
        "replicas/ahead.py",
        "if self._flights.waiting and not self._tickets.take(self._ticket):",
        "if self._flights.waiting:",
    ),
    Guard(
        "what ran in a killed server waits again",
        "killed-servers",
        "brokers/sqlite/broker.py",
        "store.give_back(self._clock.wall(), self._limits)",
        "pass",
    ),
    Guard(
        "what a stopped server still runs is given back",
        "restarts",
        "worker/worker.py",
        "await self._claims.release(replica, list(held))",
        "pass",
    ),
    Guard(
        "a commit is on the disk",
        "power-cuts",
        "brokers/sqlite/store.py",
        '"synchronous = FULL"',
        '"synchronous = OFF"',
    ),
    Guard(
        "and not only in order on it",
        "power-cuts",
        "brokers/sqlite/store.py",
        '"synchronous = FULL"',
        '"synchronous = NORMAL"',
    ),
    Guard(
        "the commit comes before the 202",
        "power-cuts",
        "brokers/engine.py",
        "return self._record([Move(entry, None, prediction)])",
        "self._record([Move(entry, None, prediction)]); return None",
    ),
    Guard(
        "an outcome that a full disk refused is written later",
        "full-disk",
        "brokers/sqlite/journal.py",
        "self._unwritten += [write for write in writes if not write.refusable]",
        "pass",
    ),
    Guard(
        "a submit whose commit failed is refused",
        "broken-disk",
        "brokers/sqlite/journal.py",
        "self._on_refused(write, self._error(trouble))",
        "resolve(write.written, True)",
    ),
    Guard(
        "a file that was not closed is checked",
        "damaged-files",
        "brokers/sqlite/opening.py",
        'if finding != "ok":',
        "if False:",
    ),
    Guard(
        "a missing log is noticed",
        "damaged-files",
        "brokers/sqlite/opening.py",
        "if not has_log:",
        "if False:",
    ),
    Guard(
        "the lock",
        "second-server",
        "brokers/sqlite/files.py",
        "fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
    ),
    Guard(
        "the file is open for one process alone",
        "second-server",
        "brokers/sqlite/store.py",
        '"PRAGMA locking_mode = EXCLUSIVE"',
        '"PRAGMA locking_mode = NORMAL"',
    ),
    Guard(
        "suspects of a crash run in smaller company",
        "poison",
        "brokers/queue.py",
        "limit = min(limit, company)",
        "pass",
    ),
    Guard(
        "a crash alone is charged",
        "poison",
        "prediction.py",
        "crashes = self.crashes + 1",
        "crashes = self.crashes",
    ),
    Guard(
        "leases are renewed for runs that go on",
        "held-interpreter",
        "node.py",
        "await self._worker.renew()",
        "pass",
    ),
    Guard(
        "a canceled run is told to end",
        "cancels",
        "worker/holdings.py",
        "replica.cancel(claim)",
        "pass",
    ),
    Guard(
        "a run that does not end is killed",
        "cancels",
        "worker/holdings.py",
        "later(self._cancel_grace, self._give_up, replica, claim, insists)",
        "pass",
    ),
    Guard(
        "the fence: only the latest attempt ends it",
        "duplicates",
        "brokers/runs.py",
        "return entry if entry.record.attempt == claim.attempt else None",
        "return entry",
    ),
    Guard(
        "the compare-and-set: only what is processing ends",
        "duplicates",
        "brokers/runs.py",
        "if entry is None or entry.record.status is not PROCESSING:",
        "if entry is None:",
    ),
    Guard(
        "leases do not follow the wall clock",
        "clock-jumps",
        "brokers/runs.py",
        "now = self._clock.steady()\n        late = [",
        "now = self._clock.wall() - 1_799_999_000\n        late = [",
    ),
    Guard(
        "a client that hangs up is no error",
        "hang-ups",
        "server/routes.py",
        "except ClientDisconnect:",
        "except ZeroDivisionError:",
    ),
    Guard(
        "a body has at most max-body-size",
        "payloads",
        "server/door.py",
        "self._max_body_size = max_body_size",
        "self._max_body_size = 1 << 60",
    ),
)


class GuardNotFound(Exception):
    """The text of a guard is not in the source exactly once: the list of guards is out of date."""


@contextmanager
def source_without(guard: Guard) -> Iterator[Path]:
    """A directory with a copy of the package in which this guard is missing."""
    with tempfile.TemporaryDirectory() as directory:
        package = Path(directory, _PACKAGE.name)
        shutil.copytree(_PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        file = package / guard.file
        source = file.read_text()
        if source.count(guard.text) != 1:
            raise GuardNotFound(
                f"{guard.text!r} is {source.count(guard.text)} times in {guard.file}, not once."
            )
        file.write_text(source.replace(guard.text, guard.without))
        yield Path(directory)


def report_of(fault: str, source: Path) -> Report:
    """What a fault reports at small size of the package in this directory."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.alone", fault],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"The fault test {fault} itself failed:\n{ran.stderr}")
    told = msgspec.json.decode(ran.stdout, type=Told)
    if Path(told.package) != source / _PACKAGE.name:
        raise RuntimeError(f"The report is about {told.package}, not about {source}.")
    return told.report
