"""Estimates: how long it will take, and what cannot be done in time is refused at once."""

import asyncio
import heapq
import random
from statistics import median
from typing import Any

import pytest

from tests.server.service import PATIENCE, Service
from zypher.brokers.base import Limits, Overview, ReplicaCounts, WorkerInfo
from zypher.brokers.memory import MemoryBroker
from zypher.errors import Unavailable
from zypher.prediction import Claim, Outcome
from zypher.server.estimates import retry_after, room_after
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import new

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k"}


class Slots:
    """The slots of a worker, each of which takes the next prediction when its last has ended."""

    def __init__(self, service: Service, count: int, low: float, high: float) -> None:
        self._service = service
        self._count = count
        self._range = low, high
        self._random = random.Random(7)
        self._runs: list[tuple[float, Claim]] = []
        self.started: dict[str, float] = {}

    async def open(self) -> None:
        replicas = {"m": ReplicaCounts(ready=1, slots=self._count)}
        worker = WorkerInfo(id="w", host="h", pid=1, replicas=replicas)
        await self._service.broker.register_worker(worker)

    async def work(self, runs: int) -> None:
        """Run until so many more have ended, or nothing is left."""
        await self._fill()
        for _ in range(runs):
            if not self._runs:
                return
            end, claim = heapq.heappop(self._runs)
            clock = self._service.clock
            clock.advance(end - clock.steady())
            await self._service.broker.finish([(claim, Outcome(b"1"))])
            await self._fill()

    async def _fill(self) -> None:
        room = self._count - len(self._runs)
        now = self._service.clock.steady()
        if room:
            for run in await self._service.broker.claim("w", "m", limit=room, timeout=0):
                self.started[run.id] = now
                seconds = self._random.uniform(*self._range)
                heapq.heappush(self._runs, (now + seconds, run.claim))


@pytest.mark.parametrize("slots", [1, 4, 16])
@pytest.mark.parametrize("times", [(10, 10), (8, 15), (2, 18)], ids=["same", "mock", "mixed"])
async def test_a_wait_of_three_service_times_or_more_is_estimated_to_a_quarter(
    service: Service, slots: int, times: tuple[float, float]
) -> None:
    worker = Slots(service, slots, *times)
    await worker.open()
    for _ in range(slots + 5):
        await service.submit()
    await worker.work(5)
    choice = random.Random(1)
    lanes = choice.choices(["high", "normal", "low"], [3, 2, 1], k=10 * slots + 20)
    queued = [await service.submit(priority=lane) for lane in lanes]
    estimates = []
    while queued:
        for id in choice.sample(queued, min(10, len(queued))):
            record = (await service.client.get(f"/predictions/{id}")).json()
            estimates.append((id, service.clock.steady(), record["estimated_wait"]))
        await worker.work(slots)
        queued = [id for id in queued if id not in worker.started]
    errors = []
    for id, asked, estimate in estimates:
        wait = worker.started[id] - asked
        if wait >= 3 * sum(times) / 2:
            errors.append(abs(estimate - wait) / wait)
    assert len(errors) > 20
    assert median(errors) <= 0.25


async def measured(service: Service, seconds: float = 10) -> None:
    """A server whose model takes so long, and which has three to do: one runs, two wait."""
    await service.submit()
    await service.run(seconds)
    for _ in range(3):
        await service.submit()
    await service.claim()


@pytest.mark.parametrize(
    ("options", "retry_after"),
    [
        ({"queue_timeout": 12}, 18),
        ({"deadline": 25}, 15),
        ({"queue_timeout": 29, "deadline": 100}, 1),
    ],
)
async def test_what_cannot_be_done_in_time_is_refused_with_both_numbers(
    service: Service, options: dict[str, Any], retry_after: int
) -> None:
    await measured(service)
    response = await service.predict(headers={"Async-Mode": "true"}, **options)
    assert (response.status_code, response.json()["code"]) == (429, "queue_full")
    assert response.headers["Retry-After"] == str(retry_after)
    asked = next(iter(options.values()))
    expected = 40 if "deadline" in options and "queue_timeout" not in options else 30
    assert f"about {expected} s" in response.json()["detail"]
    assert f"{asked} s." in response.json()["detail"]
    assert (await service.broker.stats())["m"].queued == 2


@pytest.mark.parametrize("options", [{"queue_timeout": 31}, {"deadline": 41}])
async def test_what_can_be_done_in_time_is_taken_in(
    service: Service, options: dict[str, Any]
) -> None:
    await measured(service)
    assert await service.submit(**options)


async def test_what_can_start_at_once_is_not_refused_because_others_took_longer(
    service: Service,
) -> None:
    await service.submit()
    await service.run(10)
    assert await service.submit(deadline=5)


async def test_a_retry_after_is_no_longer_than_until_it_could_start(service: Service) -> None:
    await measured(service)
    response = await service.predict(headers={"Async-Mode": "true"}, deadline=1)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "30")


async def test_a_caller_who_waits_goes_ahead_and_has_less_to_wait_for(service: Service) -> None:
    await measured(service)
    headers = {"Prefer": "wait=1"}
    assert (await service.predict(headers=headers, queue_timeout=15)).status_code == 202


async def test_as_long_as_nothing_was_measured_nothing_is_refused(service: Service) -> None:
    for _ in range(5):
        await service.submit()
    assert await service.submit(queue_timeout=0.001)


async def test_a_repeat_is_never_refused_for_lack_of_time(service: Service) -> None:
    id = await service.submit(KEY, queue_timeout=12)
    await measured(service)
    assert await service.submit(KEY, queue_timeout=12) == id


async def test_a_retry_after_is_the_wait_and_one_run(service: Service) -> None:
    await measured(service)
    response = await service.predict(headers={"Async-Mode": "true"})
    assert response.headers["Retry-After"] == "40"
    service.clock.advance(4)
    response = await service.client.get(response.headers["Location"])
    assert response.headers["Retry-After"] == "36"


class Elsewhere(MemoryBroker):
    """A broker that others are about to reach again: what it knows of the queue takes its time."""

    refuses = False

    async def overview(self) -> Overview:
        if self.refuses:
            raise Unavailable("It is away.")
        never: asyncio.Future[Overview] = asyncio.get_running_loop().create_future()
        return await never


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_broker_that_does_not_say_how_long_it_takes_delays_no_202(refuses: bool) -> None:
    broker = Elsewhere(Limits(), ManualClock())
    broker.refuses = refuses
    made = await broker.submit(new(), keep=True)
    async with asyncio.timeout(PATIENCE):
        assert await retry_after(broker, ManualClock(), made) == 5
        assert await room_after(broker, "m") == 5
