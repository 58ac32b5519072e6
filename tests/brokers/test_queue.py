"""Claims that wait, at the brokers that live in one process."""

import asyncio

import pytest

from zypher.brokers import Limits
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Prediction, new_id
from zypher.testing.clock import ManualClock

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


async def test_a_claim_that_is_woken_takes_what_comes_in_the_next_turn_of_the_loop_too() -> None:
    broker = new_broker()
    claiming = asyncio.create_task(broker.claim("w", "m", limit=10, timeout=PATIENCE))
    await asyncio.sleep(0)  # it waits
    first, second = new_prediction(), new_prediction()
    broker.call(first)
    asyncio.get_running_loop().call_soon(broker.call, second)
    assert [claimed.id for claimed in await claiming] == [first.id, second.id]


async def test_each_claim_that_waits_ends_when_its_own_time_is_over() -> None:
    broker = new_broker()

    async def claim(timeout: float) -> float:
        assert await broker.claim("w", "m", limit=1, timeout=timeout) == []
        return timeout

    claims = [asyncio.create_task(claim(timeout)) for timeout in (0.03, PATIENCE, 0.01, 0.02)]
    ends = [await end for end in asyncio.as_completed([claims[0], *claims[2:]])]
    assert ends == [0.01, 0.02, 0.03]
    assert not claims[1].done()
    claims[1].cancel()


def new_broker() -> MemoryBroker:
    return MemoryBroker(Limits(), ManualClock())


def new_prediction() -> Prediction:
    return Prediction(id=new_id(), model="m", input=b"1", created=0.0)
