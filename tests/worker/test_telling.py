"""What runs tell while they run: progress, parts of the result, and lines of a log."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PATIENCE, holder
from tests.worker.test_worker import outcomes, working
from zypher.brokers.base import Seen
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Options, Prediction, Status
from zypher.testing.contract.base import new

pytestmark = pytest.mark.anyio

MODELS = Path(__file__).with_name("models.py")

Told = list[tuple[str, Any]]


async def told(broker: MemoryBroker, id: str, *, least: int = 0) -> Told:
    """The type and the data of all events of a prediction, once there are so many."""
    events: Told = []
    seen = Seen()
    async with asyncio.timeout(PATIENCE):
        while True:
            news = await broker.watch(id, seen, timeout=0 if len(events) >= least else PATIENCE)
            assert news is not None
            events += [(event.type, json.loads(event.data)) for _, event in news.events]
            last = news.events[-1][0] if news.events else seen.sequence
            seen = Seen(news.record.status, news.record.attempt, last)
            if len(events) >= least and not news.events:
                return events


async def ended(broker: MemoryBroker, prediction: Prediction) -> Prediction:
    record = await broker.wait(prediction.id, PATIENCE)
    assert record is not None
    return record


async def test_what_a_blocking_run_tells_is_known_in_its_order_while_it_still_runs() -> None:
    with holder() as held:
        async with working("talkative", file=MODELS) as (_, broker):
            prediction = await broker.submit(new("talkative", b"%d" % held.port), keep=True)
            run = await asyncio.to_thread(held.started)
            early: Told = [
                ("progress", {"fraction": 0.25, "text": "begun"}),
                ("log", {"text": "printed"}),
                ("log", {"text": "half a line"}),
                ("log", {"text": "logged"}),
                ("output", "part"),
            ]
            assert await told(broker, prediction.id, least=5) == early
            run.finish("rest")
            assert (await ended(broker, prediction)).result == b'["part","rest"]'
            late: Told = [("output", "rest"), ("log", {"text": "unfinished"})]
            assert await told(broker, prediction.id) == early + late


@pytest.mark.parametrize("model", ["spells", "spells_blocking"])
async def test_the_parts_of_a_joined_text_are_told_one_by_one_and_its_result_is_the_text(
    model: str,
) -> None:
    async with working(model, file=MODELS) as (_, broker):
        assert (await broker.models())[model].output_schema == {"type": "string"}
        (record,) = await outcomes(broker, model, ['"Ein \\"ü\\""'.encode()])
        assert json.loads(record.result or b"") == 'Ein "ü"'
        parts: Told = [("output", letter) for letter in 'Ein "ü"']
        assert await told(broker, record.id) == parts
        (nothing,) = await outcomes(broker, model, [b'""'])
        assert nothing.result == b'""'


async def test_a_part_of_a_joined_text_that_is_no_text_fails_as_invalid_output() -> None:
    async with working("no_text", file=MODELS) as (_, broker):
        (record,) = await outcomes(broker, "no_text", [b"1"])
        assert record.failure is not None
        assert record.failure.code == "invalid_output"
        assert "part 0" in record.failure.detail


@pytest.mark.parametrize(("model", "concurrency"), [("signs", None), ("signs_in_thread", 8)])
async def test_what_is_printed_belongs_to_the_prediction_that_printed_it(
    model: str, concurrency: int | None
) -> None:
    async with working(model, file=MODELS, concurrency=concurrency) as (_, broker):
        names = [f"run-{number}" for number in range(20)]
        records = await outcomes(broker, model, [json.dumps(name).encode() for name in names])
        for name, record in zip(names, records, strict=True):
            assert await told(broker, record.id) == [("log", {"text": f"{name} and {name}"})] * 3


async def test_what_a_batch_tells_is_told_for_every_member() -> None:
    async with working("batch_signs", file=MODELS) as (_, broker):
        records = await outcomes(broker, "batch_signs", [b'"a"', b'"b"'])
        for record in records:
            assert "A batch has no single id" in str(record.result)
            progress: Told = [("progress", {"fraction": 0.5, "text": ""})]
            assert await told(broker, record.id) == progress


async def test_what_a_forked_process_prints_does_not_disturb_the_connection() -> None:
    async with working("forks", file=MODELS) as (_, broker):
        (record,) = await outcomes(broker, "forks", [b'"one"'])
        assert record.status is Status.COMPLETED
        assert await told(broker, record.id) == [("log", {"text": "one after the fork"})]


async def test_the_failure_of_a_crash_has_the_last_lines_of_its_own_run_and_where_it_was() -> None:
    async with working("dies", file=MODELS, max_crashes=1) as (_, broker):
        await outcomes(broker, "dies", [b'{"words": "of others", "survives": true}'] * 3)
        (record,) = await outcomes(broker, "dies", [b'{"words": "last words"}'])
        assert record.failure is not None
        assert record.failure.code == "model_crashed"
        log = record.failure.log or []
        assert log[0] == "last words"
        assert "Fatal Python error: Segmentation fault" in log
        assert any(f'File "{MODELS}"' in line and "in dies" in line for line in log)
        assert not any("zypher/replicas" in line for line in log)


async def test_an_error_of_the_model_has_the_users_traceback_in_its_log() -> None:
    async with working("raises", file=MODELS) as (_, broker):
        (record,) = await outcomes(broker, "raises", [b'"caf\xc3\xa9"'])
        assert record.failure is not None
        log = record.failure.log or []
        assert log[0] == "Traceback (most recent call last):"
        assert log[-1] == "ValueError: café"
        assert not any("zypher/replicas" in line for line in log)


async def test_a_run_knows_its_id_its_attempt_and_its_deadline() -> None:
    async with working("knows", file=MODELS) as (_, broker):
        (record,) = await outcomes(broker, "knows", [b"1"])
        assert json.loads(record.result or b"") == [record.id, 1, None, False]
        with_deadline = new("knows", created=1e10, options=Options(deadline=60.0))
        await broker.submit(with_deadline, keep=True)
        record = await ended(broker, with_deadline)
        assert json.loads(record.result or b"") == [record.id, 1, 1e10 + 60.0, False]
