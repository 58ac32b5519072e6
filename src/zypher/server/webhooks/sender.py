"""The sender: takes deliveries from the broker, and has them called until they arrive.

Predictions never wait for it, nor one receiver for another: the broker hands out few to one host
at once.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from zypher.brokers.base import Broker, Delivery
from zypher.clock import Clock
from zypher.logs import about
from zypher.periodic import every, insist
from zypher.prediction import Prediction
from zypher.server.webhooks.reasons import Miss

log = logging.getLogger("zypher.webhooks")

MOST_AT_ONCE = 256

# Seconds between a call that failed and the next: about a day, all together.
PAUSES = (5.0, 30.0, 120.0, 600.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)

# How long it asks for the next delivery; and how long it waits, at the end, for calls that are
# under way. In seconds.
_PATIENCE = 60.0
_LAST_CALLS = 1.0

# Tells a webhook of a prediction that has ended; None if it has taken that.
Call = Callable[[Prediction], Awaitable[Miss | None]]


async def call_nobody(_: Prediction) -> Miss:
    """As a server does that has no secret, for what was taken in by one that had."""
    return Miss("webhook-secret is not set, and nothing is sent unsigned")


class Sender:
    """Delivers, several at once, from `start` to `stop`."""

    def __init__(
        self, broker: Broker, call: Call, clock: Clock, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._broker = broker
        self._call_webhook = call
        self._clock = clock
        self._pauses = pauses
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._calls: set[asyncio.Task[None]] = set()
        self._taking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._taking = asyncio.create_task(every(0.0, self._take))

    async def stop(self) -> None:
        """Take no more, and give the calls that are under way a moment.

        What was not recorded as delivered by then is sent again by the next one.
        """
        if self._taking is not None:
            self._taking.cancel()
        if self._calls:
            await asyncio.wait(self._calls, timeout=_LAST_CALLS)
        for call in self._calls:
            call.cancel()

    async def _take(self) -> None:
        """Take the next delivery and begin to call."""
        await self._slots.acquire()
        try:
            delivery = await self._next()
        except BaseException:
            self._slots.release()
            raise
        call = asyncio.create_task(self._deliver(delivery))
        self._calls.add(call)
        call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._slots.release()

    async def _next(self) -> Delivery:
        ask = partial(self._broker.next_delivery, timeout=_PATIENCE)
        while (delivery := await insist(ask)) is None:
            pass
        return delivery

    async def _deliver(self, delivery: Delivery) -> None:
        miss = await self._call(delivery)
        count = self._broker.metrics.webhook_deliveries.count
        if miss is None:
            count("delivered")
            await self._drop(delivery)
        elif (pause := self._pause(delivery, miss)) is None:
            count("given_up")
            log.warning("%s It is given up.", _told(delivery, miss), extra=about(delivery.record))
            await self._drop(delivery)
        else:
            count("failed")
            sentence = "%s The next call is in %.0f s."
            log.info(sentence, _told(delivery, miss), pause, extra=about(delivery.record))
            at = self._clock.wall() + pause
            put_off = partial(self._broker.put_off_delivery, delivery.record.id, at)
            await insist(put_off)

    async def _call(self, delivery: Delivery) -> Miss | None:
        try:
            return await self._call_webhook(delivery.record)
        except Exception:  # a fault of ours must not keep it from being called again
            record = delivery.record
            log.exception("the webhook of prediction %s", record.id, extra=about(record))
            return Miss("It could not be made.")

    async def _drop(self, delivery: Delivery) -> None:
        await insist(partial(self._broker.drop_delivery, delivery.record.id))

    def _pause(self, delivery: Delivery, miss: Miss) -> float | None:
        """Seconds until the next call; None if there is none."""
        if miss.is_final or delivery.failures >= len(self._pauses):
            return None
        pause = self._pauses[delivery.failures] * _jitter(delivery)
        return min(max(pause, miss.retry_after or 0.0), max(self._pauses))


def _jitter(delivery: Delivery) -> float:
    """0.9 to 1.1: so that those which failed together do not come back together."""
    return 0.9 + zlib.crc32(f"{delivery.record.id}/{delivery.failures}".encode()) / 2**32 / 5


def _told(delivery: Delivery, miss: Miss) -> str:
    """What came of a call. Without the URL, of which a part may be secret."""
    return (
        f"Call {delivery.failures + 1} of the webhook of prediction {delivery.record.id} failed: "
        f"{miss.reason.rstrip('.')}."
    )
