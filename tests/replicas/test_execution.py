"""Whatever a model does, its prediction ends, and the next one runs."""

import asyncio

import pytest

from tests.worker.test_worker import outcomes, working
from zypher.prediction import Status

pytestmark = pytest.mark.anyio

KINDS = {
    "base-exception": "model_error",
    "surrogate": "model_error",
    "unspeakable": "model_error",
    "stop-iteration": "model_error",
    "exit": "model_error",
    "cancelled": "model_error",
    "refused": "invalid_input",
    "half-made": "model_error",
    "nothing-json-has": "invalid_output",
    "post-init": "model_error",
}
MODELS = [("trouble", None), ("trouble_blocking", 1), ("trouble_blocking", 4), ("trouble_batch", 1)]


@pytest.mark.parametrize(("model", "concurrency"), MODELS)
async def test_every_way_to_end_a_run_ends_its_prediction_and_no_other(
    model: str, concurrency: int | None
) -> None:
    async with working(model, concurrency=concurrency) as (_, broker), asyncio.timeout(20):
        inputs = [b'{"kind": "%s"}' % kind.encode() for kind in KINDS]
        good = b'{"kind": "good"}'
        records = await outcomes(broker, model, [good, *inputs, good])
        assert [r.result for r in (records[0], records[-1])] == [b'"good"', b'"good"']
        codes = [r.failure.code if r.failure else r.status for r in records[1:-1]]
        assert dict(zip(KINDS, codes, strict=True)) == KINDS
        assert {r.crashes for r in records} == {0}
        (after,) = await outcomes(broker, model, [good])
        assert after.status is Status.COMPLETED
