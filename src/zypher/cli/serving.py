"""`serve`, `worker` and `check`, which take every setting as a flag."""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from zypher import logs
from zypher.cli.endings import ending_of
from zypher.errors import ConfigurationError
from zypher.settings import Count, Port, Settings, Size, load_settings, option

log = logging.getLogger("zypher")

_Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="file.py:Name, package.module:name, NAME=TARGET, or the name of a table in "
        "zypher.toml. Default: what zypher.toml says, else the mock.",
    ),
]


def with_settings(command: Callable[[Settings, list[str]], None]) -> Callable[..., None]:
    """Give a command a flag for every setting, and call it with the settings and the models."""

    def run(models: _Models = None, **flags: str | bool | None) -> None:
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            settings = load_settings(**given)
        except ConfigurationError as error:
            _require_console(given, error)
            raise
        command(settings, models or [])

    arguments = [inspect.signature(run).parameters["models"], *_flags()]
    run.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _require_console(given: Mapping[str, object], error: ConfigurationError) -> None:
    """End with an event where programs read what is wrong with the settings."""
    if given.get("log_format", os.environ.get("ZYPHER_LOG_FORMAT")) == "json":
        logs.configure("json", "info")
        log.critical("%s", error)
        sys.exit(ending_of(error))


# What a value looks like, in --help. All settings that are not whole numbers are times.
_METAVARS: dict[Any, str] = {
    int: "NUMBER",
    Count | None: "NUMBER",
    Size | None: "NUMBER",
    Port | None: "NUMBER",
    float: "SECONDS",
    bool: "true|false",
}


# Flags that take no value: to give them is to say yes.
_SWITCHES = ("reload",)


def _flags() -> Iterator[inspect.Parameter]:
    for name, field in Settings.model_fields.items():
        if name in ("models", "keys"):  # tables
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


@with_settings
def serve(settings: Settings, models: list[str]) -> None:
    """Serve models over HTTP."""
    from zypher.node import Node
    from zypher.program import listen, logged, run_server
    from zypher.selection import with_models

    with logged(settings):
        if settings.metrics_port is not None:
            log.warning("metrics-port is for workers: /metrics is at this server's own port.")
        listener = listen(settings.host, settings.port)
        bound = settings.model_copy(update={"host": listener.getsockname()[0]})
        run_server(Node(with_models(bound, models)), listener)


@with_settings
def worker(settings: Settings, models: list[str]) -> None:
    """Run models for servers elsewhere, which share the broker."""
    from zypher.node import Node
    from zypher.program import listen, logged, run_worker
    from zypher.selection import require_for_worker, with_models

    with logged(settings):
        require_for_worker(settings)
        settings = with_models(settings, models)
        port = settings.metrics_port
        listener = None if port is None else listen(settings.host, port, "--metrics-port")
        run_worker(Node(settings, serves=False), listener)


@with_settings
def check(settings: Settings, models: list[str]) -> None:
    """Say whether `serve` would start with these settings and models, without serving."""
    import uvloop

    from zypher.brokers.sqlite.files import path_of, require_place
    from zypher.node import guarantee_of
    from zypher.program import check_models
    from zypher.selection import with_models

    settings = with_models(settings, models)
    if settings.broker.startswith("sqlite:"):
        require_place(path_of(settings.broker))
    guarantee = uvloop.run(guarantee_of(settings))
    # Not with the broker itself: a server may be using it.
    alone = settings.model_copy(update={"broker": "memory:", "reload": False})
    uvloop.run(check_models(alone))
    for name, table in settings.models.items():
        typer.echo(f"{name}: {table.target} loads.")
    if guarantee is not None:
        typer.echo(guarantee)
    typer.echo("The settings are right.")
