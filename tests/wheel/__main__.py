"""Tries a wheel and a source distribution: what is in them, and that they serve.

    ./run wheel

which builds both into dist/, the wheel from the source distribution, and calls this:
`python -m tests.wheel DIRECTORY UV`. `UV` is how to call uv.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from tests.redis_servers import RedisServer

_ROOT = Path(__file__).parents[2]
_USE = Path(__file__).with_name("use.py")

# What somebody needs who has nothing but the source distribution: to build, to run, to test it.
_NEEDED = ("LICENSE", "README.md", "CHANGELOG.md", "run", "uv.lock", "docs", "tests", "examples")


def main(directory: Path, uv: str) -> None:
    """Raises `AssertionError` for what is missing, `CalledProcessError` for what does not work."""
    (wheel,) = directory.glob("zypher-*.whl")
    (source,) = directory.glob("zypher-*.tar.gz")
    _check_source(source)
    version = _check_wheel(wheel)
    with tempfile.TemporaryDirectory() as elsewhere:
        _use(wheel, version, uv, Path(elsewhere))
    for file in (wheel, source):
        print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB")
    print("Installed elsewhere, the wheel serves.")


def _check_source(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    missing = {*_NEEDED, "pyproject.toml", "src"} - names
    assert not missing, f"{source.name} lacks {missing}."


def _check_wheel(wheel: Path) -> str:
    """See that it has all files of the package, and what is known of it; its version."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(about).decode())
    files = (file for file in (_ROOT / "src").rglob("*") if file.is_file())
    wanted = {str(file.relative_to(_ROOT / "src")) for file in files if file.suffix != ".pyc"}
    assert wanted <= names, f"{wheel.name} lacks {sorted(wanted - names)}."
    more = {name for name in names - wanted if ".dist-info/" not in name}
    assert not more, f"{wheel.name} has {sorted(more)}, which no one has written."
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    version: str = project["version"]
    assert metadata["Version"] == version
    assert metadata["License-Expression"] == project["license"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_all("Classifier") == project["classifiers"]
    return version


def _use(wheel: Path, version: str, uv: str, elsewhere: Path) -> None:
    """Install it with its own dependencies alone, and have it used from there."""
    python = elsewhere / "venv" / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    _run([uv, "venv", "--quiet", "--python", sys.executable, "venv"], elsewhere, clean)
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    script = str(shutil.copy(_USE, elsewhere))
    _run([*install, str(wheel)], elsewhere, clean)
    _run([str(python), script, version, "sqlite:///queue.db"], elsewhere, clean)
    place = elsewhere / "redis"
    place.mkdir()
    with RedisServer(place) as redis:
        _run([*install, f"zypher[redis] @ {wheel.as_uri()}"], elsewhere, clean)
        _run([str(python), script, version, redis.url], elsewhere, clean)


def _run(command: list[str], cwd: Path, environment: dict[str, str]) -> None:
    subprocess.run(command, cwd=cwd, env=environment, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
