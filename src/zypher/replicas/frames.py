"""What a worker and its replicas say to each other, and how it is cut into frames.

A frame is its length in bytes (4 bytes, big-endian) and then one message as MessagePack.
Inputs and results travel inside as the JSON text they are, untouched.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from zypher.prediction import Claim, Outcome

_LENGTH = struct.Struct(">I")

# Inputs in flight and results at most; a frame that says it is larger is none.
_MOST_BYTES = 2**31


class Load(msgspec.Struct, frozen=True, tag="load"):
    """To the replica, first of all: which model to load and how to run it.

    `concurrency` None leaves it to the model: 1 for blocking ones, 1,000 for async ones. `example`
    is an input as JSON text; None leaves that to the model, too.
    """

    target: str
    concurrency: int | None
    mock_delay: tuple[float, float]
    max_result_size: int
    example: bytes | None


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One attempt at a prediction, to be run.

    `input` is JSON text; `deadline` when a clock will end it, in seconds since the epoch;
    `traceparent` the span of the attempt, or what its caller sent (W3C Trace Context).
    """

    claim: Claim
    input: bytes
    deadline: float | None = None
    traceparent: str | None = None


class Run(msgspec.Struct, frozen=True, tag="run"):
    """To the replica: run these, as one batch if the model is batched, else each by itself.

    With a `ticket`: once nothing else runs, if that can still be taken then.
    """

    calls: list[Call]
    ticket: int | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """To the replica: nobody wants the outcomes of these any more."""

    claims: list[Claim]


class Batching(msgspec.Struct, frozen=True):
    """How predictions of a batched model are put together; `max_wait` in seconds."""

    max_size: int
    max_wait: float


class Described(msgspec.Struct, frozen=True, tag="described"):
    """From the replica, once the model's code is imported, from these files.

    `is_serial`: it runs one call of predict, and nothing else until that is out.
    """

    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    concurrency: int
    is_serial: bool
    batching: Batching | None
    files: list[str]


class SetUp(msgspec.Struct, frozen=True, tag="set_up"):
    """To the replica, once it has described the model: run `setup()`, and then the example."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From the replica: it can run what it is sent; it may have imported more files."""

    files: list[str]


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """From the replica, instead: the model cannot be served; the replica ends itself."""

    message: str
    traceback: str | None
    files: list[str]


class Check(msgspec.Struct, frozen=True, tag="check"):
    """To the replica: say whether you are well."""


class Checked(msgspec.Struct, frozen=True, tag="checked"):
    """From the replica: what its `healthcheck()` complains of, as the end of a sentence."""

    complaint: str | None


class Told(msgspec.Struct, frozen=True, tag="told"):
    """From the replica: what a run tells, before its outcome; a batch, for each of its members.

    `kind` is progress, output or log, `data` JSON text.
    """

    claims: list[Claim]
    kind: str
    data: bytes


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """From the replica: attempts that ended."""

    outcomes: list[tuple[Claim, Outcome]]


Message = (
    Load | SetUp | Run | Cancel | Check | Described | Ready | LoadFailed | Checked | Told | Finished
)

# What runs tell is dropped where more than so many bytes of it wait to be taken.
MOST_TOLD = 1_000_000

# Bytes that are on their way at once, where the system allows it: with the few that it has by
# itself both ends would take turns over a long input.
ROOM = 1_048_576

# How many lines a failure keeps of a log, and how many characters of each.
LAST_LINES = 20
_LINE_LENGTH = 500

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The frame of a message."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def sendable(text: str) -> str:
    """Text without lone surrogates, which file names have and UTF-8 has not."""
    return text.encode(errors="backslashreplace").decode()


def last_lines(lines: Sequence[str]) -> list[str]:
    """What a failure keeps of a log: its last lines, and of each the beginning."""
    return [line[:_LINE_LENGTH] for line in lines[-LAST_LINES:]]


class FrameReader:
    """Cuts a stream of bytes back into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[Message]:
        """The messages that are complete once `data` has arrived.

        It holds no more than has arrived, whatever length a frame says it has. Raises `ValueError`,
        as msgspec's errors are, for what is no frame.
        """
        self._buffer += data
        start = 0
        try:
            while (end := self._end_of_frame(start)) is not None:
                with memoryview(self._buffer)[start + _LENGTH.size : end] as body:
                    message = _decoder.decode(body)
                start = end
                yield message
        finally:
            del self._buffer[:start]

    def _end_of_frame(self, start: int) -> int | None:
        """Where the frame that begins at `start` ends; None if it is not all there yet."""
        if len(self._buffer) - start < _LENGTH.size:
            return None
        length = int(_LENGTH.unpack_from(self._buffer, start)[0])
        if length > _MOST_BYTES:
            raise ValueError(f"a frame says that it has {length} bytes")
        end = start + _LENGTH.size + length
        return end if end <= len(self._buffer) else None
