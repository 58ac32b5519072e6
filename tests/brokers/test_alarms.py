"""Alarms hold nothing of what has moved on."""

import sys

import pytest

from zypher.brokers import Limits
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Options, Outcome, Prediction, new_id
from zypher.testing.clock import ManualClock

pytestmark = pytest.mark.anyio


async def test_what_has_ended_and_is_forgotten_is_not_held_by_a_clock_that_runs_on() -> None:
    clock = ManualClock()
    broker = MemoryBroker(Limits(), clock)
    hour = Options(run_timeout=3600)
    input = bytes(100)
    made = Prediction(id=new_id(), model="m", input=input, created=clock.wall(), options=hour)
    before = sys.getrefcount(input)
    await broker.submit(made, keep=True)
    (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
    await broker.finish([(claimed.claim, Outcome(result=b"1"))])
    await broker.delete(claimed.id)
    del claimed
    assert sys.getrefcount(input) == before
