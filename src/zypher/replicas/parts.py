"""The parts of a result that comes from a generator."""

from typing import Any

from zypher.errors import InvalidOutput, ResultTooLarge
from zypher.model.codec import encode_result
from zypher.replicas.runs import Run


class Parts:
    """What a generator has yielded so far. Each part is told at once, as an output event."""

    def __init__(self, run: Run, *, joined: bool, max_size: int) -> None:
        self._run = run
        self._joined = joined
        self._max_size = max_size
        self._count = 0
        self._text = bytearray()

    def add(self, part: Any) -> None:
        """Take the next part. Raises InvalidOutput, and ResultTooLarge for all of them together."""
        if self._joined and not isinstance(part, str):
            raise InvalidOutput(
                f"The model yielded an object of type {type(part).__name__} as part {self._count}; "
                "the parts of a zypher.JoinedText are str."
            )
        text = encode_result(part, part=self._count)
        self._text += text[1:-1] if self._joined else b"," * (self._count > 0) + text
        if len(self._text) + 2 > self._max_size:
            raise ResultTooLarge(
                f"The model yielded more than the {self._max_size} bytes that max-result-size "
                "allows."
            )
        self._count += 1
        self._run.yielded(text)

    def json(self) -> bytes:
        """The whole result as JSON text: the list of the parts, or the text that they make."""
        start, end = (b'"', b'"') if self._joined else (b"[", b"]")
        return start + bytes(self._text) + end
