"""What workers are told of their claims that others have ended."""

import asyncio
from collections.abc import Sequence

from zypher.brokers.base import Withdrawal
from zypher.brokers.refusals import shutting_down


class Withdrawals:
    """What each worker has not been told yet."""

    def __init__(self) -> None:
        self._untold: dict[str, list[Withdrawal]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._closed = False

    def add(self, worker: str, withdrawal: Withdrawal) -> None:
        """A claim of this worker is withdrawn."""
        self._untold.setdefault(worker, []).append(withdrawal)
        if worker in self._news:
            self._news[worker].set()

    async def of(self, worker: str, timeout: float) -> Sequence[Withdrawal]:
        """What this worker has to be told; waits up to `timeout` until there is something.

        Raises `Unavailable` once this is closed.
        """
        news = self._news.setdefault(worker, asyncio.Event())
        if not self._untold.get(worker) and not self._closed:
            news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await news.wait()
            except TimeoutError:
                return []
        if self._closed:
            raise shutting_down()
        return self._untold.pop(worker, [])

    def forget(self, worker: str) -> None:
        """This worker will not ask again."""
        self._untold.pop(worker, None)
        self._news.pop(worker, None)

    def close(self) -> None:
        """Nothing will be told any more."""
        self._closed = True
        for news in self._news.values():
            news.set()
