"""Which replica makes room for suspects: they run in one that is idle, and no other."""

import asyncio

from zypher.metrics import Spread
from zypher.replicas.replica import Replica

# How long a replica takes nothing more for the sake of suspects, in seconds: so long at first, and
# twice as long whenever that was in vain, up to the most; but at least so many times as long as
# a run takes.
_FIRST = 1.0
_MOST = 32.0
_RUNS = 2

# And so many times as long it goes on with others before it tries again.
_REST = 3


class Clearing:
    """When the replicas of one model take suspects, at one worker.

    An idle one always does. Where none is, one at a time takes nothing more until it is idle,
    while the others go on. It gives up after a while, as a run there may never end: then it goes
    on, too, and another one may try.
    """

    def __init__(self, run_seconds: Spread) -> None:
        self._run_seconds = run_seconds
        self._clears: Replica | None = None
        self._in_vain: dict[Replica, int] = {}
        self._rests_until: dict[Replica, float] = {}  # the loop's time

    def takes_suspects(self, replica: Replica) -> bool:
        """False for one that passes them over now."""
        if not replica.is_busy:
            return True
        if self._clears is not None:
            return False
        return replica not in self._rests_until or _now() >= self._rests_until[replica]

    async def clear(self, replica: Replica) -> None:
        """Wait until a replica is idle, if it is its turn, but not for ever."""
        if not self.takes_suspects(replica):
            return  # another one was quicker
        patience = self._patience(replica)
        self._clears = replica
        try:
            async with asyncio.timeout(patience):
                await replica.is_idle()
            self.forget(replica)
        except TimeoutError:
            self._in_vain[replica] = self._in_vain.get(replica, 0) + 1
            self._rests_until[replica] = _now() + _REST * patience
        finally:
            self._clears = None

    def forget(self, replica: Replica) -> None:
        """It is idle, or gone."""
        self._in_vain.pop(replica, None)
        self._rests_until.pop(replica, None)

    def _patience(self, replica: Replica) -> float:
        runs = sum(self._run_seconds.counts)
        mean = self._run_seconds.sum / runs if runs else 0.0
        return max(_RUNS * mean, min(_FIRST * 2.0 ** self._in_vain.get(replica, 0), _MOST))


def _now() -> float:
    return asyncio.get_running_loop().time()
