"""`zypher init`: files to start from."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from zypher.cli.text import put_line
from zypher.errors import ConfigurationError

_STARTER = Path(__file__).with_name("starter")
_FILES = ("model.py", "test_model.py", "requirements.txt", "Dockerfile", ".dockerignore")


def init(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIRECTORY", help="Where to; it is made if it is not there."),
    ] = Path(),
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files of these names, if there are any.")
    ] = False,
) -> None:
    """Write a model to start from, its test and a Dockerfile.

    What exists is never overwritten, unless with --force.
    """
    if not force:
        _require_none_there(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (directory / name).write_bytes((_STARTER / name).read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}. Choose another directory."
        ) from None
    put_line(f"Wrote {', '.join(_FILES)}. Next:\n{_what_next(directory)}")


def _require_none_there(directory: Path) -> None:
    there = [name for name in _FILES if os.path.lexists(directory / name)]
    if there:
        raise ConfigurationError(
            f"{directory} has {', '.join(there)} already, so nothing was written. "
            "Choose another directory, or overwrite with --force."
        )


def _what_next(directory: Path) -> str:
    go_there = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "
    return (
        f"  {go_there}zypher serve model.py:Model   # serves it\n"
        '  zypher predict "all is good"   # in another terminal, asks it\n'
        "  pytest   # tests it; what else to do is in the files\n"
    )
