"""Builds images with buildah, on bases of this machine: no registry is asked for one."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON_IMAGE = "localhost/python:bookworm"
UV_IMAGE = "localhost/uv:here"

# As in the image `python`: where programs are. Of its library it has the source only.
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
# Behind a proxy that looks into TLS, a build needs to trust what this machine does.
_TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
_MIRROR = "http://deb.debian.org/debian"


class Builder:
    """buildah, with everything that it keeps in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def prepare(self, uv: str) -> None:
        """Make what stands in for the images that the Dockerfile begins with."""
        base = self._directory / "python"
        if not base.exists():
            _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm",
                 f"{base}.part", _MIRROR)  # fmt: skip
            base.with_name("python.part").rename(base)
        for compiled in [*base.rglob("*.pyc")]:
            compiled.unlink()
        (base / "usr/local/bin/python").unlink(missing_ok=True)
        (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        if Path(_TRUSTED).exists():
            shutil.copy(_TRUSTED, f"{base}{_TRUSTED}")
        self._commit(PYTHON_IMAGE, base, "/")
        self._commit(UV_IMAGE, Path(uv), "/uv")

    def build(self, context: Path, tag: str, **arguments: str) -> None:
        """`docker build`, from a directory."""
        each = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        self._buildah(
            *("bud", "--quiet", "--pull-never", "--format", "docker", "--layers=false"),
            *(*each, "--tag", tag, str(context)),
        )

    def config(self, tag: str) -> dict[str, Any]:
        """What an image says of itself: Cmd, Env, User, WorkingDir, Healthcheck."""
        config = json.loads(self._buildah("inspect", "--type", "image", tag))["Docker"]["config"]
        return dict(config)

    def unpack(self, tag: str) -> Path:
        """The root directory of a new container."""
        container = self._buildah("from", "--pull-never", tag)
        return Path(self._buildah("mount", container))

    def clear(self) -> None:
        """Forget all containers and images."""
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")

    def _commit(self, tag: str, content: Path, place: str) -> None:
        container = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", container, str(content), place)
        for variable in (f"PATH={_PATH}", f"SSL_CERT_FILE={_TRUSTED}", f"PIP_CERT={_TRUSTED}"):
            self._buildah("config", "--env", variable, container)
        self._buildah("commit", "--quiet", "--rm", container, tag)

    def _buildah(self, *words: str) -> str:
        storage = self._directory / "storage"
        return _run(
            *("buildah", "--root", f"{storage}", "--runroot", f"{storage}-run"),
            *("--storage-driver", "overlay", *words),
        )


def size(path: Path) -> float:
    """MB of a file, or of a directory with all that is in it; a link counts nothing."""
    each = [file.lstat() for file in [path, *path.rglob("*")]]
    return sum(one.st_size for one in each if stat.S_ISREG(one.st_mode)) / 1e6


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"BUILDAH_ISOLATION": "chroot"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if command[1] != "inspect" else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}")
    return done.stdout.strip()
