"""`zypher purge`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zypher.cli.options import HERE, ModelName, Url, connect, time_option
from zypher.cli.text import put_line
from zypher.errors import NotFound

if TYPE_CHECKING:
    from zypher.client import Client, Record

_Ended = Literal["completed", "failed", "canceled"]


def purge(
    status: Annotated[
        _Ended | None, typer.Option(help="Only those that have ended like this.")
    ] = None,
    model: ModelName = None,
    older: Annotated[
        float | None,
        time_option("Only those that ended so long ago: 90s, 15m, 1h, 2d."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = HERE,
) -> None:
    """Delete predictions that have ended."""
    if not yes and not _can_ask():
        raise typer.BadParameter("Nobody can be asked here: say --yes.")
    with connect(url) as client:
        found = list(_find(client, status, model, older or 0.0))
        if found and (yes or _confirms(len(found))):
            deleted = sum(_delete(client, record.id) for record in found)
            put_line(f"Deleted {deleted}.")
        else:
            put_line("Deleted nothing.")


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _confirms(count: int) -> bool:
    what = "1 prediction that has ended" if count == 1 else f"{count} predictions that have ended"
    return typer.confirm(f"Delete {what}?", err=True)


def _find(
    client: "Client", status: _Ended | None, model: str | None, older: float
) -> Iterator["Record"]:
    latest = datetime.now(UTC) - timedelta(seconds=older)
    for record in client.list(status=status, model=model):
        if record.finished is not None and record.finished <= latest:
            yield record


def _delete(client: "Client", id: str) -> bool:
    """Delete one; False if it was gone already."""
    try:
        client.handle(id).delete()
    except NotFound:
        return False
    return True
