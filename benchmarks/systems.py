"""What is compared: how each system is installed, started, and known to be up."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.processes import (
    CACHE,
    Command,
    folder,
    free_port,
    program,
    uv,
    wait_until_idle,
)

ROOT = Path(__file__).parents[1]
# Where Zypher is installed, and what stands beside it.
PROGRAMS = Path(sys.executable).parent
# For how long a server may be silent, in seconds.
PATIENCE = 60.0
KEY = "zy_benchmarks-0123456789"

# Models that are not in models.py, since they load more than it does.
MODULES = {
    "document": "documents",
    **dict.fromkeys(("floats_in", "floats_out", "floats_both", "floats_timed"), "floats"),
}

# Whoever answers this input of a model with this result is up.
EXAMPLES: dict[str, tuple[Any, Any]] = {
    "batched": (1, 1),
    "document": ({"title": "x", "lines": []}, 0),
    "echo": (1, 1),
    "failing": (1, 1),
    "floats_in": ([0.5], 1),
    "floats_out": (1, ...),
    "floats_both": ([0.5], [0.5]),
    "floats_timed": ([0.5], ...),
    "mock": ("x", ...),
    "nap": (1, 1),
    "sleep": (0, 0),
}


class Setup(NamedTuple):
    """What a system is started with. `arguments` are Zypher's own."""

    model: str
    workers: int = 1
    pinned: bool = False
    keyed: bool = False
    arguments: Sequence[object] = ()


class Run(NamedTuple):
    """A setup at its place: the folder of the system's programs, its port and that of its Redis."""

    programs: Path
    setup: Setup
    port: int
    redis: int


class System(NamedTuple):
    """A system; the first of the programs that it starts with is the server."""

    name: str
    start: Callable[[Run], list[Command]]
    packages: Sequence[str] = ()
    path: str = "/predict"
    redis: bool = False


def zypher(run: Run) -> list[Command]:
    """As installed: with the queue in a file."""
    model, workers, *_, arguments = run.setup
    replicas = ("--replicas", workers, "--port", run.port)
    return [(run.programs / "zypher", "serve", *targets(model), *replicas, *arguments)]


def zypher_over_redis(run: Run) -> list[Command]:
    """A server without replicas, and workers."""
    program, broker = run.programs / "zypher", ("--broker", f"redis://127.0.0.1:{run.redis}/0")
    worker = (program, "worker", *targets(run.setup.model), *broker)
    return [
        (program, "serve", "--replicas", 0, "--port", run.port, *broker),
        *[worker] * run.setup.workers,
    ]


def targets(model: str) -> list[str]:
    """What Zypher serves; who sleeps has a neighbour, for whom it may not matter."""
    if model == "mock":
        return ["mock"]
    names = (model, "echo") if model == "sleep" else (model,)
    return [f"{name}=benchmarks.apps.{MODULES.get(name, 'models')}:{name}" for name in names]


def raw(run: Run) -> list[Command]:
    """An application that does nothing."""
    return [uvicorn("raw:app", run)]


def fastapi(run: Run) -> list[Command]:
    """FastAPI, with the model in its process."""
    return [uvicorn("fastapi_app:app", run)]


def litserve(run: Run) -> list[Command]:
    """LitServe, with its workers."""
    return [(run.programs / "python", "-m", "benchmarks.apps.litserve_app", run.port)]


def mosec(run: Run) -> list[Command]:
    """Mosec, with its workers."""
    return [(run.programs / "python", "-m", "benchmarks.apps.mosec_app", "--port", run.port)]


def taskiq(run: Run) -> list[Command]:
    """FastAPI, and one program that starts the workers."""
    worker = (run.programs / "taskiq", "worker", "benchmarks.apps.taskiq_app:broker")
    workers = (*worker, "-w", run.setup.workers, "--log-level", "WARNING")
    return [uvicorn("taskiq_app:app", run), workers]


def celery(run: Run) -> list[Command]:
    """FastAPI, and one program that starts the workers."""
    worker = (run.programs / "celery", "-A", "benchmarks.apps.celery_app", "worker")
    return [
        uvicorn("celery_app:api", run),
        (*worker, "-c", run.setup.workers, "--loglevel", "ERROR"),
    ]


def uvicorn(application: str, run: Run) -> Command:
    """One process of uvicorn."""
    return (
        *(run.programs / "uvicorn", f"benchmarks.apps.{application}", "--port", run.port),
        *("--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"),
    )


HTTP = ("fastapi", "uvicorn", "uvloop", "httptools")
RAW = System("raw", raw)
ZYPHER = System("zypher", zypher)
MOCK = System("zypher, mock", zypher)
FASTAPI = System("FastAPI", fastapi)
LITSERVE = System("LitServe", litserve, ("litserve",))
MOSEC = System("Mosec", mosec, ("mosec",), path="/inference")
OVER_REDIS = System("zypher", zypher_over_redis, redis=True)
TASKIQ = System("taskiq", taskiq, ("taskiq", "taskiq-redis", "redis[hiredis]", *HTTP), redis=True)
CELERY = System("Celery", celery, ("celery[redis]", *HTTP), redis=True)
SYSTEMS = (RAW, ZYPHER, MOCK, FASTAPI, LITSERVE, MOSEC, TASKIQ, CELERY)


@cache
def installed(system: System) -> Path | None:
    """Where the programs of a system are; None if it cannot be installed."""
    if not system.packages:
        return PROGRAMS
    place = CACHE / system.name
    create = (uv(), "venv", "-q", "--clear", "-p", sys.executable, str(place))
    install = (uv(), "pip", "install", "-q", "-p", str(place), *system.packages)
    if any(subprocess.run(command, check=False).returncode for command in (create, install)):
        print(f"{system.name} cannot be installed here: it is left out.")
        return None
    print(f"{system.name}: {', '.join(versions(place, system.packages))}")
    return place / "bin"


def versions(place: Path, packages: Sequence[str]) -> list[str]:
    """What was installed of these."""
    listed = subprocess.run(
        (uv(), "pip", "list", "-q", "-p", str(place), "--format", "json"),
        check=True,
        capture_output=True,
        text=True,
    )
    names = {package.partition("[")[0] for package in packages}
    found = json.loads(listed.stdout)
    return [f"{one['name']} {one['version']}" for one in found if one["name"] in names]


class Service(NamedTuple):
    """A system that has given a right answer, and the seconds that it took."""

    port: int
    path: str
    processes: list[psutil.Process]
    seconds: float


@contextmanager
def serving(system: System, programs: Path, setup: Setup) -> Iterator[Service]:
    """A system that is up, on a Redis of its own if it needs one."""
    port, redis = free_port(), free_port()
    environment = {
        "MODEL": setup.model,
        "WORKERS": str(setup.workers),
        "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        **(keys() if setup.keyed else {}),
    }
    with folder() as directory, ExitStack() as stack:

        def start(command: Command) -> psutil.Process:
            return stack.enter_context(
                program(command, directory, environment, pinned=setup.pinned)
            )

        started = time.perf_counter()
        if system.redis:
            start(("redis-server", "--port", redis, "--appendonly", "yes", "--save", ""))
            wait_for(lambda: listens(redis))
        processes = [start(command) for command in system.start(Run(programs, setup, port, redis))]
        try:
            wait_for(lambda: answers(port, system.path, setup), processes)
        except TimeoutError:
            said = (directory / "stderr").read_text()
            raise SystemExit(f"{system.name} does not answer.\n{said}") from None
        took = time.perf_counter() - started
        wait_until_idle(processes)
        yield Service(port, system.path, processes, took)


def keys() -> Mapping[str, str]:
    """The API key, as each of them is told."""
    return {"ZYPHER_API_KEYS": f"benchmark={KEY}", "API_KEY": KEY}


def wait_for(condition: Callable[[], bool], processes: Sequence[psutil.Process] = ()) -> None:
    """Return once it holds. Raises `TimeoutError` if that takes too long, or if one has ended."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        ended = any(one.status() == psutil.STATUS_ZOMBIE for one in processes)
        if ended or time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.005)


def listens(port: int) -> bool:
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
    except OSError:
        return False
    return True


def answers(port: int, path: str, setup: Setup) -> bool:
    """True if one request has the right answer."""
    input, result = EXAMPLES[setup.model]
    headers = {"Content-Type": "application/json", **({"X-API-Key": KEY} if setup.keyed else {})}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", path, json.dumps({"input": input}), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return response.status == 200 and result in (..., answer["result"])
