"""The options that several commands have, and the client that they are for."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zypher.cli.address import VARIABLE, address
from zypher.cli.times import span

if TYPE_CHECKING:
    from zypher.client import Client

HERE = address()
Url = Annotated[
    str,
    typer.Option(
        envvar=VARIABLE, metavar="URL", help=f"The server. Default: {HERE}.", show_default=False
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Only those of this model.")
]
# How long commands bear troubles with the server, in seconds; and those that wait for a result.
SHORT = 5.0
LONG = 60.0

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]


def time_option(help: str) -> Any:
    """An option that is a time, as in 90s."""
    return typer.Option(metavar="TIME", parser=span, help=help)


def connect(url: str, patience: float = SHORT) -> "Client":
    """A client of the server there, which bears troubles with it for so many seconds."""
    from zypher.client import Client

    return Client(url, timeout=None, patience=patience)
