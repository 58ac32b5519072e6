"""Programs that are started, pinned and ended, and what they use."""

import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import psutil

# What is needed to serve, and where the load comes from, when the two are kept apart.
SERVER_CORE, LOAD_CORE = "0", "1"
# On a disk, which /tmp need not be: queues are made here, and the environments of others.
CACHE = Path.home() / ".cache" / "zypher-benchmarks"

Command = Sequence[object]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on a disk, which is gone afterwards."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def program(
    command: Command, directory: Path, environment: Mapping[str, str], *, pinned: bool
) -> Iterator[psutil.Process]:
    """A process that runs meanwhile; its children end with it."""
    pin = ("taskset", "-c", SERVER_CORE) if pinned else ()
    process = subprocess.Popen(
        [str(part) for part in (*pin, *command)],
        stdout=subprocess.DEVNULL,
        stderr=(directory / "stderr").open("ab"),
        cwd=directory,
        env=os.environ | environment,
        start_new_session=True,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a program to stop, and make sure of it."""
    family = tree([psutil.Process(process.pid)])
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in family[1:]:
        if child.is_running():
            child.kill()


def tree(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """These processes and all of their children."""
    return [one for root in processes for one in (root, *root.children(recursive=True))]


def shared_out(processes: Sequence[psutil.Process]) -> float:
    """Their memory in MB, with their part of what they share (PSS)."""
    return sum(float(one.memory_full_info().pss) for one in tree(processes)) / 1e6


def resident(process: psutil.Process) -> float:
    """The memory of one process in MB (RSS)."""
    return float(process.memory_info().rss) / 1e6


def wait_until_idle(processes: Sequence[psutil.Process], patience: float = 10.0) -> None:
    """Return when they have used less than a tenth of a core for half a second."""
    deadline = time.monotonic() + patience
    used = -1.0
    while (now := processor_time(*processes)) - used > 0.05:
        if time.monotonic() > deadline:
            return
        used = now
        time.sleep(0.5)


def processor_time(*processes: psutil.Process) -> float:
    """What these and their children have used so far, in seconds."""
    times = [one.cpu_times() for one in tree(processes)]
    return sum(float(one.user + one.system) for one in times)


def fsync(directory: Path, times: int = 300) -> float:
    """Milliseconds (median) that the disk takes to make 4 KB durable."""
    took = []
    with (directory / "fsync").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fsync(file)
            took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def uv() -> str:
    """The uv on the PATH, else the one of `./run`."""
    return shutil.which("uv") or str(Path(__file__).parents[1] / ".uv" / "bin" / "uv")
