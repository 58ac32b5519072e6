"""One server for the tests of the command line, with models that they need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Server, target

_HERE = Path(__file__).with_name("models.py")
_OURS = (
    "tell",
    "letters",
    "rows",
    "nasty",
    "fails_nastily",
    "picture",
    "size",
    "nothing",
    "falters",
    "falters_in_rows",
)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    ours = [f"{name}={_HERE}:{name}" for name in _OURS]
    others = [
        target(name) for name in ("Sentiment", "distance", "fails", "hold", "hold_blocking", "nap")
    ]
    with Server(target("echo"), *ours, *others, "--broker", "memory:") as serving:
        yield serving
