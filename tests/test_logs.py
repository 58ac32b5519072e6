"""The log: a line for each event, for people or as JSON, and no secret in it."""

import asyncio
import json
import logging
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PATIENCE, ZYPHER, Server
from tests.receiver import Call, Receiver
from tests.test_tracing import TRACE, TRACEPARENT
from tests.worker.test_worker import outcomes, working
from zypher import logs
from zypher.brokers.memory import MemoryBroker
from zypher.replicas import lines
from zypher.replicas.lines import Line
from zypher.replicas.stderr import MOST_LINES, ErrorOutput

MODEL = """
import logging, os, sys, warnings
import zypher

log = logging.getLogger("of.the.model")
print("imported")

class Model:
    def setup(self):
        log.info("weights are loaded")
    def predict(self, words: dict[str, str]) -> str:
        print("printed")
        print("half ", end="", file=sys.stderr)
        print("a line", file=sys.stderr)
        log.debug("never")
        logging.info("by the module's function")
        log.warning("logged")
        zypher.current().log("noted")
        os.write(1, b"by C\\n")
        if words["kind"] == "bad":
            raise ValueError("the model's own words")
        return words["result"]
"""

SECRETS = [
    *("input-secret", "result-secret", "key-secret", "user-secret", "hook-secret", "redis-secret"),
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # what webhooks are signed with
]


class JsonServer(Server):
    """A server whose log is for programs; `hook` is the webhook that it has called."""

    hook: Call
    ready = re.compile(r'"message": "Serving .* at (?P<url>http://\S+) ')

    def events(self, **fields: object) -> list[dict[str, Any]]:
        """What it has logged, with these fields. Raises if a line is no JSON."""
        events = [json.loads(line) for line in self.lines]
        return [event for event in events if fields.items() <= event.items()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JsonServer]:
    """It has run something of each kind, at the lowest level that there is."""
    directory = tmp_path_factory.mktemp("served")
    (directory / "model.py").write_text(MODEL)
    environment: dict[str, Any] = {
        "ZYPHER_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "ZYPHER_WEBHOOK_ALLOW_PRIVATE": "true",
        "ZYPHER_LOG_FORMAT": "json",
        "ZYPHER_LOG_LEVEL": "debug",
    }
    with (
        Receiver(410) as receiver,
        JsonServer("model.py:Model", cwd=directory, **environment) as server,
    ):
        words = {"kind": "good", "text": "input-secret", "result": "result-secret"}
        headers = {"traceparent": TRACEPARENT, "Idempotency-Key": "key-secret"}
        for user in ("user:user-secret@", ""):  # one of them is refused
            hook = f"http://{user}127.0.0.1:{receiver.port}/hook?token=hook-secret"
            body = {"input": words, "webhook": hook}
            server.client.post("/predict", json=body, headers=headers)
        server.hook = receiver.next()
        server.wait_said("It is given up")
        server.predict(words | {"kind": "bad"})
        server.predict({"input-secret": 1})
        server.client.get("/predict/input-secret?token=key-secret")
        (replica,) = server.replicas()
        replica.kill()
        server.wait_said("a replica is ready", times=2)
        assert server.stop() == 0
        yield server


def test_each_line_is_an_object_with_its_time_level_logger_and_sentence(
    server: JsonServer,
) -> None:
    for event in server.events():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
        assert event["level"] in ("debug", "info", "warning", "error")
        assert event["logger"]
        assert event["message"]
    assert server.events(message="Loading model ...", level="info", logger="zypher")


def test_what_a_run_writes_has_its_prediction_its_trace_and_the_level_of_the_model(
    server: JsonServer,
) -> None:
    told = server.events(trace_id=TRACE, model="model", attempt=1)
    written = [(e["logger"], e["level"], e["message"]) for e in told if "replica" in e]
    assert written == [
        ("zypher.model", "info", "printed"),
        ("zypher.model", "info", "half a line"),
        ("root", "info", "by the module's function"),
        ("of.the.model", "warning", "logged"),
        ("zypher.model", "info", "noted"),
    ]
    assert len({event["prediction"] for event in told}) == 1
    assert {event["replica"] for event in told if "replica" in event} <= {
        event["replica"] for event in server.events(message="imported")
    }


def test_what_is_written_outside_of_a_run_has_the_model_and_no_prediction(
    server: JsonServer,
) -> None:
    for message, logger in [
        *(("imported", "zypher.model"), ("weights are loaded", "of.the.model")),
        ("by C", "zypher.model"),
    ]:
        for event in server.events(message=message):
            assert (event["model"], event["logger"]) == ("model", logger)
            assert "prediction" not in event
        assert len(server.events(message=message)) == 2


def test_what_the_model_raised_is_one_event_and_its_prediction_another(server: JsonServer) -> None:
    (traceback,) = server.events(code="model_error", level="error")
    (end,) = server.events(code="model_error", level="info")
    assert traceback["message"].endswith("ValueError: the model's own words")
    assert end["prediction"] == traceback["prediction"]
    assert end["seconds"] >= 0


def test_a_webhook_is_called_with_the_trace_of_its_prediction(server: JsonServer) -> None:
    assert server.hook.headers["traceparent"] == server.hook.data["traceparent"] == TRACEPARENT


def test_no_input_result_key_or_secret_is_in_the_log_at_any_level(server: JsonServer) -> None:
    log = "".join(server.lines)
    assert [secret for secret in SECRETS if secret in log] == []


def test_of_libraries_only_warnings_are_in_the_log(server: JsonServer) -> None:
    ours = ("zypher", "of.the.model", "root")
    events = [*server.events(level="debug"), *server.events(level="info")]
    assert [event for event in events if not event["logger"].startswith(ours)] == []


def test_an_error_that_ends_the_program_is_in_the_log_without_the_password(tmp_path: Path) -> None:
    broker = "redis://:redis-secret@127.0.0.1:1/none"
    done = subprocess.run(
        [ZYPHER, "serve", "--log-format", "json", "--replicas", "0", "--broker", broker],
        cwd=tmp_path,
        env=os.environ | {"ZYPHER_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, events[-1]["level"]) == (1, "critical")
    assert "redis-secret" not in done.stderr


def test_a_wrong_setting_is_an_event_as_well(tmp_path: Path) -> None:
    done = subprocess.run(
        [ZYPHER, "serve", "--port", "abc"],
        cwd=tmp_path,
        env=os.environ | {"ZYPHER_LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=False,
    )
    (event,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert event["level"] == "critical"
    assert event["message"].startswith("The setting port is wrong")


# For people.


def test_what_is_put_into_a_line_for_people_looks_like_no_other_line() -> None:
    console = logs._Console(colored=False)
    forged = "x\n2026-12-01 00:00:00.000 ERROR zypher.server: forged\x1b[2J\x9b"
    record = logging.makeLogRecord({"name": "m", "levelname": "INFO", "msg": forged})
    first, second = console.format(record).split("\n")
    assert first.endswith(" INFO m: x")
    assert second == "  2026-12-01 00:00:00.000 ERROR zypher.server: forged\\x1b[2J\\x9b"


def test_a_line_for_people_has_the_time_the_level_who_says_it_and_what() -> None:
    console = logs._Console(colored=False)
    record = logging.makeLogRecord(
        {"name": "zypher.worker", "levelname": "WARNING", "msg": "it died", "prediction": "id"}
    )
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING zypher\.worker: it died",
        console.format(record),
    )
    of_model: dict[str, Any] = {
        "is_of_model": True,
        "model": "m",
        "replica": 7,
        "msg": "hi",
        "levelname": "INFO",
    }
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": "zypher.model"}, "INFO m[7]: hi"),
        ({"name": "zypher.model", "prediction": "id"}, "INFO m[7] id: hi"),
        ({"name": "mine", "prediction": "id"}, "INFO m[7] id mine: hi"),
        ({"name": "zypher.model", "predictions": ["a", "b"], "batch_size": 2}, "a and 1 more: hi"),
    ]
    for fields, said in cases:
        assert console.format(logging.makeLogRecord({**of_model, **fields})).endswith(said)
    assert "\x1b[33mWARNING\x1b[0m" in logs._Console(colored=True).format(record)


# What comes through the pipe of a replica.


@asynccontextmanager
async def pipe() -> AsyncIterator[int]:
    """The writing end of the pipe of the model `m`; all is told at the end."""
    output = ErrorOutput("m")
    with output.starting() as end:
        writing = os.dup(end)
    yield writing
    os.close(writing)
    async with asyncio.timeout(PATIENCE):
        await output.ended.wait()


@pytest.mark.anyio
async def test_whatever_is_in_the_pipe_becomes_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zypher.model")
    marked = b'\x1e{"text":"of a run","level":"ERROR","logger":"mine","prediction":"id"}\n'
    async with pipe() as writing:
        os.write(writing, b"10%\r20%\r\n\nhalf" + marked + b"\x1e{torn\n\xff\x00\n" + b"x" * 5000)
    told = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
    assert told == [
        ("zypher.model", "INFO", "10%"),
        ("zypher.model", "INFO", "20%"),
        ("zypher.model", "INFO", "half"),
        ("mine", "ERROR", "of a run"),
        ("zypher.model", "INFO", "\x1e{torn"),
        ("zypher.model", "INFO", "\\xff\x00"),
        ("zypher.model", "INFO", "x" * 4000),
    ]
    assert caplog.records[3].__dict__["prediction"] == "id"


@pytest.mark.anyio
async def test_of_a_flood_so_much_is_told_and_then_how_much_was_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "zypher.model")
    async with pipe() as writing:
        for _ in range(20):
            os.write(writing, b"a line\n" * MOST_LINES)
    told = [r.getMessage() for r in caplog.records if r.levelname == "INFO"]
    dropped = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) >= MOST_LINES
    assert len(told) + sum(int(text.split()[0]) for text in dropped) == 20 * MOST_LINES


@pytest.mark.anyio
async def test_lines_of_a_batch_name_all_its_members(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zypher.model")
    async with working("batch_prints") as (_, broker):
        assert isinstance(broker, MemoryBroker)
        records = await outcomes(broker, "batch_prints", [b'"a"', b'"b"'])
    (line,) = [record.__dict__ for record in caplog.records if record.getMessage() == "together"]
    assert sorted(line["predictions"]) == sorted(record.id for record in records)
    assert line["batch_size"] == 2


def test_a_line_survives_the_pipe_whatever_is_in_it() -> None:
    line = Line("\x1e\n\x00ü", "ERROR", prediction="id", attempt=2)
    reading, writing = os.pipe()
    ours = os.dup(2)
    os.dup2(writing, 2)
    try:
        lines.write(line)
    finally:
        os.dup2(ours, 2)
    written = os.read(reading, 10_000)
    assert written.count(b"\n") == 1
    assert lines.parse(written[:-1]) == [line]
    for descriptor in (ours, reading, writing):
        os.close(descriptor)
