"""A real server as a child process, and what tests do to it."""

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

import httpx2
import psutil

# As installed: a program, whose directory is not the current one.
ZYPHER = Path(sys.executable).with_name("zypher")
MODELS = Path(__file__).with_name("models.py")
REVIEWS = Path(__file__).with_name("reviews.py")
PATIENCE = 30.0
JSON = {"Content-Type": "application/json"}
ASYNC = {"Async-Mode": "true"}

# Below the ports that the kernel gives to connections: while a server is down, one of its
# clients' connections could take the port that it is to come back at.
_STEADY_PORTS = range(20_000, 30_000)


def target(name: str) -> str:
    """A model of the tests, as one writes it on the command line."""
    return f"{name}={REVIEWS if name == 'Sentiment' else MODELS}:{name}"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def steady_port() -> int:
    """A port that nobody listens on, for a server that ends and comes back at the same place."""
    while True:
        port = random.choice(_STEADY_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Process:
    """A `zypher` command that runs until it is stopped, as a child process.

    It runs in `cwd`, or in a directory of its own. `prefix` goes before the command, and must
    end by executing it: the pid stays the same.
    """

    command: ClassVar[Sequence[str]]
    ready: ClassVar[re.Pattern[str]]  # the line that says that it works

    def __init__(
        self,
        *arguments: str,
        cwd: Path | None = None,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        **environment: str,
    ) -> None:
        self.lines: list[str] = []
        self._announced: re.Match[str] | None = None
        self._started = threading.Event()
        self._directory = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [*prefix, ZYPHER, *self.command, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or self._directory.name,
            env=os.environ | environment,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait_ready(self) -> None:
        """Wait for the line that says that it works."""
        if not self._started.wait(PATIENCE) or not self._announced:
            self.kill()
            raise AssertionError("the program did not come up:\n" + "".join(self.lines))

    def wait_said(self, text: str, times: int = 1) -> None:
        """Wait until so many lines that it wrote have had this in them."""
        deadline = time.monotonic() + PATIENCE
        while sum(text in line for line in self.lines) < times:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{''.join(self.lines)}"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it without ceremony, if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self._directory.cleanup()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def replicas(self) -> list[psutil.Process]:
        """Its replica processes."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if is_replica(child)]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if match := self.ready.search(line):
                self._announced = match
                self._started.set()
        self._started.set()


class WorkerProcess(Process):
    """`zypher worker` with these arguments."""

    command = ("worker",)
    ready = re.compile(r"^Working on ")


class Server(Process):
    """`zypher serve` with these arguments, on a free port unless they say which."""

    command = ("serve", "--port", "0")
    ready = re.compile(r"^Serving .* at (?P<url>http://\S+)")

    def __enter__(self) -> Self:
        super().__enter__()
        self.client = httpx2.Client(base_url=self.url, timeout=PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        super().__exit__()

    @property
    def url(self) -> str:
        """Where it serves."""
        assert self._announced is not None
        return self._announced["url"]

    def predict(
        self, value: object, *, model: str | None = None, **headers: str
    ) -> httpx2.Response:
        """POST an input."""
        path = f"/models/{model}/predict" if model else "/predict"
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.client.post(path, json={"input": value}, headers=names)

    def submit(self, value: object, *, model: str | None = None) -> str:
        """POST an input asynchronously, and return its id."""
        response = self.predict(value, model=model, Async_Mode="true")
        assert response.status_code == 202, response.text
        return str(response.json()["prediction_id"])

    def poll(self, id: str, wait: int = 0) -> httpx2.Response:
        """GET a prediction, waiting for its end."""
        return self.client.get(f"/predict/{id}", headers={"Prefer": f"wait={wait}"} if wait else {})


def eventually_ready(server: Server) -> None:
    """Wait until a probe finds the server ready and nothing missing."""
    deadline = time.monotonic() + PATIENCE
    while (answer := server.client.get("/readyz")).status_code != 200 or answer.json()["degraded"]:
        assert time.monotonic() < deadline, answer.text


class Holder:
    """Holds runs of the model `hold`: knows when one has started, and says when it ends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]

    def started(self) -> "HeldRun":
        """Wait until a run has started."""
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE)
        return HeldRun(connection)

    def close(self) -> None:
        self._listener.close()


class HeldRun:
    """A run that goes on until it is let go."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        with connection.makefile() as lines:
            self.pid = int(lines.readline())  # of the process that runs it

    def finish(self, answer: str = "done") -> None:
        """Have the model return this."""
        self._connection.sendall(answer.encode())
        self.close()

    def said(self) -> str:
        """All that the run says until it ends or hangs up."""
        with self._connection, self._connection.makefile() as words:
            return words.read()

    def said_line(self) -> str:
        """The next line that the run says."""
        with self._connection.makefile(buffering=1) as words:
            return words.readline()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def holder() -> Iterator[Holder]:
    """A `Holder` for one test."""
    holding = Holder()
    try:
        yield holding
    finally:
        holding.close()


def is_replica(process: psutil.Process) -> bool:
    """True if this is a replica that has not ended."""
    with suppress(psutil.NoSuchProcess):  # also if it is a zombie
        return "zypher.replicas.child" in process.cmdline()
    return False


def is_gone(process: psutil.Process) -> bool:
    """True if the process has ended, or is a zombie that only waits to be reaped."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(processes: list[psutil.Process]) -> None:
    """Wait until all of these have ended."""
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert not [process for process in alive if not is_gone(process)]


async def gather_posts(
    url: str, bodies: list[object], *, path: str = "/predict", **headers: str
) -> list[httpx2.Response]:
    """POST all of these at once, and return the answers in order."""
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:
        return await asyncio.gather(
            *(client.post(path, json={"input": body}, headers=names) for body in bodies)
        )
