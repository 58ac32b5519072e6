"""`zypher key`."""

from typing import Annotated

import typer

from zypher.cli.text import complain, put_line


def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.")],
) -> None:
    """Make an API key, and what the server keeps of it.

    Prints the key, which is for whoever is to call, and a line for the setting api-keys, from which
    nobody can find the key. Nothing is stored: what is lost is made anew.
    """
    from zypher.api_keys import hashed, new_key

    made = new_key()
    try:
        kept = hashed(name, made)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None
    complain(f"The key of {name}, which is shown only now; and what goes into api-keys:")
    put_line(f"{made}\n{kept}")
