"""Traces: the context of a caller travels with its prediction, and one trace shows all of it."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.collector import Collector
from tests.docs.pages import ROOT, blocks, run_curl, write_models
from tests.harness import Server, WorkerProcess, eventually_ready
from tests.redis_servers import Program, RedisServer
from tests.server.service import Service
from zypher import tracing
from zypher.node import Node
from zypher.selection import with_models
from zypher.settings import load_settings

TRACES = ROOT / "docs" / "how-to" / "traces.md"

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"

# Tells what it is given, and makes a span of its own.
MODEL = """
import os, signal, time
from opentelemetry import trace
import zypher

def traced(word: str) -> list[str]:
    run = zypher.current()
    if word == "die" and run.attempt == 1:
        time.sleep(1)  # until the span of the attempt before is sent
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "naughty":
        raise ValueError(word)
    with trace.get_tracer("mine").start_as_current_span("own"):
        current = trace.get_current_span().get_span_context()
        return [str(run.traceparent), f"{current.trace_id:032x}"]
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The model, as one names it to serve it."""
    file = tmp_path / "traced.py"
    file.write_text(MODEL)
    return f"{file}:traced"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (TRACEPARENT, TRACEPARENT),
        (f"00-{TRACE}-{CALLER}-00", f"00-{TRACE}-{CALLER}-00"),
        (f"01-{TRACE}-{CALLER}-03-later", f"00-{TRACE}-{CALLER}-03"),
        (f"cc-{TRACE}-{CALLER}-01", TRACEPARENT),
        (f"00-{TRACE}-{CALLER}-01-more", None),
        (f"01-{TRACE}-{CALLER}-01.more", None),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        (f"00-{TRACE}-{CALLER}-1", None),
        ("", None),
    ],
)
def test_a_traceparent_is_kept_if_it_is_valid(given: str, kept: str | None) -> None:
    assert tracing.valid(given) == kept


@pytest.mark.anyio
async def test_the_record_has_the_callers_traceparent_and_an_invalid_one_refuses_nothing() -> None:
    service = Service()
    await service.start()
    id = await service.submit(headers={"traceparent": TRACEPARENT})
    record = (await service.client.get(f"/predictions/{id}")).json()
    assert record["traceparent"] == TRACEPARENT
    id = await service.submit(headers={"traceparent": "00-nonsense"})
    assert "traceparent" not in (await service.client.get(f"/predictions/{id}")).json()
    await service.stop()


@asynccontextmanager
async def serving(
    model: str, broker: str, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a server in this process, whose spans get to the exporter."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_provider", lambda: provider)  # a process has but one
    node = Node(with_models(load_settings(broker=broker), [model]))
    await node.start()
    await node.up()
    try:
        async with Service.client_of(node.app) as client:
            yield client
    finally:
        await node.stop()


@pytest.mark.anyio
@pytest.mark.parametrize("broker", ["memory:", "sqlite:///queue.db"])
async def test_one_trace_shows_the_request_its_submission_the_run_and_its_end(
    broker: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exporter = InMemorySpanExporter()
    async with serving(model, broker, exporter, monkeypatch) as client:
        headers = {"traceparent": TRACEPARENT}
        answer = await client.post("/predict", json={"input": "x"}, headers=headers)
        spans = by_name(exporter)
        assert sorted(spans) == ["POST /predict", "finish", "run", "submit", "wait"]
        assert {trace_of(span) for span in spans.values()} == {TRACE}
        request, submit, run = spans["POST /predict"], spans["submit"], spans["run"]
        assert parent_of(request) == CALLER
        assert parent_of(submit) == parent_of(spans["wait"]) == id_of(request)
        assert parent_of(run) == parent_of(spans["finish"]) == id_of(submit)
        assert [request.kind, submit.kind, run.kind] == [
            *(SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER)
        ]
        assert dict(run.attributes or {}) == {
            "zypher.prediction_id": answer.headers["X-Prediction-Id"],
            "zypher.model": "traced",
            "zypher.attempt": 1,
            "zypher.status": "completed",
        }
        # The model knows its run, and what it makes is below that.
        assert answer.json()["result"] == [f"00-{TRACE}-{id_of(run)}-01", TRACE]

        exporter.clear()
        answer = await client.post("/predict", json={"input": "naughty"}, headers=headers)
        spans = by_name(exporter)
        assert (spans["run"].attributes or {})["error.type"] == "model_error"
        assert spans["run"].status.status_code is StatusCode.ERROR
        assert "naughty" not in "".join(span.to_json() for span in spans.values())
        assert (spans["POST /predict"].attributes or {})["http.response.status_code"] == 500


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def test_a_trace_goes_through_redis_and_another_machine_and_a_second_attempt_is_in_it(
    model: str, tmp_path: Path
) -> None:
    with Collector() as collector, RedisServer(tmp_path, program=Program.VALKEY) as redis:
        variables: dict[str, Any] = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        arguments = ("--broker", redis.url)
        with (
            Server("--replicas", "0", *arguments, **variables) as server,
            WorkerProcess(model, *arguments, **variables, OTEL_SERVICE_NAME="worker"),
        ):
            eventually_ready(server)
            accepted = server.predict("die", Async_Mode="true", traceparent=TRACEPARENT)
            id = accepted.json()["prediction_id"]
            context, trace = server.poll(id, wait=20).json()["output"]["result"]
            names = ["POST /predict", "submit", "run", "run", "own", "finish"]
            spans = collector.wait(names)
    assert trace == TRACE
    assert {span.trace for span in spans} == {TRACE}
    runs = {span.attributes["zypher.attempt"]: span for span in spans if span.name == "run"}
    assert runs["1"].attributes["error.type"] == "crash"
    assert runs["2"].attributes["zypher.status"] == "completed"
    assert context == f"00-{TRACE}-{runs['2'].id}-01"
    (submit,) = [span for span in spans if span.name == "submit"]
    assert {run.parent for run in runs.values()} == {submit.id}
    assert {run.attributes["service.name"] for run in runs.values()} == {"worker"}
    assert submit.attributes["service.name"] == "zypher"
    (own,) = [span for span in spans if span.name == "own"]
    assert own.parent == runs["2"].id


def test_the_page_about_traces_shows_what_its_model_does(tmp_path: Path) -> None:
    write_models(TRACES, tmp_path)
    serve, ask = blocks(TRACES, "sh")
    variable, command = serve.splitlines()
    name, _, _ = variable.removeprefix("export ").partition("=")
    with Collector() as collector:
        variables: dict[str, Any] = {name: collector.url}
        with Server(*command.split()[2:], cwd=tmp_path, **variables) as server:
            assert "Hello, Ada!" in run_curl(server, ask)
            collector.wait(["think"])
            assert server.stop() == 0
        shown = next(block for block in blocks(TRACES, "text") if "├──" in block)
        names = [re.split(r" {2,}", line.lstrip("│├└─ "))[0] for line in shown.splitlines()]
        assert sorted(names) == sorted(span.name for span in collector.spans)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'",
        ),
    ],
)
def test_nothing_of_opentelemetrys_sdk_is_loaded_unless_its_variables_ask_for_it(
    variables: dict[str, str], said: str
) -> None:
    script = (
        "import sys; from zypher import tracing; tracing.start()\n"
        "assert tracing.tracing() is None and 'opentelemetry.sdk.trace' not in sys.modules"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=others | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)


def test_where_the_extra_is_not_installed_that_is_said_and_all_else_works() -> None:
    script = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"  # as if it were not there
        "from zypher import tracing; tracing.start(); assert tracing.tracing() is None"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'zypher[otel]'" in done.stderr
