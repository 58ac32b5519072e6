"""The command line, and the only owner of signals."""

import asyncio
import inspect
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
import uvloop

from zypher.brokers.sqlite.backup import back_up
from zypher.brokers.sqlite.files import path_of
from zypher.errors import ConfigurationError, ModelLoadError
from zypher.node import Node, with_models
from zypher.server.app import is_loopback
from zypher.server.openapi import PACKAGE_VERSION
from zypher.settings import Count, Settings, load_settings, option
from zypher.stderr import patient_stderr

# How long a client may take, at the end, to receive what it was answered. In seconds.
_LAST_BYTES = 5

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

    def run(models: _Models = None, **flags: str | None) -> None:
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
    float: "SECONDS",
    bool: "true|false",
}


def _flags() -> Iterator[inspect.Parameter]:
    for name, field in Settings.model_fields.items():
        if name == "models":
            continue
        default = "" if field.default in (None, "", []) else f" Default: {_text(field.default)}."
        flag = typer.Option(
            f"--{option(name)}",
            help=f"{field.description}{default}",
            metavar=_METAVARS.get(field.annotation, "TEXT"),
            show_default=False,
        )
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str, flag]
        )


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
    sys.stderr = patient_stderr()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    listener = listen(settings.host, settings.port)
    bound = settings.model_copy(update={"host": listener.getsockname()[0]})
    node = Node(with_models(bound, models))
    uvloop.run(_serve(node, listener))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # what has ended cannot be interrupted any more


@app.command()
@with_settings
def check(settings: Settings, models: list[str]) -> None:
    """Say whether `serve` would start with these settings and models, without serving."""
    settings = with_models(settings, models)
    # Not with the broker itself: a server may be using it.
    uvloop.run(_check(Node(settings.model_copy(update={"broker": "memory:"}))))
    for name, table in settings.models.items():
        typer.echo(f"{name}: {table.target} loads.")
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
        typer.echo(PACKAGE_VERSION)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Turns any Python model into a prediction server."""


async def _serve(node: Node, listener: socket.socket) -> None:
    """Serve until a signal asks to stop; then stop in order, and say nothing more."""
    stopping = _stop_on_signals()
    typer.echo(f"Loading {', '.join(node.settings.models)} ...", err=True)
    server = _Server(_uvicorn_config(node))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        if await _unless(stopping, node.start()) and await _unless(stopping, node.up()):
            _announce(node, listener)
            await stopping.wait()
        await _tell_what_is_unfinished(node)
        await node.drain()
    finally:
        running, waiting = await node.unfinished()
        await node.stop()
        if running or waiting:
            typer.echo(f"Stopped with {running + waiting} unfinished. {node.guarantee}", err=True)
        server.should_exit = True
        await serving


def _uvicorn_config(node: Node) -> uvicorn.Config:
    return uvicorn.Config(
        node.app,
        http="httptools",
        ws="none",
        lifespan="off",  # the node starts and stops here, around the server
        log_config=None,
        log_level="warning",
        access_log=False,
        root_path=node.settings.root_path,
        timeout_graceful_shutdown=_LAST_BYTES,
    )


async def _check(node: Node) -> None:
    try:
        await node.start()
        await node.up()
    finally:
        await node.stop()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: when to stop is decided here."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `ConfigurationError` when that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigurationError(
            f"Cannot listen on {host} port {port}: {reason}. Choose another with --host or --port."
        ) from None


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM or Ctrl-C sets; another one, a second or more later, ends at once.

    The same keypress can arrive twice, from the terminal and from a parent that passes it on;
    that is why a second one right after the first means nothing.
    """
    stopping = asyncio.Event()
    first = 0.0

    def on_signal(number: signal.Signals) -> None:
        nonlocal first
        now = time.monotonic()
        if not stopping.is_set():
            first = now
            stopping.set()
        elif now - first > 1.0:
            os._exit(128 + number)  # the replicas end with this process

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stopping


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await `work`, but give it up once `stopping` is set; True if it was done."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait([working])
        return False
    await working
    return True


async def _tell_what_is_unfinished(node: Node) -> None:
    """Tell the person who stops this what it waits for, and what not."""
    running, waiting = await node.unfinished()
    if running:
        others = f", not for what still waits ({waiting})" if waiting else ""
        typer.echo(
            f"Stopping: waiting {node.settings.grace:g} s at most for what runs ({running})"
            f"{others}. Ctrl-C again ends at once.",
            err=True,
        )


def _announce(node: Node, listener: socket.socket) -> None:
    """Tell the person who started this where to go."""
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    names = ", ".join(node.settings.models)
    typer.echo(f"Serving {names} at {url}  (documentation: {url}/docs)", err=True)
    typer.echo(node.guarantee, err=True)
    if not is_loopback(node.settings.host):
        typer.echo(f"Listening on {host}: anybody who reaches this port may use it.", err=True)
