"""`python -m tests.fuzz.served DIRECTORY serve ...`: a server that knows which of its lines ran.

On SIGUSR2 it writes what has happened since the last one into the next file of that directory, and
begins anew. What could run code that came as data is counted by the interpreter itself.
"""

import asyncio
import json
import signal
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import zypher.server
from zypher.__main__ import main

SOURCE = str(Path(zypher.server.__file__).parent)

# PEP 578: raised when one of these is about to happen, by whomever.
UNSAFE = {
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen"),
    *("ctypes.dlopen", "compile", "exec"),
}

lines: dict[CodeType, set[int]] = {}
events: Counter[str] = Counter()


def trace(frame: FrameType, event: str, argument: object) -> Any:
    """Note the lines of a call, if its code is the server's."""
    code = frame.f_code
    if not code.co_filename.startswith(SOURCE):
        return None
    reached = lines.setdefault(code, set())

    def line(frame: FrameType, event: str, argument: object) -> Any:
        reached.add(frame.f_lineno)
        return line

    return line


def listen(event: str, arguments: tuple[object, ...]) -> None:
    if event in UNSAFE:
        events[event] += 1


def write_down(directory: Path) -> Any:
    numbers = count()

    def write(number: int, frame: FrameType | None) -> None:
        reached = {(c.co_filename, n) for c, some in list(lines.items()) for n in list(some)}
        told = {
            "lines": sorted(reached),
            "tasks": len(asyncio.all_tasks(asyncio.get_running_loop())),
            "events": dict(events),
        }
        for some in lines.values():
            some.clear()
        events.clear()
        unfinished = directory / "unfinished"
        unfinished.write_text(json.dumps(told))
        unfinished.rename(directory / f"{next(numbers)}.json")

    return write


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, write_down(Path(sys.argv.pop(1))))
    sys.addaudithook(listen)
    sys.settrace(trace)
    main()
