"""A program from its start to its end, and the only owner of signals."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import typer
import uvloop

from zypher import logs, tracing
from zypher.brokers import without_password
from zypher.errors import ConfigurationError, ModelLoadError, ZypherError
from zypher.node import Node
from zypher.scheduling import give_way
from zypher.settings import Settings
from zypher.stderr import patient_stderr
from zypher.terminal import has_terminal

log = logging.getLogger("zypher")


@contextmanager
def logged(settings: Settings) -> Iterator[None]:
    """Within it, standard error is the log, as the settings want it, and traces are sent.

    Where that is for programs to read, so is the error that ends it.
    """
    sys.stderr = patient_stderr()
    logs.configure(settings.log_format, settings.log_level)
    tracing.start()
    try:
        yield
    except ZypherError as error:
        if settings.log_format == "console":
            raise
        log.critical("%s", error.report if isinstance(error, ModelLoadError) else error)
        sys.exit(1)
    finally:
        tracing.stop()


def run_server(node: Node, listener: socket.socket) -> None:
    """Serve until a signal asks to stop."""
    _run(_serve(node, listener))


def run_worker(node: Node, listener: socket.socket | None) -> None:
    """Work until a signal asks to stop, and answer probes meanwhile if there is a listener."""
    _run(_work(node) if listener is None else _work_with_probes(node, listener))


def _run(life: Coroutine[Any, Any, None]) -> None:
    give_way()
    uvloop.run(life)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what has ended cannot be interrupted any more


async def _serve(node: Node, listener: socket.socket) -> None:
    """Answer for as long as the node lives."""
    from zypher.server.uvicorn import Uvicorn  # a worker does without it, and starts sooner

    server = Uvicorn(node.app, node.settings)
    serving = asyncio.create_task(server.serve(sockets=[listener]))

    async def drain() -> None:
        server.turn_away()
        await node.drain(server.answered)

    try:
        await _live(node, lambda: _announce_server(node, listener), drain)
    finally:
        server.should_exit = True
        await serving


async def _work(node: Node) -> None:
    await _live(node, lambda: _announce_worker(node), node.drain)


async def _work_with_probes(node: Node, listener: socket.socket) -> None:
    from zypher.worker.probes import Probes  # most workers do without it

    _tell(node, f"Metrics at {_url(listener)}/metrics")
    async with Probes(listener, node.metrics, lambda: node.status, node.scrape):
        await _work(node)


async def _live(
    node: Node, announce: Callable[[], None], drain: Callable[[], Awaitable[None]]
) -> None:
    """Have a node do its work until a signal asks to stop; then stop in order, and say no more."""
    gc.enable()  # which it was not while the program loaded
    stopping = _stop_on_signals()
    _reload_on_signal(node, stopping)
    if node.settings.models:
        _tell(node, f"Loading {', '.join(node.settings.models)} ...")
    try:
        if await _unless(stopping, node.start()) and await _unless(stopping, node.up()):
            gc.collect()
            gc.freeze()  # what is loaded stays: to look through it again takes tens of milliseconds
            announce()
            await stopping.wait()
        await _tell_what_is_unfinished(node)
        await drain()
    finally:
        running, waiting = await node.unfinished()
        await node.stop()
        if running or waiting:
            _tell(node, f"Stopped with {running + waiting} unfinished. {node.guarantee}")


async def check_models(settings: Settings) -> None:
    """Start all models once. Raises `ModelLoadError` for the first that cannot be served."""
    node = Node(settings)
    try:
        await node.start()
        await node.up()
    finally:
        await node.stop()


def listen(host: str, port: int, flag: str = "--port") -> socket.socket:
    """A socket that listens there. Raises `ConfigurationError` when that cannot be.

    `flag` is the one that chose the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigurationError(
            f"Cannot listen on {host} port {port}: {reason}. Choose another with --host or {flag}."
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


def _reload_on_signal(node: Node, stopping: asyncio.Event) -> None:
    """SIGHUP has the models loaded again; unless it says that our terminal was closed, which stops
    the program, as one expects who has not started it with nohup."""
    ends_with_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL

    def on_signal() -> None:
        if ends_with_terminal and not has_terminal():
            stopping.set()
        else:
            node.reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_signal)


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
        _tell(
            node,
            f"Stopping: waiting {node.settings.grace:g} s at most for what runs ({running})"
            f"{others}. Ctrl-C again ends at once.",
        )


def _announce_server(node: Node, listener: socket.socket) -> None:
    """Tell the person who started this where to go."""
    from zypher.server.app import is_loopback

    host, url = listener.getsockname()[0], _url(listener)
    names = ", ".join(node.settings.models) or "what workers run"
    _tell(node, f"Serving {names} at {url}  (a page for browsers; the API: {url}/docs)")
    _tell(node, node.guarantee)
    if callers := ", ".join(key.name for key in node.settings.callers()):
        _tell(node, f"Whoever calls needs an API key, and there are those of: {callers}.")
        return
    if not is_loopback(node.settings.host):
        _tell(node, f"Listening on {host}: anybody who reaches this port may use it.")
    if os.environ.get("ZYPHER_API_KEY"):  # one letter less than was meant
        _tell(
            node,
            "This server asks for no API key: ZYPHER_API_KEY is the key of a caller, "
            "ZYPHER_API_KEYS would be those of a server.",
        )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _announce_worker(node: Node) -> None:
    """Tell the person who started this for whom it works."""
    names, broker = ", ".join(node.settings.models), without_password(node.settings.broker)
    _tell(node, f"Working on {names} for the servers at {broker}")
    _tell(node, node.guarantee)


def _tell(node: Node, sentence: str) -> None:
    """Tell the person who started this; where a program reads it, this is an event as any other."""
    if node.settings.log_format == "json":
        log.info("%s", sentence)
    else:
        typer.echo(sentence, err=True)
