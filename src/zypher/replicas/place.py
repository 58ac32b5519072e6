"""One place of a pool: who is in it, who comes after, and when."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from zypher.errors import ModelLoadError
from zypher.replicas.checks import check
from zypher.replicas.replica import Replica, ReplicaDied

if TYPE_CHECKING:
    from zypher.replicas.pool import Pool

log = logging.getLogger("zypher.replicas")

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
_MOST_DOUBLINGS = 10  # by then it is the longest


class _Outdated(Exception):
    """What is being loaded is not the newest code any more."""


class Place:
    """Keeps a living replica in it, and has it make room for one that runs newer code.

    A retired replica lives on beside it until what it runs has finished. All replicas of a place
    have its `device`.
    """

    def __init__(self, pool: "Pool", device: str | None = None) -> None:
        self.version = -1  # of the code that its replica runs
        self.has_failed = False
        self._pool = pool
        self._device = device
        self._replica: Replica | None = None
        self._lives: dict[Replica, asyncio.Task[None]] = {}
        self._loading: asyncio.Task[None] | None = None  # the step that is under way
        self._deaths = 0  # in a row, for which no prediction can be blamed
        self._not_before = 0.0
        self._news = asyncio.Event()

    async def keep(self) -> None:
        """Fill the place whenever it is empty, and swap what is in it for newer code."""
        now = asyncio.get_running_loop().time
        # A fault at the moment of a cancellation can take its place: hence the flag.
        while not self._pool.is_stopping:
            self._news.clear()
            pause = None
            if self._is_wanting():
                pause = self._not_before - now()
                if pause <= 0:
                    await self._fill()
                    continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()

    def look(self) -> None:
        """Something has changed that this place may have waited for."""
        self._news.set()

    def renew(self) -> None:
        """The code has changed: what is being loaded is of no use any more."""
        self._deaths = 0
        self._not_before = 0.0
        if self._loading is not None:
            self._loading.cancel()
        self.look()

    async def clear(self) -> None:
        """End all replicas that are here, and wait until their processes are gone."""
        lives = [*self._lives.values()]
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)

    def _is_wanting(self) -> bool:
        """True if a replica is to be loaded."""
        pool = self._pool
        is_broken = pool.broken == pool.version
        if self._replica is None:
            return not (is_broken and pool.waits_for_saves)
        is_past = self.version < pool.version or self._replica.is_worn
        return is_past and not is_broken and pool.may_swap(self)

    async def _fill(self) -> None:
        """Load a replica of the code as it is now, and have it take the place."""
        pool, version = self._pool, self._pool.version
        replica = Replica(pool.spec, self._device, worn=self.look)
        pool.replicas.add(replica)
        if self._replica is not None:
            pool.begin_swap(self)
            self._replica.departure = "reload" if self.version < version else "recycled"
        try:
            await self._load(replica, version)
            await self._take_over(replica, version)
        except _Outdated:
            pass
        except ModelLoadError as error:
            # What is merely worn has been loaded before, and may be again.
            is_new = self._replica is None or self.version < version
            await self._fail(error, version if is_new else None)
        except ReplicaDied as error:
            # Perhaps somebody killed it: that says nothing of the code, and the next may live.
            await self._fail(ModelLoadError(f"{error} It had not finished loading the model."))
        except Exception:
            about = {"model": pool.spec.name, "replica": replica.pid}
            log.exception("%s: a fault while a replica was loaded", pool.spec.name, extra=about)
            self._note_death(is_blameless=True)
        finally:
            if replica not in self._lives:
                await replica.stop()
                pool.replicas.discard(replica)
            pool.end_swap(self)

    async def _load(self, replica: Replica, version: int) -> None:
        """Have a replica load the model. Raises `_Outdated` if its code is, before it is ready."""
        pool, now = self._pool, asyncio.get_running_loop().time
        begun, saved_before = now(), time.time()
        left = pool.spec.setup_timeout
        try:
            await self._unless_renewed(replica.start, version, left)
            pool.note_described(replica.described)
            pool.watch.add(replica.files, saved_before)
            left -= now() - begun
            if pool.spec.swap == "replace":
                await self._empty()
            await self._unless_renewed(replica.set_up, version, left)
            pool.watch.keep(replica.files)
            seconds = round(now() - begun, 3)
            extra = {"model": pool.spec.name, "replica": replica.pid, "seconds": seconds}
            log.info("%s: a replica is ready after %g s", pool.spec.name, seconds, extra=extra)
        finally:
            pool.watch.add(replica.files, saved_before)

    async def _unless_renewed(
        self, step: Callable[[], Awaitable[None]], version: int, timeout: float
    ) -> None:
        """Take a step in time. Raises `_Outdated` once there is a newer version."""
        self._loading = asyncio.create_task(self._in_time(step, timeout))
        try:
            await asyncio.wait([self._loading])
        finally:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._loading.cancelled() or version != self._pool.version:
            raise _Outdated
        self._loading.result()

    async def _in_time(self, step: Callable[[], Awaitable[None]], timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await step()
        except TimeoutError:
            spec = self._pool.spec
            raise ModelLoadError(
                f"{spec.target} was not ready within setup-timeout ({spec.setup_timeout:g} s). "
                "Give it more time with --setup-timeout, or have setup() do less."
            ) from None

    async def _empty(self) -> None:
        """Have all that is in this place finish what it runs, and end."""
        if self._replica is not None:
            await self._retire(self._replica)
        if self._lives:
            await asyncio.wait([*self._lives.values()])

    async def _take_over(self, replica: Replica, version: int) -> None:
        """From now on this replica is the one in this place."""
        pool, old = self._pool, self._replica
        self._replica, self.version = replica, version
        self._lives[replica] = asyncio.create_task(self._live(replica))
        pool.ready.add(replica)
        if old is not None:
            pool.ready.discard(old)
        pool.note_ready(replica.described)
        await pool.changed()
        if old is not None:
            await self._retire(old)
        pool.note_swapped()

    async def _retire(self, replica: Replica) -> None:
        if replica is self._replica:
            self._replica = None
        if replica.departure == "recycled":
            name, megabytes = self._pool.spec.name, replica.memory // 1_000_000
            log.info(
                "%s: a replica is replaced: it has finished %d predictions and holds %d MB",
                *(name, replica.finished, megabytes),
                extra={"model": name, "replica": replica.pid},
            )
        self._pool.ready.discard(replica)
        await self._pool.retire(replica)
        replica.retire()
        await self._pool.changed()

    async def _live(self, replica: Replica) -> None:
        """The life of one replica, from its first work to its end."""
        pool = self._pool
        cares = [
            asyncio.create_task(care)
            for care in (self._see_that_it_is_well(replica), self._weigh(replica))
        ]
        try:
            await pool.attend(replica)
        except Exception:
            about = {"model": pool.spec.name, "replica": replica.pid}
            log.exception("%s: a fault while a replica was attended", pool.spec.name, extra=about)
        finally:
            for care in cares:
                care.cancel()
            pool.ready.discard(replica)
            await replica.stop()
            pool.replicas.discard(replica)
            del self._lives[replica]
            pool.note_ended(replica)
            if replica is self._replica:
                self._replica = None
                self._note_death(is_blameless=not replica.in_flight and not replica.finished)
            await pool.changed()

    async def _see_that_it_is_well(self, replica: Replica) -> None:
        """Ask a replica how it is, whenever it is idle; have it replaced if it is not well."""
        spec = self._pool.spec
        with contextlib.suppress(ReplicaDied):
            while True:
                await asyncio.sleep(spec.healthcheck_interval)
                if complaint := await check(replica, spec.healthcheck_timeout):
                    about = {"model": spec.name, "replica": replica.pid}
                    log.warning("%s: a replica is replaced: %s", spec.name, complaint, extra=about)
                    replica.departure = "unhealthy"
                    replica.retire()
                    return

    async def _weigh(self, replica: Replica) -> None:
        """Look at the memory of a replica in service, also while it runs something."""
        spec = self._pool.spec
        while spec.recycle_memory is not None and not replica.is_worn:
            await asyncio.sleep(spec.healthcheck_interval)
            if replica.memory > spec.recycle_memory:
                replica.is_worn = True
                self.look()

    async def _fail(self, error: ModelLoadError, version: int | None = None) -> None:
        """It could not be loaded; if that is the fault of the code, of this version."""
        self.has_failed = True
        self._pool.restarts.count("setup")
        self._note_death(is_blameless=True)
        if version is not None:
            self._pool.broken = version
        await self._pool.note_failed(error)

    def _note_death(self, *, is_blameless: bool) -> None:
        self._deaths = self._deaths + 1 if is_blameless else 0
        self._not_before = asyncio.get_running_loop().time() + restart_delay(self._deaths)
        self.look()


def restart_delay(deaths: int) -> float:
    """Seconds to wait before the next start, after so many deaths that nothing explains.

    The first start and the first restart are at once.
    """
    if deaths <= 1:
        return 0.0
    return min(_FIRST_DELAY * 2.0 ** min(deaths - 2, _MOST_DOUBLINGS), _LONGEST_DELAY)
