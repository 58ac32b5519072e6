"""Models for the command line: they tell, stream and say what terminals should not obey."""

import os
import socket
from collections.abc import Iterator

import zypher

# Moves the cursor, sets the title, rings, turns the direction of writing; and an 8-bit control.
NASTY = "\x1b[2J\x1b]0;title\x07 \u202e \x9b31m \r"


def tell(count: int) -> int:
    """Tells so many steps, in words that terminals and rich could take for commands."""
    for step in range(1, count + 1):
        zypher.current().log(f"line {step} [bold]")
        zypher.current().progress(step / count, f"step {step} [red]of[/red] {NASTY}")
    zypher.current().log(NASTY)
    return count


def letters(word: str) -> zypher.JoinedText:
    """Says a word letter by letter."""
    yield from word


def rows(count: int) -> Iterator[dict[str, int]]:
    """Yields so many objects."""
    for row in range(count):
        yield {"row": row}


def nasty(kind: str) -> object:
    """Returns what should not reach a terminal, as text or within JSON."""
    return NASTY if kind == "text" else {NASTY: [NASTY]}


def fails_nastily(text: str) -> str:
    """Raises with what should not reach a terminal."""
    raise ValueError(NASTY)


def picture(image: bytes, label: str = "none", zoom: float = 1.0) -> list[object]:
    """Says what it got."""
    return [image.decode(), label, zoom]


def size(image: bytes) -> int:
    """How many bytes there are."""
    return len(image)


def nothing() -> str:
    """Takes no input."""
    return "nothing"


def falters(port: int) -> zypher.JoinedText:
    """Says a part of a text, and dies of it the first time, once the test lets it go."""
    yield "half "
    _falter(port)
    yield "and half"


def falters_in_rows(port: int) -> Iterator[dict[str, int]]:
    """Yields a row, and dies of it the first time, once the test lets it go."""
    yield {"row": 0}
    _falter(port)
    yield {"row": 1}


def _falter(port: int) -> None:
    if zypher.current().attempt == 1:
        zypher.current().progress(0.5, "a part is out")
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"0\n")
            connection.makefile().read()
        os._exit(1)
