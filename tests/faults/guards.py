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
        "leases are renewed for runs that go on",
        "held-interpreter",
        "node.py",
        "await self._worker.renew()",
        "pass",
    ),
    Guard(
        "a body has at most max-body-size",
        "payloads",
        "server/door.py",
        "self._max_body_size = max_body_size",
        "self._max_body_size = 1 << 60",
    ),
    Guard(
        "what was in a crash together runs apart",
        "poison",
        "prediction.py",
        "if company > 1:",
        "if False:",
    ),
    Guard(
        "a crash alone is charged",
        "poison",
        "prediction.py",
        "crashes = self.crashes + 1",
        "crashes = self.crashes",
    ),
    Guard(
        "what a stopped server still runs is given back",
        "restarts",
        "worker/worker.py",
        "await self._release(replica, list(held))",
        "pass",
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
        stdout=subprocess.PIPE,
        check=True,
    )
    told = msgspec.json.decode(ran.stdout, type=Told)
    if Path(told.package) != source / _PACKAGE.name:
        raise RuntimeError(f"The report is about {told.package}, not about {source}.")
    return told.report
