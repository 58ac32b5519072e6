"""The server that the page is tried with, and runs that tell what a test wants."""

import json
from pathlib import Path
from typing import Any

from tests.harness import HeldRun

MODELS = Path(__file__).with_name("models.py")


def target(name: str) -> str:
    """A model of `tests/browser/models.py`, as one writes it on the command line."""
    return f"{name}={MODELS}:{name}"


def tell(run: HeldRun, **said: Any) -> None:
    """Have a run of the model `tells` tell something."""
    run._connection.sendall(json.dumps(said).encode() + b"\n")
