"""Traces: the context that travels with a prediction, and the spans of what becomes of it.

The context is W3C Trace Context (https://www.w3.org/TR/trace-context-2/): a `traceparent` names a
trace and the span in it from which a call comes. It travels with a prediction in any case. Spans
are made where somebody wants them (`tracing`), as the variables of OpenTelemetry say (`start`):

    POST /predict             the request
    ├── submit                into the queue
    │   ├── run               one attempt in a worker; below it, the spans of the model's own code
    │   └── finish            its outcome is recorded
    └── wait                  the caller waits for it
"""

import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zypher.logs import Named

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

log = logging.getLogger("zypher.tracing")

# Of version 00; a later one may say more behind it.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_LENGTH = 55

_PROTOCOL = "http/protobuf"

# How often a replica, which may be killed at any time, sends the spans of its model. Milliseconds.
_DELAY_IN_REPLICA = 500.0

# How long what was not sent yet may take at the end. Seconds.
_LAST_SPANS = 2.0


def valid(traceparent: str) -> str | None:
    """The `traceparent` of a header as it is to be handed on; None if it is none (§3.2.2)."""
    match = _TRACEPARENT.match(traceparent)
    if match is None:
        return None
    rest = traceparent[_LENGTH:]
    if rest and (match["version"] == "00" or not rest.startswith("-")):
        return None
    return f"00-{traceparent[3:_LENGTH]}"  # what we know of a later version is this one


# The spans.


class Tracing:
    """Makes the spans of a server and its worker. Shared by all their predictions."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import propagate, trace

        self._trace = trace
        self._extract = propagate.extract
        self._tracer = provider.get_tracer("zypher")

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator["Span"]:
        """The span of a request, the child of the client's. It is the current one within."""
        kind = self._trace.SpanKind.SERVER
        attributes = {"http.request.method": method, "http.route": path, "url.path": path}
        with self._tracer.start_as_current_span(
            f"{method} {path}",
            context=self._extract(headers),
            kind=kind,
            attributes=attributes,
            record_exception=False,
        ) as span:
            yield span

    def answered(self, span: "Span", status: int) -> None:
        """What the request was answered with."""
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)

    def submit(self, prediction: Named) -> "Span":
        """The span of its submission, below that of the request if there is one."""
        here = self._trace.get_current_span().get_span_context().is_valid
        return self._tracer.start_span(
            "submit",
            context=None if here else _context(prediction.traceparent),
            kind=self._trace.SpanKind.PRODUCER,
            attributes=_attributes(prediction),
            record_exception=False,
            set_status_on_exception=False,  # to refuse what is too much is no fault
        )

    @contextmanager
    def wait(self) -> Iterator[None]:
        """The span of a caller's waiting, below that of the request."""
        with self._tracer.start_as_current_span("wait", record_exception=False):
            yield

    def run(self, prediction: Named, batch_size: int | None) -> "Span":
        """The span of one attempt, below that of the submission."""
        return self._tracer.start_span(
            "run",
            context=_context(prediction.traceparent),
            kind=self._trace.SpanKind.CONSUMER,
            attributes=_attributes(prediction, attempt=prediction.attempt, batch_size=batch_size),
        )

    def finish(self, prediction: Named) -> "Span":
        """The span of its outcome's being recorded, below that of the submission."""
        return self._tracer.start_span(
            "finish",
            context=_context(prediction.traceparent),
            kind=self._trace.SpanKind.CLIENT,
            attributes=_attributes(prediction, attempt=prediction.attempt),
        )

    def end(self, span: "Span", status: str, code: str | None = None) -> None:
        """The end of a span; `code` says why it did not end well."""
        span.set_attribute("zypher.status", status)
        if code is not None:
            span.set_attribute("error.type", code)
            span.set_status(self._trace.StatusCode.ERROR, code)
        span.end()


def traceparent_of(span: "Span") -> str | None:
    """The context of a span, to be handed on."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    flags = int(context.trace_flags)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"


def _attributes(prediction: Named, **more: int | None) -> dict[str, str | int]:
    """What a span says of its prediction, and `more` of it."""
    return {
        "zypher.prediction_id": prediction.id,
        "zypher.model": prediction.model,
        **{f"zypher.{name}": value for name, value in more.items() if value is not None},
    }


def _context(traceparent: str | None) -> "Context":
    """The context in which the span of a `traceparent` is the current one."""
    from opentelemetry import trace
    from opentelemetry.context import Context

    if traceparent is None:
        return Context()
    remote = trace.SpanContext(
        trace_id=int(traceparent[3:35], 16),
        span_id=int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(traceparent[53:55], 16)),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())


# Who wants them.


def tracing() -> Tracing | None:
    """What makes spans; None if nobody wants them in this process."""
    if (provider := _provider()) is None:
        return None
    return Tracing(provider)


def start(*, delay: float | None = None) -> None:
    """Have spans sent, if the variables of OpenTelemetry say where to.

    A provider that this process has already is left alone. `delay`: the most milliseconds between
    the end of a span and its sending, if the variables say nothing else.
    """
    if not _is_wanted() or _provider() is not None:
        return
    if problem := _problem():
        log.warning("No traces are sent: %s", problem)
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = bool(os.environ.get("OTEL_SERVICE_NAME"))
    resource = Resource.create({} if named else {"service.name": "zypher"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if "OTEL_BSP_SCHEDULE_DELAY" in os.environ:
        delay = None
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=delay))
    trace.set_tracer_provider(provider)


def stop() -> None:
    """Send what was not sent yet, if that can be done soon."""
    flush = getattr(_provider(), "force_flush", None)
    if flush is not None:  # in a thread, since a collector may hang for as long as it likes
        flushing = threading.Thread(target=flush, daemon=True)
        flushing.start()
        flushing.join(_LAST_SPANS)


def _provider() -> "TracerProvider | None":
    """Who makes the spans of this process, if somebody has said."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    idle = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
    return None if isinstance(provider, idle) else provider


def _is_wanted() -> bool:
    """True if a variable says where spans go, and none says that they do not."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    places = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return bool(exporter) or any(os.environ.get(name) for name in places)


def _problem() -> str | None:
    """Why spans cannot be sent as the variables say, in a sentence; None if they can."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if exporter != "otlp":
        return f"OTEL_TRACES_EXPORTER is {exporter!r}; it can be otlp or none."
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := os.environ.get(name):
            if protocol != _PROTOCOL:
                return (
                    f"{name} is {protocol!r}; it can be {_PROTOCOL}, which collectors take at port "
                    "4318."
                )
            break
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk  # noqa: F401
    except ImportError:
        return "that needs the extra otel, as in pip install 'zypher[otel]'."
    return None


# In a replica.


def attach(traceparent: str | None) -> None:
    """Have the spans that are made in this task belong to this one.

    Where the code of the model has not imported OpenTelemetry there are none.
    """
    if traceparent is not None and "opentelemetry.trace" in sys.modules:
        from opentelemetry import context

        context.attach(_context(traceparent))


def start_in_replica() -> None:
    """Have the spans of the model's own code sent, if it has imported OpenTelemetry."""
    if "opentelemetry.trace" in sys.modules:
        start(delay=_DELAY_IN_REPLICA)
