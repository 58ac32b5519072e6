"""What a model prints and logs: it goes to the server's log, and to that of the prediction."""

import io
import logging
import sys
from typing import Any, TextIO

from zypher.model.current import running
from zypher.replicas import lines
from zypher.replicas.frames import sendable
from zypher.replicas.lines import Line
from zypher.replicas.runs import Run


class CapturedStream(io.TextIOWrapper):
    """A standard stream that leaves to the run what that writes."""

    def write(self, text: str) -> int:
        run = running.get(None)
        if not isinstance(run, Run) or self.closed:
            return super().write(text.replace(lines.MARK, "\\x1e"))  # it may be a caller's text
        run.printed(text, self)
        return len(text)


class _Relay(logging.Handler):
    """Passes on what is logged, with its level and the name of its logger."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._pass_on(sendable(self.format(record)), record.levelname, sendable(record.name))
        except Exception:
            self.handleError(record)

    def _pass_on(self, text: str, level: str, logger: str) -> None:
        run = running.get(None)
        if isinstance(run, Run):
            run.logged(text, level, logger)
        else:
            lines.write(Line(text[-lines.LONGEST :], level, logger))


def capture() -> None:
    """Have the standard streams captured from now on, and what is logged, from INFO on.

    A model that configures logging by itself has its way: this is only the last resort.
    """
    sys.stdout = _captured(sys.stdout)
    sys.stderr = _captured(sys.stderr)
    logging.lastResort = relay = _Relay(logging.INFO)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    configure = logging.basicConfig

    def basic_config(**how: Any) -> None:
        # `logging.info(...)` calls it, too, and nobody means to configure anything by that.
        if how:
            configure(**how)
        elif not root.handlers:
            root.addHandler(relay)

    logging.basicConfig = basic_config


def _captured(stream: TextIO) -> CapturedStream:
    return CapturedStream(
        stream.buffer, encoding=stream.encoding, errors="backslashreplace", line_buffering=True
    )
