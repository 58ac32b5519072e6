"""What a model prints: it goes to the server's log, and to that of the prediction that runs."""

import io
import sys
from typing import TextIO

from zypher.model.current import running
from zypher.replicas.runs import Run


class CapturedStream(io.TextIOWrapper):
    """A standard stream that tells the run what it writes."""

    def write(self, text: str) -> int:
        written = super().write(text)
        run = running.get(None)
        if isinstance(run, Run):
            run.printed(text, self)
        return written


def capture() -> None:
    """Have the standard streams captured, from now on."""
    sys.stdout = _captured(sys.stdout)
    sys.stderr = _captured(sys.stderr)


def _captured(stream: TextIO) -> CapturedStream:
    return CapturedStream(
        stream.buffer, encoding=stream.encoding, errors="backslashreplace", line_buffering=True
    )
