"""The how-tos of docker and kubernetes say what the files do; `./run image` builds their image."""

import re
import shlex
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tests.docs.pages import ROOT, blocks
from tests.image.compose import services

DOCKER = ROOT / "docs" / "how-to" / "docker.md"
KUBERNETES = ROOT / "docs" / "how-to" / "kubernetes.md"


def test_an_image_made_from_ours_runs_as_the_same_user() -> None:
    (own,) = blocks(DOCKER, "dockerfile")
    ours = (ROOT / "Dockerfile").read_text()
    assert own.startswith("FROM zypher\n")
    assert re.findall("^USER .*", own, re.MULTILINE)[-1:] == re.findall(
        "^USER .*", ours, re.MULTILINE
    )
    assert "PIP_PYTHON=/opt/zypher" in ours


def test_compose_is_called_with_files_that_are_there_and_overridden_where_it_has_something() -> (
    None
):
    commands = [shlex.split(line) for block in blocks(DOCKER, "sh") for line in block.splitlines()]
    assert ["docker", "compose", "up", "--build"] in commands
    for name in re.findall(r"compose[.\w]*\.yaml", DOCKER.read_text()):
        assert (ROOT / name).exists() or name == "compose.override.yaml"
    (override,) = (yaml.safe_load(block) for block in blocks(DOCKER, "yaml"))
    assert set(override["services"]) <= set(services(ROOT / "compose.yaml"))


def test_what_kubectl_is_given_is_there() -> None:
    words = [word for block in blocks(KUBERNETES, "sh") for word in shlex.split(block)]
    paths = [word for word in words if word.startswith("deploy/")]
    assert len(paths) == 4
    names = "".join(file.read_text() for path in paths for file in _files(path))
    assert all((ROOT / path).exists() for path in paths)
    for word in words:
        kind, _, name = word.partition("/")
        if kind in ("deployment", "service"):
            assert f"kind: {kind.title()}\nmetadata:\n  name: {name}\n" in names


def _files(path: str) -> list[Path]:
    place = ROOT / path
    return sorted(place.glob("*.yaml")) if place.is_dir() else [place]


def test_every_file_of_the_manifests_is_told_of() -> None:
    page = KUBERNETES.read_text()
    for file in (ROOT / "deploy" / "kubernetes").glob("*/*.yaml"):
        assert f"`{file.name}`" in page or f"kubernetes/{file.parent.name}" in page
