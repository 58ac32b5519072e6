"""The pool: keeps the replicas of one model alive, whatever happens to their processes."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from zypher.errors import ModelLoadError
from zypher.metrics import Metrics
from zypher.replicas.frames import Described
from zypher.replicas.place import Place
from zypher.replicas.replica import Replica
from zypher.replicas.spec import ReplicaSpec
from zypher.replicas.watch import Watch

T = TypeVar("T")

log = logging.getLogger("zypher.replicas")
news = logging.getLogger("zypher.reload")


class Pool:
    """`size` places, each of which keeps a living replica in it.

    `attend` is handed every replica that is ready and returns when it has died; `retire` is handed
    one that a newer takes the place of, and returns once nothing more is begun there. `changed` is
    called after every change of `ready`, `starting`, `running` or `failure`.

    `swap` has all replicas replaced, one place after the other, by such that run the code as it is
    then. If it cannot be loaded, the old one goes on, and so does a pool that `waits_for_saves`
    if there is none: it is loaded again when it was saved.

    `metrics` has the `restarts` that it counts.
    """

    def __init__(
        self,
        spec: ReplicaSpec,
        size: int,
        attend: Callable[[Replica], Awaitable[None]],
        retire: Callable[[Replica], Awaitable[None]],
        changed: Callable[[], Awaitable[None]],
        *,
        waits_for_saves: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.spec = spec
        self.size = size
        self.attend = attend
        self.retire = retire
        self.changed = changed
        self.waits_for_saves = waits_for_saves
        self.restarts = (metrics or Metrics()).restarts
        self.replicas: set[Replica] = set()
        self.ready: set[Replica] = set()
        self.running: Described | None = None  # what the newest replica runs
        self.failure: ModelLoadError | None = None
        # The first replica that gets so far settles these; if all places fail before one
        # does, the error does.
        self.described: asyncio.Future[Described] = loop.create_future()
        self.up: asyncio.Future[None] = loop.create_future()
        self.watch = Watch()
        self.version = 0  # of the code: how often it was to be swapped
        self.broken: int | None = None  # the version that could not be loaded, if it was the last
        self._swapping: Place | None = None
        self._told = 0  # the version of which was said that it runs
        self.is_stopping = False
        devices = itertools.cycle(spec.devices or [None])
        self._places = [Place(self, next(devices)) for _ in range(size)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to fill all places."""
        self._tasks = [asyncio.create_task(place.keep()) for place in self._places]

    def swap(self) -> None:
        """Have all replicas run the code as it is now. What is being loaded is loaded anew."""
        if not self.is_stopping:
            self.version += 1
            for place in self._places:
                place.renew()

    async def stop(self) -> None:
        """End all replicas, and wait until their processes are gone."""
        self.is_stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(place.clear() for place in self._places))
        while self.replicas:  # whose end was interrupted by that
            await self.replicas.pop().stop()

    # For its places.

    def may_swap(self, place: Place) -> bool:
        """True if it is this place's turn: while it is swapped, the others serve."""
        others_serve = self.size == 1 or len(self.ready) > 1
        return self._swapping in (None, place) and (others_serve or self.spec.swap == "overlap")

    def begin_swap(self, place: Place) -> None:
        """It is this place's turn, until `end_swap`."""
        self._swapping = place

    def end_swap(self, place: Place) -> None:
        """It is the turn of others, if it was this one's."""
        if self._swapping is place:
            self._swapping = None
        for other in self._places:
            other.look()

    def note_ended(self, replica: Replica) -> None:
        """A replica that was in service is no more."""
        if self.is_stopping:
            return
        died_because = "stuck" if replica.was_stuck else "crashed"
        self.restarts.count(replica.departure if replica.is_retired else died_because)

    def note_described(self, described: Described) -> None:
        """A replica has imported the model."""
        _settle(self.described, described)

    def note_ready(self, described: Described) -> None:
        """A replica of the newest code is ready."""
        self.running = described
        self.failure = self.broken = None
        _settle(self.up, None)

    def note_swapped(self) -> None:
        """A place runs the newest code; once all do, that is news."""
        runs_everywhere = all(place.version == self.version for place in self._places)
        if runs_everywhere and self._told != self.version:
            self._told = self.version
            news.info("%s runs the new code.", self.spec.name, extra={"model": self.spec.name})

    async def note_failed(self, error: ModelLoadError) -> None:
        """A replica could not be loaded."""
        self.failure = error
        if self.up.done() or self.waits_for_saves:
            name = self.spec.name
            log.error("%s: %s%s", name, error.report, self._prospects(), extra={"model": name})
        elif all(place.has_failed for place in self._places):
            for milestone in (self.described, self.up):
                if not milestone.done():
                    milestone.set_exception(error)
                    milestone.exception()  # seen: whether anybody waits for it is their affair
        await self.changed()

    def _prospects(self) -> str:
        """What goes on although a replica could not be loaded, and when it is tried again."""
        goes_on = f" ({self.spec.name} goes on with its old code.)" if self.ready else ""
        return goes_on + (" (It is loaded again when it is saved.)" if self.waits_for_saves else "")


def _settle(milestone: asyncio.Future[T], value: T) -> None:
    if not milestone.done():
        milestone.set_result(value)
