"""Whatever is done on whichever of several nodes, they do together what the contract says."""

import random
from typing import Any

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.redis_servers import RedisServer
from zypher.brokers import Limits
from zypher.brokers.redis import RedisBroker
from zypher.testing.clock import ManualClock
from zypher.testing.machine import BrokerMachine

# Each takes as long as several of a broker in one process do.
EXAMPLES = 5


class OtherClock:
    """The clock of a machine that has run for hours longer: its wall clock says the same."""

    def __init__(self, clock: ManualClock, hours: float) -> None:
        self._clock = clock
        self._up = hours * 3600

    def wall(self) -> float:
        return self._clock.wall()

    def steady(self) -> float:
        return self._clock.steady() + self._up


class Nodes:
    """Several brokers as one: each verb is used on the next of them, in an order without a rule.

    A worker is at home at one of them: there alone it is told what was withdrawn.
    """

    def __init__(self, brokers: list[RedisBroker]) -> None:
        self._brokers = brokers
        self._chance = random.Random(0)

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._chance.choice(self._brokers), verb)

    def withdrawn(self, worker: str, *, timeout: float) -> Any:
        return self._brokers[ord(worker) % len(self._brokers)].withdrawn(worker, timeout=timeout)

    async def start(self) -> None:
        for broker in self._brokers:
            await broker.start()
        for broker in self._brokers * 2:  # they agree on the time, which stands still from now on
            await broker._sweep()

    async def claim(self, *arguments: Any, **options: Any) -> Any:
        claimed = await self._chance.choice(self._brokers).claim(*arguments, **options)
        await self._note_the_beat()
        return claimed

    async def renew(self, *arguments: Any) -> Any:
        lost = await self._chance.choice(self._brokers).renew(*arguments)
        await self._note_the_beat()
        return lost

    async def _note_the_beat(self) -> None:
        """All see when a lease began; else one may find a part of what was lost with a worker."""
        for broker in self._brokers:
            await broker.renew("nobody", [])

    async def reclaim(self) -> int:
        """All of them have a janitor."""
        return sum([await broker.reclaim() for broker in self._brokers])

    async def aclose(self) -> None:
        for broker in self._brokers:
            await broker.aclose()


def test_whatever_is_done_on_any_node_they_do_what_the_contract_says(
    redis_server: RedisServer,
) -> None:
    class Machine(BrokerMachine):
        """All that can be done, on nodes that have run for different times."""

        async def open(self, limits: Limits, clock: ManualClock) -> Any:
            redis_server.call("FLUSHALL")
            hours = (0.0, 5.0, -0.25)
            return Nodes(
                [RedisBroker(redis_server.url, limits, OtherClock(clock, up)) for up in hours]
            )

    run_state_machine_as_test(Machine, settings=settings(max_examples=EXAMPLES))
