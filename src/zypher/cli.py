"""The command line: commands, flags and exit codes."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from zypher.brokers.sqlite.backup import back_up
from zypher.brokers.sqlite.files import path_of
from zypher.errors import ConfigurationError, ModelLoadError
from zypher.node import Node, guarantee_of
from zypher.program import check_models, listen, run_server, run_worker
from zypher.selection import require_for_worker, with_models
from zypher.settings import Count, Settings, Size, load_settings, option

app = typer.Typer(
    name="zypher",
    help="Turns any Python model into a prediction server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="file.py:Name, package.module:name, NAME=TARGET, or the name of a table in "
        "zypher.toml. Default: what zypher.toml says, else the mock.",
    ),
]


def main() -> None:
    """Run the command line. An ordinary mistake ends in one sentence and exit code 1."""
    try:
        app()
    except ModelLoadError as error:
        sys.exit(error.report)
    except ConfigurationError as error:
        sys.exit(str(error))


def with_settings(command: Callable[[Settings, list[str]], None]) -> Callable[..., None]:
    """Give a command a flag for every setting, and call it with the settings and the models."""

    def run(models: _Models = None, **flags: str | bool | None) -> None:
        given = {name: value for name, value in flags.items() if value is not None}
        command(load_settings(**given), models or [])

    arguments = [inspect.signature(run).parameters["models"], *_flags()]
    run.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


# What a value looks like, in --help. All settings that are not whole numbers are times.
_METAVARS: dict[Any, str] = {
    int: "NUMBER",
    Count | None: "NUMBER",
    Size | None: "NUMBER",
    float: "SECONDS",
    bool: "true|false",
}


# Flags that take no value: to give them is to say yes.
_SWITCHES = ("reload",)


def _flags() -> Iterator[inspect.Parameter]:
    for name, field in Settings.model_fields.items():
        if name == "models":
            continue
        default = "" if field.default in (None, "", []) else f" Default: {_text(field.default)}."
        flag = typer.Option(
            f"--{option(name)}",
            help=f"{field.description}{default}",
            metavar=None if name in _SWITCHES else _METAVARS.get(field.annotation, "TEXT"),
            show_default=False,
        )
        kind = Annotated[bool | None, flag] if name in _SWITCHES else Annotated[str, flag]
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _text(default: object) -> str:
    """A default as one would write it."""
    if isinstance(default, tuple):
        return "-".join(map(_text, default))
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


@app.command()
@with_settings
def serve(settings: Settings, models: list[str]) -> None:
    """Serve models over HTTP."""
    listener = listen(settings.host, settings.port)
    bound = settings.model_copy(update={"host": listener.getsockname()[0]})
    run_server(Node(with_models(bound, models)), listener)


@app.command()
@with_settings
def worker(settings: Settings, models: list[str]) -> None:
    """Run models for servers elsewhere, which share the broker."""
    require_for_worker(settings)
    run_worker(Node(with_models(settings, models), serves=False))


@app.command()
@with_settings
def check(settings: Settings, models: list[str]) -> None:
    """Say whether `serve` would start with these settings and models, without serving."""
    settings = with_models(settings, models)
    guarantee = uvloop.run(guarantee_of(settings))
    # Not with the broker itself: a server may be using it.
    alone = settings.model_copy(update={"broker": "memory:", "reload": False})
    uvloop.run(check_models(alone))
    for name, table in settings.models.items():
        typer.echo(f"{name}: {table.target} loads.")
    if guarantee is not None:
        typer.echo(guarantee)
    typer.echo("The settings are right.")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")],
    broker: Annotated[
        str | None, typer.Option(help="The queue, as given to serve. Default: as configured.")
    ] = None,
) -> None:
    """Copy the queue to a new file, also while a server uses it."""
    url = load_settings(**({} if broker is None else {"broker": broker})).broker
    back_up(path_of(url), target.absolute())
    name = os.fsencode(target).decode(errors="replace")  # a terminal may not take every name
    typer.echo(f"{name} has all that was in the queue when the copy was complete.")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("zypher"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Turns any Python model into a prediction server."""
