"""The same work over HTTP, side by side with what one would use instead.

    .venv/bin/python benchmarks/peers.py [echo] [nap] [batched] [start] [--rounds 3] [--seconds 5]

Every system does the same trivial work, gets the same requests from wrk over connections that stay
open, and takes its turn in each round; every figure is the median of the rounds. `raw` is an ASGI
application that does nothing, on uvicorn with uvloop and httptools: what the others could reach.

- echo: a model that answers at once; all processes of the server on one core, wrk on another.
- nap: an asynchronous model that takes 50 ms, at 1,000 connections, on the same cores as wrk.
- batched: a model that blocks for 10 ms for up to 32 inputs; the rate in parts of the ideal one.
- start: from the start of the process to the first right answer, and the memory (PSS) then.

Answers that are not 200, and connections that broke, are counted as errors. Needs `wrk` and
`taskset` on the PATH and two cores. The peers are installed with uv into environments of their own
below ~/.cache; what cannot be installed is left out, and said.
"""

import argparse
import http.client
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from typing import NamedTuple

import psutil

HERE = Path(__file__).parent
APPS = HERE / "apps"
BIN = Path(sys.executable).parent
CACHE = Path.home() / ".cache" / "zypher-benchmarks"

# What is needed to serve, and where the load comes from.
SERVER_CORE, LOAD_CORE = "0", "1"
# For how long a server may be silent, in seconds.
PATIENCE = 60.0

Command = Sequence[object]


class Peer(NamedTuple):
    """A system: what has to be installed for it, how it is started, and what it can be asked."""

    name: str
    packages: Sequence[str]
    command: Callable[[Path, str, int, int], Command]  # programs, model, workers, port
    models: Sequence[str]
    path: str = "/predict"
    paths: Mapping[str, str] = {}  # of models that have one of their own

    def path_of(self, model: str) -> str:
        """Where a model takes its input."""
        return self.paths.get(model, self.path)


def zypher(programs: Path, model: str, workers: int, port: int) -> Command:
    """As installed: with the queue in a file."""
    target = f"{model}={APPS / 'models.py'}:{model}"
    return (programs / "zypher", "serve", target, "--replicas", workers, "--port", port)


def uvicorn(application: str, programs: Path, port: int) -> Command:
    """One process of uvicorn."""
    return (
        *(programs / "uvicorn", application, "--app-dir", APPS, "--port", port),
        *("--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"),
    )


def raw(programs: Path, model: str, workers: int, port: int) -> Command:
    """An application that does nothing."""
    return uvicorn("raw:app", programs, port)


def fastapi(programs: Path, model: str, workers: int, port: int) -> Command:
    """FastAPI, with the model in its process."""
    return uvicorn("fastapi_app:app", programs, port)


def litserve(programs: Path, model: str, workers: int, port: int) -> Command:
    """LitServe, with its workers."""
    return (programs / "python", APPS / "litserve_app.py", model, workers, port)


def mosec(programs: Path, model: str, workers: int, port: int) -> Command:
    """Mosec, with its workers."""
    program = (programs / "python", APPS / "mosec_app.py", "--port", port)
    return ("env", f"MODEL={model}", f"WORKERS={workers}", *program)


OWN_PATHS = {"nap": "/nap"}
PEERS = (
    Peer("raw", (), raw, ("echo", "nap"), paths=OWN_PATHS),
    Peer("zypher", (), zypher, ("echo", "nap", "batched")),
    Peer("FastAPI", (), fastapi, ("echo", "nap"), paths=OWN_PATHS),
    Peer("LitServe", ("litserve",), litserve, ("echo", "nap", "batched")),
    Peer("Mosec", ("mosec",), mosec, ("echo", "batched"), path="/inference"),
)


class Load(NamedTuple):
    """So many connections to so many workers, and what an ideal server would do, if one knows."""

    model: str
    connections: int
    workers: int = 1
    ideal: float | None = None
    pinned: bool = False


LOADS = (
    Load("echo", 1, pinned=True),
    Load("echo", 32, pinned=True),
    Load("echo", 256, pinned=True),
    Load("nap", 1_000),
    Load("batched", 64, ideal=3_200),
    Load("batched", 128, workers=2, ideal=6_400),
)


class Answers(NamedTuple):
    """What wrk has seen; times in milliseconds."""

    rate: float
    p50: float
    p99: float
    slowest: float
    errors: int


# The servers.


def environments() -> dict[str, Path]:
    """Where the programs of each system are; those that cannot be installed are left out."""
    uv = shutil.which("uv") or HERE.parent / ".uv" / "bin" / "uv"
    places = {}
    for peer in PEERS:
        places[peer.name] = BIN
        if peer.packages:
            place = CACHE / peer.name
            subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, place], check=True)
            install = [uv, "pip", "install", "-q", "-p", place, *peer.packages]
            if subprocess.run(install, check=False).returncode:
                print(f"{peer.name} cannot be installed here: it is left out.")
                del places[peer.name]
                continue
            places[peer.name] = place / "bin"
    return places


@contextmanager
def serving(
    peer: Peer, programs: Path, model: str, workers: int, *, pinned: bool
) -> Iterator[tuple[int, int, float]]:
    """A server that has given a right answer: its pid, its port, and the seconds that it took."""
    port = free_port()
    command = [str(part) for part in peer.command(programs, model, workers, port)]
    folder = tempfile.mkdtemp()
    started = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, *command] if pinned else command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        start_new_session=True,
    )
    try:
        wait_for_answer(process, port, peer.path_of(model))
        yield process.pid, port, time.perf_counter() - started
    finally:
        end(process)
        shutil.rmtree(folder)


def wait_for_answer(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    """Ask until the answer is right."""
    deadline = time.monotonic() + PATIENCE
    while not answers(port, path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"It does not answer: {process.args!r}")
        time.sleep(0.005)


def answers(port: int, path: str) -> bool:
    """True if one request has the right answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", path, b'{"input":1}', {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status == 200 and json.loads(response.read())["result"] == 1
    except OSError:
        return False
    finally:
        connection.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to stop, and make sure of it."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        if child.is_running():
            child.kill()


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# What is measured.


def measure(peer: Peer, programs: Path, load: Load, seconds: float) -> Answers:
    """Warm up, then have wrk ask for so many seconds."""
    with serving(peer, programs, load.model, load.workers, pinned=load.pinned) as (_, port, _):
        ask(port, peer.path_of(load.model), load, 1)
        return ask(port, peer.path_of(load.model), load, seconds)


def ask(port: int, path: str, load: Load, seconds: float) -> Answers:
    """Let wrk ask."""
    wrk = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds:g}s", "--timeout", "60s"]
    command = [*wrk, "-s", str(HERE / "post.lua"), f"http://127.0.0.1:{port}{path}"]
    if load.pinned:
        command = ["taskset", "-c", LOAD_CORE, *command]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(output.splitlines()[-1])
    return Answers(
        (told["answers"] - told["refused"]) / told["seconds"],
        *(told["p50"], told["p99"], told["slowest"]),
        told["refused"] + told["broken"],
    )


def memory(pid: int) -> float:
    """PSS of a process and its children, in MB."""
    root = psutil.Process(pid)
    processes = [root, *root.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def report_load(load: Load, figures: dict[str, list[Answers]]) -> None:
    """A table of medians. The first system is what the others are compared with."""
    workers = f", {load.workers} workers" if load.ideal else ""
    print(f"\n{load.model}, {load.connections} connections{workers}")
    against = "of ideal" if load.ideal else "x raw"
    print(
        f"{'':12}{'answers/s':>12}{against:>10}"
        f"{'p50 ms':>10}{'p99 ms':>10}{'slowest':>10}{'errors':>8}"
    )
    reference = load.ideal or median(figures["raw"], "rate")
    for name, rounds in figures.items():
        rate = median(rounds, "rate")
        p50, p99 = median(rounds, "p50"), median(rounds, "p99")
        slowest, errors = max(r.slowest for r in rounds), sum(r.errors for r in rounds)
        print(
            f"{name:12}{rate:12,.0f}{rate / reference:10.2f}"
            f"{p50:10.2f}{p99:10.2f}{slowest:10.0f}{errors:8}"
        )


def median(rounds: list[Answers], field: str) -> float:
    return float(statistics.median(getattr(answers, field) for answers in rounds))


def compare_loads(
    models: Sequence[str], places: dict[str, Path], rounds: int, seconds: float
) -> None:
    for load in LOADS:
        if load.model not in models:
            continue
        figures: dict[str, list[Answers]] = defaultdict(list)
        for _ in range(rounds):
            for peer in PEERS:
                if peer.name in places and load.model in peer.models:
                    figures[peer.name].append(measure(peer, places[peer.name], load, seconds))
        report_load(load, figures)


def compare_starts(places: dict[str, Path], rounds: int) -> None:
    """Print how soon each answers, and how much memory it has then."""
    print(f"\n{'start':12}{'seconds':>12}{'MB':>10}")
    figures: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(rounds):
        for peer in PEERS:
            if peer.name in places:
                with serving(peer, places[peer.name], "echo", 1, pinned=False) as (pid, _, took):
                    figures[peer.name].append((took, memory(pid)))
    for name, pairs in figures.items():
        seconds, megabytes = map(statistics.median, zip(*pairs, strict=True))
        print(f"{name:12}{seconds:12.2f}{megabytes:10.0f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["echo", "nap", "batched", "start"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    wanted = parser.parse_args()
    places = environments()
    compare_loads(wanted.what, places, wanted.rounds, wanted.seconds)
    if "start" in wanted.what:
        compare_starts(places, wanted.rounds)


if __name__ == "__main__":
    main()
