"""The log: one line for each event, for people or as JSON.

Who logs says it in a sentence, and gives in `extra` what a program looks for; `about` names a
prediction in it. The program that we are decides where that goes (`configure`); in an application
of a host it is the host that does.
"""

import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any, Literal, Protocol

from zypher.stderr import Outlet, is_terminal

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]

# What models write, whatever the name of the logger in the model.
MODEL_LOGGER = "zypher.model"

# What an event may have beside its sentence. Of what else is in a record nothing gets into the
# log: it may be of other libraries, and hold anything.
FIELDS = (
    *("prediction", "predictions", "batch_size", "model", "attempt", "trace_id", "span_id"),
    *("worker", "replica", "code", "seconds"),
)

# How long a reader of our standard error may make us wait, in seconds: the event loop hardly, the
# thread that passes on what a model writes for longer, before it loses anything.
_PATIENCE = 0.05
_PATIENCE_FOR_MODELS = 1.0

# What acts on a terminal (C0 without tab and newline, DEL, C1).
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_COLORS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class Named(Protocol):
    """What has to be known of a prediction to speak of it."""

    @property
    def id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def traceparent(self) -> str | None: ...


def about(prediction: Named, **fields: object) -> dict[str, object]:
    """The `extra` of an event that is about this prediction; `fields` of `FIELDS` beside it."""
    return {
        "prediction": prediction.id,
        "model": prediction.model,
        "attempt": prediction.attempt or None,
        **ids_of(prediction.traceparent),
        **fields,
    }


def ids_of(traceparent: str | None) -> dict[str, str]:
    """What the log says of a valid `traceparent`: its `trace_id` and `span_id`."""
    if traceparent is None:
        return {}
    return {"trace_id": traceparent[3:35], "span_id": traceparent[36:52]}


def configure(format: Format, level: Level) -> None:
    """Have all that is logged in this process written to standard error.

    `level` is that of our own events; those of libraries begin at warnings, since what else they
    tell may hold anything.
    """
    handler = _StandardError()
    formatter = _Json() if format == "json" else _Console(colored=_is_colored())
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("zypher").setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


def is_configured() -> bool:
    """True if this process is ours, and not that of a host which decides by itself."""
    return any(isinstance(handler, _StandardError) for handler in logging.root.handlers)


class _StandardError(logging.Handler):
    """Writes each event at once, and without waiting for long for who reads it."""

    def __init__(self) -> None:
        super().__init__()
        self._outlet = Outlet(_PATIENCE)
        self._outlet_for_models = Outlet(_PATIENCE_FOR_MODELS)

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock: who waits for a model's reader must not make others wait for long."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        except Exception:
            self.handleError(record)
            return
        is_of_model = getattr(record, "is_of_model", False)
        (self._outlet_for_models if is_of_model else self._outlet).write(line)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging calls it
        """An event that cannot be told is told to be so."""
        sentence = f"A line is lost: {traceback.format_exc()}"
        told = logging.LogRecord("zypher", logging.ERROR, "", 0, sentence, (), None)
        self._outlet.write(f"{self.format(told)}\n".encode(errors="backslashreplace"))


class _Console(logging.Formatter):
    """For people: time, level, logger and the sentence."""

    def __init__(self, *, colored: bool) -> None:
        super().__init__()
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname
        if self._colored and level in _COLORS:
            level = f"\x1b[{_COLORS[level]}m{level}\x1b[0m"
        return f"{_clock_time(record.created)} {level} {_source(record)}: {_whole(self, record)}"


class _Json(logging.Formatter):
    """For programs: a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = record.__dict__
        event |= {name: fields[name] for name in FIELDS if fields.get(name) is not None}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False, default=str)


def _whole(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The sentence, and the traceback below it, of which nothing can be taken for another line.

    What a model or a caller has put in does nothing to a terminal either.
    """
    message = record.getMessage()
    if record.exc_info:
        message += f"\n{formatter.formatException(record.exc_info)}"
    return _CONTROL.sub(_escaped, message).replace("\n", "\n  ")


def _escaped(character: re.Match[str]) -> str:
    return f"\\x{ord(character[0]):02x}"


def _source(record: logging.LogRecord) -> str:
    """Who says it; a model says it with its process and its prediction."""
    fields = record.__dict__
    if not fields.get("is_of_model"):
        return record.name
    name = "" if record.name == MODEL_LOGGER else f" {record.name}"
    ids = fields.get("predictions") or [fields.get("prediction")]
    more = f" and {fields['batch_size'] - 1} more" if fields.get("batch_size") else ""
    id = f" {ids[0]}{more}" if ids[0] else ""
    return f"{fields.get('model')}[{fields['replica']}]{id}{name}"


def _timestamp(seconds: float) -> str:
    """RFC 3339, in UTC."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03}Z"


def _clock_time(seconds: float) -> str:
    """The local time, as people read it."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(whole))}.{milliseconds:03}"


def _is_colored() -> bool:
    """True on a terminal, unless its owner says otherwise (no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.getLogger("zypher").critical("A fault of Zypher.", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(thrown: threading.ExceptHookArgs) -> None:
    if thrown.exc_value is not None:
        _log_uncaught(thrown.exc_type, thrown.exc_value, thrown.exc_traceback)


def _log_unraisable(thrown: "sys.UnraisableHookArgs") -> None:
    error = thrown.exc_value
    if error is not None:
        logging.getLogger("zypher").error(
            "An error that nobody could take.", exc_info=(type(error), error, error.__traceback__)
        )
