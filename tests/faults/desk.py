"""The desk of a fault test without processes: a durable broker, a clock, and a history."""

import time
from typing import Self

from tests.faults.history import Finish, History, Seen, Submit
from zypher.brokers import Limits, open_broker
from zypher.prediction import Claim, Outcome, Prediction, new_id
from zypher.testing.clock import ManualClock

LEASE = 30.0
HOUR = 3600.0
_LIMITS = Limits(lease=LEASE, ttl=3 * HOUR)


class Desk:
    """One client and one worker of a broker, which it opens for the `async with` block."""

    def __init__(self, url: str) -> None:
        self.clock = ManualClock()
        self.history = History()
        self._url = url
        self._latest: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        self.broker = open_broker(self._url, _LIMITS, self.clock)
        await self.broker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.broker.aclose()

    async def restart(self) -> None:
        """Close the broker and open it again."""
        await self.__aexit__()
        await self.__aenter__()

    async def submit(self) -> str:
        """Submit a prediction; its id."""
        id = new_id()
        asked = time.monotonic()
        prediction = Prediction(id=id, model="m", input=b"1", created=self.clock.wall())
        await self.broker.submit(prediction, keep=True)
        self.history.submits.append(Submit(id, asked, time.monotonic(), "ok", id))
        return id

    async def claim(self) -> Claim:
        """Claim the one that is next."""
        (claimed,) = await self.broker.claim("w", "m", limit=1, timeout=1)
        self._latest[claimed.id] = claimed.attempt
        return claimed.claim

    async def finish(self, claim: Claim) -> bool:
        """Tell the broker that this attempt has ended; True if it took that for the end."""
        outcome = Outcome(result=b"%d" % claim.attempt)
        refused = await self.broker.finish([(claim, outcome)])
        finish = Finish(claim.id, claim.attempt, self._latest[claim.id], not refused)
        self.history.finishes.append(finish)
        await self.look(claim.id)
        return finish.accepted

    async def look(self, id: str) -> None:
        """Note what the broker says of this id."""
        asked = time.monotonic()
        record = await self.broker.get(id)
        status, result = (record.status, record.result) if record else ("missing", b"")
        outcome = (result or b"").decode()
        self.history.seen.append(Seen(id, asked, time.monotonic(), status, outcome))
