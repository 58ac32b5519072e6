"""Runs one fault at small size with the `zypher` that this process imports, and tells as JSON.

    python -m tests.faults.alone NAME

It is how a fault meets another source tree than the installed one: PYTHONPATH says which, for
this process and for the servers that it starts.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

import zypher
from tests.faults.catalogue import FAULTS
from tests.faults.report import Report, Size


class Told(msgspec.Struct):
    """A report, and the package that it is about."""

    package: str
    report: Report


def run(name: str, size: Size) -> Report:
    """The report of one fault, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(FAULTS[name](size, Path(directory)))


if __name__ == "__main__":
    told = Told(str(Path(zypher.__file__).parent), run(sys.argv[1], Size.SMALL))
    print(msgspec.json.encode(told).decode())
