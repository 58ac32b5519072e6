"""`zypher show`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zypher.cli.documents import as_document, json_text, put_json
from zypher.cli.endings import interruptible, limited
from zypher.cli.options import HERE, LONG, SHORT, AsJson, Url, connect, time_option
from zypher.cli.outcomes import put_outcome
from zypher.cli.text import one_line, put_line
from zypher.cli.times import clock_time, short_span

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
    timeout: Annotated[float | None, time_option("Follow it so long at most.")] = None,
    url: Url = HERE,
) -> None:
    """Show one prediction, or follow it to its end.

    To stop following with Ctrl-C does nothing to the prediction.
    """
    if timeout is not None and not follow:
        raise typer.BadParameter("--timeout is for --follow.")
    with connect(url, LONG if follow else SHORT) as client:
        handle = client.handle(id)
        record = handle.get()
        if follow:
            model = next((model for model in client.models() if model.name == record.model), None)
            with (
                interruptible(lambda: f"No longer followed: prediction {id} goes on."),
                limited(timeout, id),
            ):
                put_outcome(handle, model, follow=True, as_json=as_json)
        elif as_json:
            put_json(as_document(record, is_whole=True))
        else:
            for name, value in _rows(record):
                put_line(f"{name:<12}{value}")


def _rows(record: "Record") -> Iterator[tuple[str, str]]:
    """What there is to say about a prediction, most of all how it stands."""
    yield "prediction", record.id
    yield "model", record.model
    yield "status", _status(record)
    if record.owner is not None:
        yield "API key", record.owner
    if record.error is not None:
        yield "error", one_line(f"{record.error} ({record.code})")
    if record.progress is not None:
        yield "progress", one_line("{fraction:.0%} {text}".format_map(record.progress))
    yield "created", clock_time(record.created)
    if record.started is not None:
        yield "started", clock_time(record.started)
    if record.finished is not None:
        yield "finished", clock_time(record.finished)
    if record.expires is not None:
        yield "expires", clock_time(record.expires)
    yield "attempt", _attempts(record)
    options = {"priority": record.priority, **record.options}
    yield "options", " ".join(f"{name}={value}" for name, value in options.items())
    if record.retry_of is not None:
        yield "retry of", record.retry_of
    yield "input", _shortened(record.input)
    if record.status == "completed":
        yield "result", _shortened(record.result)
    for line in record.log or [told["text"] for told in record.logs]:
        yield "log", one_line(line)


def _status(record: "Record") -> str:
    if record.started is not None and record.finished is not None:
        took = (record.finished - record.started).total_seconds()
        return f"{record.status} after {short_span(took)}"
    if record.queue_position is None:
        return record.status
    wait = record.estimated_wait
    soon = "" if wait is None else f", about {short_span(wait)} to wait"
    return f"{record.status}, {record.queue_position} before it{soon}"


def _attempts(record: "Record") -> str:
    crashes = f", {record.crashes} crashed" if record.crashes else ""
    retried = f", {record.retried} raised" if record.retried else ""
    return f"{record.attempt}{crashes}{retried}"


def _shortened(value: Any) -> str:
    text = one_line(value if isinstance(value, str) else json_text(value))
    return text if len(text) <= _MOST else f"{text[:_MOST]} ... (all of it: --json)"
