"""Models that write down when they run, each with one way to be a burden."""

import asyncio
import ctypes
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zypher


@dataclass
class Work:
    """What one run has to do, and the file in which it is written down."""

    log: str
    token: str
    seconds: float = 0.0
    poison: Literal["segfault", "kill", "memory"] | None = None
    until: str | None = None  # goes on until this file is there


async def work(work: Work) -> dict[str, str]:
    """Takes its time, with many others in the same process."""
    log_line(work, "start")
    try:
        await asyncio.sleep(work.seconds)
        while not _may_end(work):
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        _done(work)
        raise
    _swallow(work)
    return _done(work)


def work_blocking(work: Work) -> dict[str, str]:
    """As `work`, one at a time."""
    log_line(work, "start")
    time.sleep(work.seconds)
    while not _may_end(work):
        time.sleep(0.02)
    _swallow(work)
    return _done(work)


async def hog(work: Work) -> dict[str, str]:
    """As `work`, but never lets go of the interpreter: nothing else runs in its process."""
    log_line(work, "start")
    end = time.monotonic() + work.seconds
    while time.monotonic() < end:
        sum(range(5_000_000))
    return _done(work)


async def echo(text: str) -> str:
    """Returns what it gets."""
    return text


@zypher.batch(max_size=16, max_wait=0.02)
def doubled(values: list[int]) -> list[int]:
    """Takes many at once."""
    return [2 * value for value in values]


def counts(to: int) -> Iterator[int]:
    """Returns piece by piece."""
    yield from range(to)


def fails(reason: str) -> None:
    """Raises."""
    raise ValueError(reason)


async def aside(seconds: float) -> float:
    """Takes so long, and has nothing to do with anything."""
    await asyncio.sleep(seconds)
    return seconds


def long_text(length: int) -> str:
    """Returns so much text, of which every part is another."""
    return "".join(f"{number:07} " for number in range(length // 8 + 1))[:length]


def log_line(work: Work, word: str) -> None:
    """Write down that this run starts or ends: who, where, when.

    A line is one write to a file that is opened for appending. So the lines of many processes
    never mix, and what was written stays although the process is killed in the next moment.
    """
    line = f"{word} {work.token} {os.getpid()} {os.getppid()} {time.monotonic()!r}\n"
    file = os.open(work.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def _done(work: Work) -> dict[str, str]:
    log_line(work, "end")
    return {"token": work.token, "log": work.log}


def _may_end(work: Work) -> bool:
    return work.until is None or Path(work.until).exists()


def _swallow(work: Work) -> None:
    """Take the poison, if there is some."""
    match work.poison:
        case "segfault":
            ctypes.string_at(0)
        case "kill":  # what the kernel does to a process when the machine's memory is exhausted
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            _exhaust_memory()


def _exhaust_memory() -> None:
    """Take more than the process is allowed: 200 MB from now on."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 200_000_000, resource.RLIM_INFINITY))
    hoard = [b""]
    while True:
        hoard.append(bytes(10_000_000))
