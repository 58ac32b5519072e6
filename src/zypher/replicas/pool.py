"""The pool: keeps the replicas of one model alive, whatever happens to their processes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from zypher.errors import ModelLoadError
from zypher.replicas.frames import Described
from zypher.replicas.replica import Replica, ReplicaDied, ReplicaSpec

T = TypeVar("T")

log = logging.getLogger("zypher.replicas")

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0


class Pool:
    """`size` places, each with a task that keeps a living replica in it.

    `attend` is handed every replica that is ready and returns when it has died. `changed` is
    called after every change of `ready`, `starting` or `failure`.
    """

    def __init__(
        self,
        spec: ReplicaSpec,
        size: int,
        attend: Callable[[Replica], Awaitable[None]],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.spec = spec
        self.size = size
        self.replicas: set[Replica] = set()
        self.ready: set[Replica] = set()
        self.failure: ModelLoadError | None = None
        # The first replica that gets so far settles these; if all places fail before one
        # does, the error does.
        self.described: asyncio.Future[Described] = loop.create_future()
        self.up: asyncio.Future[None] = loop.create_future()
        self._attend = attend
        self._changed = changed
        self._failed_places: set[int] = set()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def has_been_ready(self) -> bool:
        """True from the first time on that one of its replicas was ready."""
        return self.up.done() and self.up.exception() is None

    def start(self) -> None:
        """Begin to fill all places."""
        self._tasks = [asyncio.create_task(self._keep(place)) for place in range(self.size)]

    async def stop(self) -> None:
        """End all replicas, and wait until their processes are gone."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, place: int) -> None:
        """Keep one place filled: start a replica, see it through its life, start the next."""
        deaths = 0  # in a row, for which no prediction can be blamed
        # A fault at the moment of a cancellation can take its place: hence the flag.
        while not self._stopping:
            await asyncio.sleep(restart_delay(deaths))
            replica = Replica(self.spec)
            try:
                await self._live_or_fail(replica, place)
            except Exception:
                log.exception("%s: a fault while a replica was attended", self.spec.name)
            blameless = not replica.in_flight and not replica.finished
            deaths = deaths + 1 if blameless else 0

    async def _live_or_fail(self, replica: Replica, place: int) -> None:
        try:
            await self._live(replica)
        except ModelLoadError as error:
            await self._fail(place, error)

    async def _live(self, replica: Replica) -> None:
        """The life of one replica; the place is empty again when this ends."""
        self.replicas.add(replica)
        try:
            await self._load(replica)
            self.failure = None
            self.ready.add(replica)
            await self._changed()
            await self._attend(replica)
        finally:
            self.ready.discard(replica)
            self.replicas.discard(replica)
            await replica.stop()
            await self._changed()

    async def _load(self, replica: Replica) -> None:
        timeout = self.spec.setup_timeout
        try:
            async with asyncio.timeout(timeout):
                await replica.start()
                _settle(self.described, replica.described)
                await replica.ready()
        except TimeoutError:
            raise ModelLoadError(
                f"{self.spec.target} was not ready within setup-timeout ({timeout:g} s). "
                "Give it more time with --setup-timeout, or have setup() do less."
            ) from None
        except ReplicaDied as error:
            raise ModelLoadError(f"{error} It had not finished loading the model.") from None
        _settle(self.up, None)

    async def _fail(self, place: int, error: ModelLoadError) -> None:
        self.failure = error
        self._failed_places.add(place)
        if self.up.done():
            log.error("%s: %s", self.spec.name, error.report)
        elif len(self._failed_places) == self.size:
            for milestone in (self.described, self.up):
                if not milestone.done():
                    milestone.set_exception(error)
                    milestone.exception()  # seen: whether anybody waits for it is their affair
        await self._changed()


def restart_delay(deaths: int) -> float:
    """Seconds to wait before the next start, after so many deaths that nothing explains.

    The first start and the first restart are at once.
    """
    if deaths <= 1:
        return 0.0
    return min(_FIRST_DELAY * 2.0 ** (deaths - 2), _LONGEST_DELAY)


def _settle(milestone: asyncio.Future[T], value: T) -> None:
    if not milestone.done():
        milestone.set_result(value)
