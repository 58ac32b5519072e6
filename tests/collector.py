"""A real collector of traces: takes OTLP over HTTP, and knows the spans that came."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.harness import PATIENCE


class Spanned(NamedTuple):
    """A span, as it arrived."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]


class Collector:
    """Takes spans until its `with` block ends."""

    def __init__(self) -> None:
        self.spans: list[Spanned] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self, names: list[str]) -> list[Spanned]:
        """All spans, once there are so many of these names."""
        deadline = time.monotonic() + PATIENCE
        while sorted(span.name for span in self.spans) != sorted(names):
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.01)
        return self.spans

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                spans.extend(decoded(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Handler


def decoded(body: bytes) -> list[Spanned]:
    """The spans of one request."""
    return [
        Spanned(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            {
                each.key: each.value.string_value or str(each.value.int_value)
                for each in (*resource.resource.attributes, *span.attributes)
            },
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
