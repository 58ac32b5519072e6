"""What a broker counts: every end and every crash, once, whatever brought it about."""

import asyncio

import pytest

from zypher.brokers.base import Broker
from zypher.errors import Conflict
from zypher.prediction import Options
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, LIMITS, PATIENCE, BrokerTests, new


def ends(broker: Broker) -> dict[tuple[str, ...], int]:
    """How many predictions have ended, by model, mode and status."""
    return {labels: count for labels, count in broker.metrics.predictions.items() if count}


class Counting(BrokerTests):
    """What a broker counts: every end and every crash, once, whatever brought it about."""

    async def test_an_end_is_counted_once_whatever_brought_it(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        for outcome in (GOOD, BAD):
            claimed = await self.running(broker)
            await broker.finish([(claimed.claim, outcome)])
            assert await broker.finish([(claimed.claim, GOOD)]) == {claimed.claim}
        (canceled,) = await self.submit(broker)
        await broker.cancel(canceled.id)
        with pytest.raises(Conflict):
            await broker.cancel(canceled.id)
        await self.submit(broker)
        for _ in range(LIMITS.max_crashes):
            (claimed,) = await self.claim(broker)
            await broker.crash([claimed.claim], "was killed")
            await broker.crash([claimed.claim], "was killed")
        late = new(created=clock.wall(), options=Options(deadline=10))
        await broker.submit(late, keep=True)
        clock.advance(10)
        await broker.enforce_clocks()
        await broker.enforce_clocks()
        assert ends(broker) == {
            ("m", "async", "completed"): 1,
            ("m", "async", "failed"): 3,
            ("m", "async", "canceled"): 1,
        }
        assert sum(broker.metrics.prediction_seconds.of("m", "async").counts) == 5
        assert broker.metrics.crashes == {("m",): LIMITS.max_crashes}

    async def test_a_run_that_is_repeated_is_no_end(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await broker.submit(new(options=Options(retries=1)), keep=True)
        (claimed,) = await self.claim(broker)
        await broker.release([claimed.claim])
        (claimed,) = await self.claim(broker)
        await broker.crash([claimed.claim], "was killed")
        (claimed,) = await self.claim(broker)
        clock.advance(LIMITS.lease)
        await broker.reclaim()
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        assert ends(broker) == {}
        assert broker.metrics.crashes == {("m",): 2}

    async def test_an_end_is_that_of_a_synchronous_call_while_its_caller_waits(
        self, broker: Broker
    ) -> None:
        """Not any more once it was kept because it took too long."""
        keyed = new(idempotency_key="k", fingerprint=b"f")
        for made in (new(), keyed, slow := new()):
            await broker.submit(made, keep=made is keyed, waits=True)
        await broker.keep(slow.id)
        claimed = [claim for _ in range(3) for claim in await self.claim(broker)]
        await broker.finish([(one.claim, GOOD) for one in claimed])
        assert ends(broker) == {("m", "sync", "completed"): 2, ("m", "async", "completed"): 1}

    async def test_a_caller_who_gives_up_is_counted_as_a_canceled_call(
        self, broker: Broker
    ) -> None:
        made = await broker.submit(new(), keep=False)
        waiting = asyncio.create_task(broker.wait(made.id, PATIENCE))
        await broker.stats()
        waiting.cancel()
        await asyncio.wait([waiting])
        await broker.abandon(made.id)
        await broker.abandon(made.id)
        assert ends(broker) == {("m", "sync", "canceled"): 1}
