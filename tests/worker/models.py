"""Models that tell what they do, and some that do not stop when they should."""

import asyncio
import contextlib
import ctypes
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator

import zypher


@contextlib.contextmanager
def held(port: int) -> Iterator[socket.socket]:
    """A connection to the test that listens on this port and knows from now on of the run."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(str(os.getpid()).encode() + b"\n")
        yield connection


def answer(connection: socket.socket) -> str:
    """What the test has the run return."""
    return connection.makefile().read()


async def patient(port: int) -> None:
    """Waits for ever."""
    with held(port):
        await asyncio.Event().wait()


def obedient(port: int) -> None:
    """Runs until it is canceled, and says so."""
    with held(port) as connection:
        while not zypher.current().cancelled:
            time.sleep(0.001)
        connection.sendall(b"stopped")


def deaf(port: int) -> str:
    """Runs until the test says how to end, whatever else happens."""
    with held(port) as connection:
        return answer(connection)


@zypher.batch(max_size=2, max_wait=30)
def deaf_batch(ports: list[int]) -> list[str]:
    """As `deaf`, held by the first of two."""
    with held(ports[0]) as connection:
        return [answer(connection)] * len(ports)


@zypher.batch(max_size=2, max_wait=30)
def sizes(values: list[int]) -> list[int]:
    """Returns the size of the batch to each."""
    return [len(values)] * len(values)


def talkative(port: int) -> Iterator[str]:
    """Tells in every way there is, and goes on."""
    current = zypher.current()
    current.progress(0.25, "begun")
    print("printed")
    print("half a ", end="", file=sys.stderr)
    print("line", file=sys.stderr)
    current.log("logged")
    yield "part"
    with held(port) as connection:
        yield answer(connection)
    print("unfinished", end="")


async def spells(word: str) -> zypher.JoinedText:
    """Yields the letters."""
    for letter in word:
        yield letter


def spells_blocking(word: str) -> zypher.JoinedText:
    """As `spells`."""
    yield from word


def no_text(count: int) -> zypher.JoinedText:
    """Yields what is no text."""
    yield from range(count)


def endless(port: int) -> Iterator[int]:
    """Yields for ever, and says when it is closed."""
    with held(port) as connection:
        try:
            yield from iter(int, 1)
        finally:
            connection.sendall(b"closed")


async def endless_async(port: int) -> AsyncIterator[int]:
    """As `endless`, without ever giving way to others."""
    for part in endless(port):
        yield part


async def signs(name: str) -> None:
    """Prints its name, with others between."""
    for _ in range(3):
        print(name, end="")
        await asyncio.sleep(0)
        print(f" and {name}")
        await asyncio.sleep(0)


def signs_in_thread(name: str) -> None:
    """As `signs`, blocking."""
    for _ in range(3):
        print(name, end="")
        time.sleep(0.001)
        print(f" and {name}")


@zypher.batch(max_size=2, max_wait=30)
def batch_signs(names: list[str]) -> list[str]:
    """Tells of the batch, and of what a batch has not."""
    zypher.current().progress(0.5)
    try:
        return [zypher.current().id for _ in names]
    except RuntimeError as error:
        return [str(error)] * len(names)


def forks(name: str) -> None:
    """Prints in a process that it forks."""
    if not (child := os.fork()):
        print(f"{name} in the fork", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(f"{name} after the fork")


def dies(words: str, survives: bool = False) -> None:
    """Says something; then, unless it survives, a bad pointer ends the process."""
    print(words, end="" if survives else "\n")
    if not survives:
        ctypes.string_at(0)


def floods(port: int) -> None:
    """Logs far more than anybody takes, and does not listen."""
    with held(port) as connection:
        for number in range(20_000):
            print(f"{number} {'x' * 1_000}")
        connection.sendall(b"flooded\n")
        while not zypher.current().cancelled:
            print("more")


def raises(text: str) -> None:
    """Raises."""
    raise ValueError(text)


def knows(value: int) -> list[object]:
    """What it can learn of itself."""
    current = zypher.current()
    return [current.id, current.attempt, current.deadline, current.cancelled]
