"""The server that a command talks to."""

from typing import TYPE_CHECKING, Annotated

import typer

from zypher.cli.address import DEFAULT, VARIABLE

if TYPE_CHECKING:
    from zypher import Client

Url = Annotated[
    str,
    typer.Option(
        envvar=VARIABLE, metavar="URL", help=f"The server. Default: {DEFAULT}.", show_default=False
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Only those of this model.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]


def connect(url: str) -> "Client":
    """A client of the server there."""
    from zypher.client import Client

    return Client(url, timeout=None)
