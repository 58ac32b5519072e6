"""Text on a terminal, and in a pipe: safe, whole, and never a traceback.

What comes from a server or a file may hold anything. On a terminal, characters that would command
it are shown as what they are; a program that reads from a pipe gets them unchanged.
"""

import os
import re
import sys
from typing import NoReturn, TextIO

# The controls but tab and newline, both sets of them, and what turns the direction of writing.
_COMMANDING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# As a program ends that a closed pipe has stopped.
_READER_IS_GONE = 141


def shown(text: str) -> str:
    """The text as a terminal may have it: what would command it is written as in JSON."""
    return _COMMANDING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """The text in one line, as a terminal may have it."""
    return shown(" ".join(text.split()))


def put(text: str) -> None:
    """Write to standard output, at once."""
    if sys.stdout is None:
        complain("The output cannot be written: standard output is closed.")
        sys.exit(1)
    try:
        _write(sys.stdout, shown(text) if sys.stdout.isatty() else text)
    except BrokenPipeError:
        _leave_quietly()
    except OSError as error:
        _let_go(sys.stdout)
        complain(f"The output cannot be written: {error.strerror}.")
        sys.exit(1)


def put_line(text: str) -> None:
    """Write a text to standard output that ends with a newline, and no more than one by us."""
    put(text if text.endswith("\n") else f"{text}\n")


def complain(text: str) -> None:
    """Write a sentence to standard error, if anybody listens there."""
    if sys.stderr is not None:
        try:
            _write(sys.stderr, f"{shown(text)}\n")
        except OSError:
            _let_go(sys.stderr)


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _leave_quietly() -> NoReturn:
    """End as one whom nobody reads any more, as in `zypher ls | head`."""
    _let_go(sys.stdout)
    sys.exit(_READER_IS_GONE)


def _let_go(stream: TextIO) -> None:
    """Have Python not try again, at its end, to write what nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
