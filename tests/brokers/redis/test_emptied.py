"""What was claimed before Redis lost its data cannot end what was submitted again since."""

import asyncio

import pytest

from tests.redis_servers import RedisServer
from zypher.brokers import Limits
from zypher.brokers.redis import RedisBroker
from zypher.clock import SystemClock
from zypher.prediction import Failure, Outcome, Prediction, new_id

pytestmark = pytest.mark.anyio

PATIENCE = 10.0
CALLED_OFF = Outcome(failure=Failure("canceled", "The run was called off."))


async def test_a_run_from_before_redis_was_emptied_does_not_end_the_one_that_came_after(
    redis_server: RedisServer,
) -> None:
    broker = RedisBroker(redis_server.url, Limits(), SystemClock())
    await broker.start()
    try:
        prediction = Prediction(id=new_id(), model="m", input=b"1", created=0.0)
        await broker.submit(prediction, keep=False)
        waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
        (before,) = await broker.claim("w", "m", limit=1, timeout=PATIENCE)
        redis_server.call("FLUSHALL")
        (after,) = await broker.claim("w", "m", limit=1, timeout=PATIENCE)
        assert await broker.finish([(before.claim, CALLED_OFF)]) == {before.claim}
        assert not await broker.finish([(after.claim, Outcome(result=b'"good"'))])
        ended = await waiting
        assert ended is not None
        assert ended.result == b'"good"'
    finally:
        await broker.aclose()
