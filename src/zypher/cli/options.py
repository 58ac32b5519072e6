"""The options that several commands have, and the client that they are for."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zypher.cli.address import DEFAULT, VARIABLE
from zypher.cli.times import span

if TYPE_CHECKING:
    from zypher.client import Client

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


def time_option(help: str) -> Any:
    """An option that is a time, as in 90s."""
    return typer.Option(metavar="TIME", parser=span, help=help)


def connect(url: str) -> "Client":
    """A client of the server there."""
    from zypher.client import Client

    return Client(url, timeout=None)
