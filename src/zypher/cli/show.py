"""`zypher show`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zypher.cli.address import DEFAULT
from zypher.cli.connecting import AsJson, Url, connect
from zypher.cli.documents import json_text, put_json
from zypher.cli.endings import interruptible, limited
from zypher.cli.outcomes import put_outcome
from zypher.cli.text import one_line, put_line
from zypher.cli.times import clock_time, seconds

if TYPE_CHECKING:
    from zypher.client import Record

# An input or result is shown up to so many characters; --json has all of it.
_MOST = 2000


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The prediction.")],
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Wait for its end, show how it goes, and print the result."),
    ] = False,
    as_json: AsJson = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Follow it so long at most.")
    ] = None,
    url: Url = DEFAULT,
) -> None:
    """Show one prediction, or follow it to its end.

    To stop following with Ctrl-C does nothing to the prediction.
    """
    with connect(url) as client:
        handle = client.handle(id)
        record = handle.get()
        if follow:
            model = next((model for model in client.models() if model.name == record.model), None)
            with interruptible(lambda: f"No longer followed: {id} goes on."), limited(timeout, id):
                put_outcome(handle, model, follow=True, as_json=as_json)
        elif as_json:
            put_json(as_document(record))
        else:
            for name, value in _rows(record):
                put_line(f"{name:<12}{value}")


def as_document(record: "Record") -> dict[str, Any]:
    """The record as the HTTP API has it: only the members that it has."""
    from msgspec import to_builtins

    has_result = {"result"} if record.status == "completed" else set()
    members: dict[str, Any] = to_builtins(record)
    return {
        name: value for name, value in members.items() if value is not None or name in has_result
    }
