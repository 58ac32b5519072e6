"""Runs containers of an image with runc, as a compose file says."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.image.compose import Service

PATIENCE = 60.0


class Container:
    """A container of one image. It shares the network of this process.

    `volumes` are the directories of this machine that are mounted, by their path inside.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        image: Mapping[str, Any],
        service: Service,
        volumes: Mapping[str, Path],
        bundle: Path,
        **environment: str,
    ) -> None:
        self.name = name
        self.service = service.name
        self._health = service.health
        self._grace = service.grace
        self._log = bundle / "log"
        self._bundle = bundle
        bundle.mkdir(parents=True)
        settings = _runtime(root, image, service, volumes, environment)
        (bundle / "config.json").write_text(json.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            command = ["runc", "run", "--bundle", str(self._bundle), self.name]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        words = ["runc", "exec", self.name, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def healthy(self) -> subprocess.CompletedProcess[str]:
        """Wait until its health check says so, and return what it said."""
        deadline = time.monotonic() + PATIENCE
        while (asked := self.run(*self._health)).returncode:
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} is not healthy: {asked.stderr}\n{self.log}")
            time.sleep(0.1)
        return asked

    def cost(self, *command: str) -> tuple[float, float]:
        """How long a command takes, and how much of a processor, by the clock inside: ms."""
        timed = self.run("bash", "-c", 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null', "-", *command)
        real, *used = (float(word) * 1000 for word in timed.stderr.split()[-3:])
        return real, sum(used)

    def stop(self) -> tuple[int, float]:
        """SIGTERM, and SIGKILL if it takes longer than allowed: its exit code, and seconds."""
        begun = time.monotonic()
        subprocess.run(["runc", "kill", self.name, "TERM"], check=True)
        assert self._process is not None
        try:
            code = self._process.wait(self._grace)
        except subprocess.TimeoutExpired:
            self.kill()
            code = 128 + signal.SIGKILL
        return code, time.monotonic() - begun

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        assert self._process is not None
        if self._process.poll() is None:
            subprocess.run(["runc", "kill", self.name, "KILL"], check=False, capture_output=True)
        self._process.wait()


def _runtime(
    root: Path,
    image: Mapping[str, Any],
    service: Service,
    volumes: Mapping[str, Path],
    environment: dict[str, str],
) -> dict[str, Any]:
    """The configuration that an OCI runtime takes, from what the image and the service say."""
    known = dict(entry.split("=", 1) for entry in image["Env"])
    merged = known | service.environment | environment
    user, group = map(int, image["User"].split(":"))
    mounts = [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "mode=755"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "nodev", "mode=1777"),
        *(
            _mount(place, "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777")
            for place in service.tmpfs
        ),
        *(_mount(inside, "bind", str(here), "bind", "rw") for inside, here in volumes.items()),
    ]
    capabilities = [] if service.drops_capabilities else ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": service.read_only},
        "mounts": mounts,
        "process": {
            "args": service.command or image["Cmd"],
            "env": [f"{name}={value}" for name, value in merged.items()],
            "cwd": image["WorkingDir"],
            "user": {"uid": user, "gid": group},
            "capabilities": dict.fromkeys(("bounding", "permitted"), capabilities),
            "noNewPrivileges": service.gains_no_privileges,
        },
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }


def _mount(place: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": source, "options": [*options]}


def make_volume(directory: Path, root: Path, place: str) -> Path:
    """A new volume. As Docker does it, it belongs to whom the directory in the image belongs."""
    directory.mkdir()
    owner = (root / place.lstrip("/")).stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    return directory
