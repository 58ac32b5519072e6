"""`zypher predict`."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import uuid4

import typer

from zypher.cli.documents import put_id
from zypher.cli.endings import interruptible, last_words, limited
from zypher.cli.inputs import read_input
from zypher.cli.options import HERE, LONG, AsJson, Url, connect, time_option
from zypher.cli.outcomes import put_outcome
from zypher.errors import NotFound, Unavailable, ZypherError

if TYPE_CHECKING:
    from zypher.client import Client, Handle, Model, Options


def predict(
    input: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Text or JSON, as the model takes it; @FILE; - for standard input, which is also "
            "the default; or name=value, name=@FILE, for each parameter.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which model. Default: the server's first.")
    ] = None,
    is_async: Annotated[
        bool, typer.Option("--async", help="Print the id at once, and wait for nothing.")
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Show how it goes, and on a terminal the parts of the result as they come.",
        ),
    ] = False,
    as_json: AsJson = False,
    timeout: Annotated[
        float | None, time_option("Wait so long at most; the prediction goes on then.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="An idempotency key: a repeat with it runs nothing."),
    ] = None,
    priority: Annotated[
        Literal["high", "normal", "low"] | None,
        typer.Option(help="Default: high for whoever waits, else normal."),
    ] = None,
    queue_timeout: Annotated[
        float | None, time_option("It fails if its run has not begun after so long.")
    ] = None,
    run_timeout: Annotated[float | None, time_option("It fails if a run takes longer.")] = None,
    deadline: Annotated[
        float | None, time_option("It fails if it has not ended after so long.")
    ] = None,
    ttl: Annotated[float | None, time_option("How long it is kept after its end.")] = None,
    retries: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="How often it runs again because the model raised."),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="A URL that is called at the end.")
    ] = None,
    url: Url = HERE,
) -> None:
    """Run a model of a server and print the result.

    Ctrl-C cancels it, as closing the terminal does, unless with --async.
    """
    if is_async and (follow or timeout is not None):
        raise typer.BadParameter("--async waits for nothing: leave --follow and --timeout out.")
    options: Options = {
        "priority": priority or (None if is_async else "high"),
        "queue_timeout": queue_timeout,
        "run_timeout": run_timeout,
        "deadline": deadline,
        "ttl": ttl,
        "retries": retries,
        "webhook": webhook,
    }
    with connect(url, LONG) as client:
        chosen = _find(client, model)
        value = read_input(input or [], chosen.name, chosen.input_schema)
        # With a key, to submit it again is to find it again.
        submit = partial(
            client.submit, value, model=chosen.name, idempotency_key=key or str(uuid4()), **options
        )
        if is_async:
            put_id(submit().id, as_json=as_json)
            return
        with interruptible(lambda: _cancel(submit)):
            handle = submit()
            with limited(timeout, handle.id):
                put_outcome(handle, chosen, follow=follow, as_json=as_json)


def _find(client: "Client", name: str | None) -> "Model":
    """The model of that name, or the default one. Raises NotFound or Unavailable."""
    models = client.models()
    if not models:
        raise Unavailable(
            f"The server at {client.url} has no model: no worker has registered one yet. "
            "Start one with `zypher worker`."
        )
    found = next((model for model in models if name in (None, model.name)), None)
    if found is None:
        names = ", ".join(model.name for model in models)
        raise NotFound(f"The server has no model {name!r}. There are: {names}.")
    return found


def _cancel(submit: Callable[[], "Handle"]) -> str:
    """Cancel what was submitted, also if nobody knows yet whether it came through; say so."""
    try:
        return f"Canceled prediction {submit().cancel().id}."
    except ZypherError as error:
        return f"The prediction could not be canceled: {last_words(error)}"
