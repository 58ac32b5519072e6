"""`zypher backup`."""

import os
from pathlib import Path
from typing import Annotated

import typer


def backup(
    target: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")],
    broker: Annotated[
        str | None, typer.Option(help="The queue, as given to serve. Default: as configured.")
    ] = None,
) -> None:
    """Copy the queue to a new file, also while a server uses it."""
    from zypher.brokers.sqlite.backup import back_up
    from zypher.brokers.sqlite.files import path_of
    from zypher.settings import load_settings

    url = load_settings(**({} if broker is None else {"broker": broker})).broker
    back_up(path_of(url), target.absolute())
    name = os.fsencode(target).decode(errors="replace")  # a terminal may not take every name
    typer.echo(f"{name} has all that was in the queue when the copy was complete.")
