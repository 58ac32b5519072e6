"""Deliveries: made until they arrive, each by itself, and never at the cost of others."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from standardwebhooks import Webhook

from tests.harness import PATIENCE
from tests.receiver import SECRET, Answer, Call, Receiver
from zypher.brokers import Limits
from zypher.brokers.base import Delivery
from zypher.brokers.memory import MemoryBroker
from zypher.clock import Clock, SystemClock
from zypher.errors import Internal, PredictionError, Unavailable
from zypher.prediction import Options, Outcome, Prediction, new_id
from zypher.server.webhooks import sender_for
from zypher.server.webhooks.caller import Caller
from zypher.server.webhooks.sender import PAUSES
from zypher.server.webhooks.signing import Signer
from zypher.settings import load_settings
from zypher.testing.clock import ManualClock

pytestmark = pytest.mark.anyio

DROPPED = "dropped"


class Desk(MemoryBroker):
    """A broker that tells what becomes of its deliveries: dropped, or put off for so long."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Limits(), clock)
        self.endings: asyncio.Queue[float | str] = asyncio.Queue()
        self.refusals = 0  # it cannot record anything now, so often
        self.troubles: list[PredictionError] = []  # with which it answers first

    async def next_delivery(self, *, timeout: float) -> Delivery | None:
        if self.troubles:
            raise self.troubles.pop()
        return await super().next_delivery(timeout=timeout)

    async def drop_delivery(self, id: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("The queue cannot be written now.")
        await super().drop_delivery(id)
        self.endings.put_nowait(DROPPED)

    async def put_off_delivery(self, id: str, at: float) -> None:
        await super().put_off_delivery(id, at)
        self.endings.put_nowait(at - self._clock.wall())

    async def end_one(self, webhook: str) -> Prediction:
        """A prediction that has been completed."""
        options = Options(webhook=webhook)
        now = self._clock.wall()
        made = Prediction(id=new_id(), model="m", input=b'{"a": 1}', created=now, options=options)
        await self.submit(made, keep=True)
        (claimed,) = await self.claim("w", "m", limit=1, timeout=0)
        await self.finish([(claimed.claim, Outcome(result=b"[1.0]"))])
        return made


@asynccontextmanager
async def sending(clock: Clock, secrets: Sequence[str] = (SECRET,)) -> AsyncIterator[Desk]:
    """A broker whose deliveries are sent."""
    desk = Desk(clock)
    settings = load_settings(webhook_secret=", ".join(secrets), webhook_allow_private="true")
    sender = sender_for(desk, settings, clock)
    sender.start()
    try:
        yield desk
    finally:
        await sender.stop()
        await desk.aclose()


async def next_call(receiver: Receiver) -> Call:
    return await asyncio.to_thread(receiver.next)


async def pause_over(desk: Desk, clock: ManualClock) -> float:
    """Let the time pass until the next call; how long that was."""
    pause = await desk.endings.get()
    assert isinstance(pause, float)
    clock.advance(pause)
    await desk.enforce_clocks()
    return pause


async def test_a_delivery_is_signed_and_sent_once() -> None:
    clock = SystemClock()
    with Receiver() as receiver:
        async with sending(clock) as desk:
            prediction = await desk.end_one(receiver.url())
            call = await next_call(receiver)
            assert await desk.endings.get() == DROPPED
            assert +desk.metrics.webhook_deliveries == {("delivered",): 1}
        assert not receiver.was_called
    told = Webhook(SECRET).verify(call.body, dict(call.headers))
    assert told["type"] == "prediction.completed"
    assert call.id == told["data"]["prediction_id"] == prediction.id
    assert (told["data"]["input"], told["data"]["result"]) == ({"a": 1}, [1.0])
    assert told["timestamp"] == told["data"]["finished"]


async def test_each_of_several_secrets_signs() -> None:
    other = "whsec_" + "QUJD" * 10
    with Receiver() as receiver:
        async with sending(SystemClock(), [SECRET, other]) as desk:
            await desk.end_one(receiver.url())
            call = await next_call(receiver)
    for secret in (SECRET, other):
        Webhook(secret).verify(call.body, dict(call.headers))


async def test_a_call_that_failed_is_made_again_with_the_same_id() -> None:
    clock = ManualClock()
    with Receiver(500, 404, 204) as receiver:
        async with sending(clock) as desk:
            await desk.end_one(receiver.url())
            pauses = [await pause_over(desk, clock) for _ in range(2)]
            assert await desk.endings.get() == DROPPED
            assert +desk.metrics.webhook_deliveries == {("failed",): 2, ("delivered",): 1}
        calls = [receiver.next() for _ in range(3)]
    assert pauses == [pytest.approx(pause, rel=0.1) for pause in PAUSES[:2]]
    assert len({call.id for call in calls}) == 1
    assert len({call.headers["webhook-timestamp"] for call in calls}) == 3


async def test_after_about_a_day_a_delivery_is_given_up_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    with Receiver(500) as receiver:
        async with sending(clock) as desk:
            prediction = await desk.end_one(receiver.url())
            pauses = [await pause_over(desk, clock) for _ in PAUSES]
            assert await desk.endings.get() == DROPPED
    assert sum(pauses) == pytest.approx(86_400, rel=0.2)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert prediction.id in record.getMessage()
    assert "it answered 500. It is given up." in record.getMessage()


async def test_the_log_has_neither_the_secret_nor_the_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver(500, 410) as receiver:
        clock = ManualClock()
        async with sending(clock) as desk:
            await desk.end_one(receiver.url())
            await pause_over(desk, clock)
            assert await desk.endings.get() == DROPPED
    assert "webhook" in caplog.text
    assert SECRET not in caplog.text
    assert "of-the-receiver" not in caplog.text


async def test_what_arrived_while_the_broker_was_in_trouble_is_not_sent_again() -> None:
    with Receiver() as receiver:
        async with sending(SystemClock()) as desk:
            desk.refusals = 1
            await desk.end_one(receiver.url())
            await next_call(receiver)
            assert await desk.endings.get() == DROPPED
        assert not receiver.was_called


@pytest.mark.parametrize("trouble", [Unavailable("Away."), Internal("Failed.")])
async def test_deliveries_go_on_after_the_broker_had_none_to_give(
    trouble: PredictionError, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver() as receiver:
        async with sending(SystemClock()) as desk:
            desk.troubles = [trouble]
            for _ in range(2):
                await desk.end_one(receiver.url())
                async with asyncio.timeout(PATIENCE):
                    assert await desk.endings.get() == DROPPED
    assert not desk.troubles
    assert bool(caplog.records) == isinstance(trouble, Internal)


async def test_a_receiver_that_is_gone_is_not_called_again() -> None:
    with Receiver(410) as receiver:
        async with sending(ManualClock()) as desk:
            await desk.end_one(receiver.url())
            assert await desk.endings.get() == DROPPED


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    with Receiver() as elsewhere, Receiver(Answer(307, {"Location": elsewhere.url()})) as receiver:
        async with sending(ManualClock()) as desk:
            await desk.end_one(receiver.url())
            assert isinstance(await desk.endings.get(), float)
        assert not elsewhere.was_called


@pytest.mark.parametrize(
    ("status", "retry_after", "pause"),
    [
        (429, "100", 100),
        (503, "100", 100),
        (503, formatdate(ManualClock().wall() + 100, usegmt=True), 100),
        (503, "1", PAUSES[0]),  # no sooner than by itself
        (503, "9" * 400, max(PAUSES)),  # nor later than ever
        (503, "soon", PAUSES[0]),
        (503, f"{'1' * 22} Jan 2030 00:00:00 GMT", PAUSES[0]),
        (500, "100", PAUSES[0]),
    ],
)
async def test_a_receiver_may_say_when_to_call_again(
    status: int, retry_after: str, pause: float
) -> None:
    with Receiver(Answer(status, {"Retry-After": retry_after})) as receiver:
        async with sending(ManualClock()) as desk:
            await desk.end_one(receiver.url())
            async with asyncio.timeout(PATIENCE):
                assert await desk.endings.get() == pytest.approx(pause, rel=0.1)


async def test_a_receiver_that_does_not_answer_holds_up_nobody_else() -> None:
    with Receiver(None) as silent, Receiver() as receiver:
        async with sending(SystemClock()) as desk:
            for _ in range(20):
                await desk.end_one(silent.url("localhost"))
            await desk.end_one(receiver.url())
            assert await desk.endings.get() == DROPPED
        assert receiver.was_called


async def test_a_fault_of_ours_is_a_call_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(caller: Caller, record: Prediction) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Caller, "call", fail)
    async with sending(ManualClock()) as desk:
        await desk.end_one("http://localhost/")
        async with asyncio.timeout(PATIENCE):
            assert await desk.endings.get() == pytest.approx(PAUSES[0], rel=0.1)


async def test_nothing_is_sent_unsigned() -> None:
    with Receiver() as receiver:
        async with sending(ManualClock(), secrets=[]) as desk:
            await desk.end_one(receiver.url())
            assert isinstance(await desk.endings.get(), float)
        assert not receiver.was_called


async def test_a_call_under_way_at_the_end_is_completed_if_it_is_quick() -> None:
    with Receiver() as receiver:
        async with sending(SystemClock()) as desk:
            await desk.end_one(receiver.url())
            await next_call(receiver)
        assert desk.endings.get_nowait() == DROPPED


def test_signatures_are_those_of_the_standard() -> None:
    headers = Signer([SECRET]).headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
