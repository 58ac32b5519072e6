"""A process that keeps lines in a file and says how that went, for the faults to meet.

python scribe.py plain|sqlite FILE
"""

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Keep = Callable[[str], object]


class Scribe(subprocess.Popen[str]):
    """Keeps lines durably: in a `plain` file with fsync, or each as a commit of `sqlite`."""

    def __init__(
        self, kind: str, path: Path, *, prefix: Sequence[str] = (), pass_fds: Sequence[int] = ()
    ) -> None:
        super().__init__(
            [*prefix, sys.executable, __file__, kind, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )

    def keep(self, line: str) -> str:
        """Keep a line. Returns "kept", or the error; nothing if the process has ended."""
        assert self.stdin
        assert self.stdout
        print(line, file=self.stdin, flush=True)
        return self.stdout.readline().rstrip()


def plain(path: str) -> Keep:
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def keep(line: str) -> None:
        os.write(file, line.encode())
        os.fsync(file)

    return keep


def sqlite(path: str) -> Keep:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE IF NOT EXISTS lines (line)")
    return lambda line: database.execute("INSERT INTO lines VALUES (?)", [line])


def attempt(keep: Keep, line: str) -> str:
    try:
        keep(line)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except sqlite3.Error as error:
        return str(error)
    return "kept"


def main(kind: str, path: str) -> None:
    keep = {"plain": plain, "sqlite": sqlite}[kind](path)
    for line in sys.stdin:
        print(attempt(keep, line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
