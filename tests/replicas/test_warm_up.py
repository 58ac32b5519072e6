"""The example: it runs before a replica is ready, as a prediction would."""

import json

import pytest

from tests.replicas.test_hardware import MODELS
from tests.replicas.test_pool import spec
from tests.worker.test_worker import outcomes
from tests.worker.work import at_work
from zypher.brokers.memory import MemoryBroker
from zypher.clock import SystemClock
from zypher.errors import ModelLoadError
from zypher.replicas.replica import Replica
from zypher.testing.contract.base import LIMITS

pytestmark = pytest.mark.anyio

WARM = "warm warm-up"


async def first_result(model: str, input: bytes, **fields: object) -> object:
    """What a new replica answers to its first prediction."""
    broker = MemoryBroker(LIMITS, SystemClock())
    async with at_work(broker, spec(model, MODELS, **fields), 1):
        (record,) = await outcomes(broker, model, [input])
        assert record.result is not None, record.failure
        return json.loads(record.result)


@pytest.mark.parametrize(
    ("model", "concurrency", "result"),
    [
        ("Noting", None, [WARM]),
        ("Noting", 2, [WARM]),
        ("AsyncNoting", None, [WARM]),
        ("YieldingNoting", None, [[WARM]]),
    ],
)
async def test_the_first_prediction_is_not_the_first_run(
    model: str, concurrency: int | None, result: object
) -> None:
    assert await first_result(model, b'"x"', concurrency=concurrency) == result


async def test_a_batched_model_runs_a_full_batch_of_it_and_one_alone() -> None:
    assert await first_result("Batched", b"1") == [3, 1, 1]


async def test_a_table_may_give_another_example_and_the_schema_shows_it() -> None:
    replica = Replica(spec("Noting", MODELS, example=b'"of the table"'))
    try:
        await replica.start()
        assert replica.described.input_schema == {"type": "string", "examples": ["of the table"]}
    finally:
        await replica.stop()
    assert await first_result("Noting", b'"x"', example=b'"mine"') == ["mine warm-up"]


async def loaded(replica: Replica) -> None:
    await replica.start()
    await replica.set_up()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("Faulty", "the model raised ZeroDivisionError: division by zero"),
        ("Misfit", "Expected `int`, got `str`"),
        ("PickyBatch", "not this one"),
        ("Unspeakable", "is no input"),
    ],
)
async def test_an_example_that_fails_is_a_model_that_cannot_be_loaded(
    model: str, said: str
) -> None:
    replica = Replica(spec(model, MODELS))
    try:
        with pytest.raises(ModelLoadError, match=f"The example of .*{model}.*{said}") as raised:
            await loaded(replica)
    finally:
        await replica.stop()
    assert model != "Faulty" or "return 1 / number" in (raised.value.traceback or "")
