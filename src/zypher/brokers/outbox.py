"""The webhooks that are being called: what is taken, and news for those who want to take more."""

import asyncio
from collections import Counter
from math import inf
from typing import NamedTuple
from urllib.parse import urlsplit

from zypher.brokers.base import MOST_TO_ONE_HOST
from zypher.brokers.queue import Entry
from zypher.prediction import Prediction


class Undelivered(NamedTuple):
    """A webhook that has to be called; they sort in the order in which that is due."""

    due: float  # wall time
    place: int
    entry: Entry
    failures: int

    @property
    def host(self) -> str:
        """Who is called."""
        return host_of(self.entry.record)


class Outbox:
    """The deliveries that are taken. Those that wait are where the broker has its records."""

    def __init__(self) -> None:
        self.news = asyncio.Event()  # there may be something to take that was not there before
        self.first_due = inf  # wall time: the first of those that were put off
        self._taken: dict[str, Undelivered] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._taken

    def take(self, one: Undelivered) -> None:
        """It is being delivered from now on."""
        self._taken[one.entry.record.id] = one
        self.news.set()  # others may look for the next

    def taken(self, id: str) -> Undelivered | None:
        """The delivery of this id, if it is under way."""
        return self._taken.get(id)

    def let_go(self, id: str) -> None:
        """It is not under way any more."""
        if self._taken.pop(id, None):
            self.news.set()  # there is room for another one to this host

    def put_off_until(self, at: float) -> None:
        """Something is due at this wall time."""
        self.first_due = min(self.first_due, at)

    def wake(self, now: float) -> None:
        """Tell of what was put off until now."""
        if self.first_due <= now:
            self.first_due = inf
            self.news.set()

    @property
    def places(self) -> set[int]:
        """The places of what is taken."""
        return {one.place for one in self._taken.values()}

    @property
    def busy_hosts(self) -> set[str]:
        """The hosts that are not to be called once more now."""
        calls = Counter(one.host for one in self._taken.values())
        return {host for host, count in calls.items() if count >= MOST_TO_ONE_HOST}


def is_to_be_delivered(record: Prediction) -> bool:
    """True if it has ended and has a webhook."""
    return record.options.webhook is not None and record.status.terminal


def host_of(record: Prediction) -> str:
    """Who is called by its webhook; nobody if that is not a URL."""
    try:
        return urlsplit(record.options.webhook or "").hostname or ""
    except ValueError:
        return ""
