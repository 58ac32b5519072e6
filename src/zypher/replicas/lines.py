"""What a model writes in its log, on the way through the pipe from the replica to its parent.

What goes through Python has a form of its own there, which says whose it is: a mark, JSON, and the
end of the line. Anything else in the pipe, as what a library of C writes, is text.
"""

import contextlib
import os

import msgspec

_STDERR = 2
MARK = "\x1e"
_MARK = MARK.encode()

# A line that says: what comes from here on is of another run.
BEGINNING = _MARK + b"begin"

# Of a line of text more is not passed on, in bytes.
_LONGEST_TEXT = 4_000

# Of what is written at once more is not passed on, in characters: the end tells most.
LONGEST = 16_000

# Of a batch so many are named in each of its lines.
MOST_NAMED = 32


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a model's log: a line that it printed, or what it logged, of several lines.

    `predictions` and `batch_size` in the place of `prediction` and `attempt` are of a batch.
    """

    text: str
    level: str = "INFO"
    logger: str | None = None
    prediction: str | None = None
    attempt: int | None = None
    predictions: list[str] | None = None
    batch_size: int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    code: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def write(line: Line) -> None:
    """Write it into the pipe: in one call, so that it stays whole among what others write."""
    with contextlib.suppress(OSError):  # the model has closed it
        os.write(_STDERR, _MARK + _encoder.encode(line) + b"\n")


def begin() -> None:
    """Write that another run begins."""
    with contextlib.suppress(OSError):
        os.write(_STDERR, BEGINNING + b"\n")


def parse(written: bytes) -> list[Line]:
    """What was written in one line of the pipe; text may stand before what has a form."""
    text, mark, rest = written.partition(_MARK)
    if not mark:
        return [_raw(text)] if text else []
    try:
        line = _decoder.decode(rest)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the model's own, or torn
        return [_raw(written)]
    return [_raw(text), line] if text else [line]


def _raw(text: bytes) -> Line:
    return Line(text[:_LONGEST_TEXT].decode(errors="backslashreplace"))
