"""The journal: one thread that writes moves to the file, as many at once as have arrived.

The event loop hands over what it decided, and is told when that is on the disk. No timer is
involved: while one commit is under way the next batch gathers, so that load makes the batches.

When the disk fails, new predictions are refused, and the moves of those that were accepted
before are held and tried again until the disk takes them.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

from zypher.brokers.queue import Move, resolve
from zypher.brokers.sqlite.opening import is_damage
from zypher.brokers.sqlite.records import Unreadable
from zypher.brokers.sqlite.store import Store
from zypher.errors import ConfigurationError, StorageFull, Unavailable
from zypher.logs import about

log = logging.getLogger("zypher.broker")

T = TypeVar("T")

# The most calls of `write` and `ask` that are served at once.
_BATCH = 256

# After a failure the disk is tried again this often, and after so long without work the log is
# written back. In seconds.
_PAUSE = 1.0


class Trouble(NamedTuple):
    """Why nothing can be written now; `lasting` if it takes a person to mend it."""

    sentence: str
    error: type[Unavailable] | type[StorageFull] = Unavailable
    lasting: bool = False


class Write(NamedTuple):
    """Moves that are written together. New predictions may be refused, other moves not."""

    moves: Sequence[Move]
    written: asyncio.Future[bool]
    refusable: bool


class Ask(NamedTuple):
    """A question to the store; one that `follows` is asked after the writes before it."""

    question: Callable[[Store], Any]
    answered: Callable[[Any], object]
    failed: Callable[[Exception], object]
    follows: bool


class KnownId(Exception):
    """A new prediction has the id of one that is on the disk already."""


class Listener(Protocol):
    """Who is told, on the event loop, what became of the file and of the writes."""

    def opened(self, found: Any) -> None:
        """The file is open; `found` is what the opener found in it."""

    def written(self, moves: Sequence[Move]) -> None:
        """These are on the disk."""

    def refused(self, moves: Sequence[Move]) -> None:
        """These new ones never will be."""

    def stalled(self) -> None:
        """The disk has begun to fail."""

    def resumed(self) -> None:
        """The disk takes writes again."""


class Journal:
    """What the event loop sees of the thread. `trouble` is None while all is well."""

    def __init__(
        self, path: Path, open: Callable[[], tuple[Store, Any]], listener: Listener
    ) -> None:
        self.trouble: Trouble | None = None
        self._path = path
        self._open = open
        self._listener = listener
        self._is_stopped = False
        self._turns_calls: list[Write | Ask] = []  # of this turn of the event loop
        self._inbox: SimpleQueue[list[Write | Ask] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        # The thread's own.
        self._store: Store | None = None
        self._failing: Trouble | None = None
        self._unwritten: list[Write] = []
        self._try_again_at = 0.0
        self._stopping = False

    # On the event loop.

    async def start(self) -> None:
        """Open the file. Raises `ConfigurationError` when it cannot be this queue's.

        A disk that fails or a damaged file raises nothing: it is `trouble`.
        """
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._thread.start()
        await self._started

    def write(self, moves: Sequence[Move], *, refusable: bool = False) -> asyncio.Future[bool]:
        """Have moves written. The future is True once they are.

        It is False when the disk failed: the moves are held, and written once it recovers.
        `refusable` ones are refused then, and the future raises.
        """
        written: asyncio.Future[bool] = self._loop.create_future()
        if self._is_stopped or (self.trouble is not None and not refusable):
            resolve(written, False)
        self._enlist(Write(moves, written, refusable))
        if not refusable:  # what a worker tells at once is together already
            self._hand_over()
        return written

    async def ask(self, question: Callable[[Store], T], *, follows: bool = False) -> T:
        """What the store answers. Raises `Unavailable` when it cannot."""
        answer: asyncio.Future[T] = self._loop.create_future()
        self.call(question, partial(resolve, answer), partial(_fail, answer), follows=follows)
        return await answer

    def call(
        self,
        question: Callable[[Store], T],
        answered: Callable[[T], object],
        failed: Callable[[Exception], object],
        *,
        follows: bool = False,
    ) -> None:
        """Ask the store, and be called with its answer before anything that was written later.

        Raises `Unavailable` when nobody is there to ask.
        """
        if self._is_stopped or not self._thread.is_alive():
            raise Unavailable("The queue is not open.")
        self._enlist(Ask(question, answered, failed, follows))

    async def settled(self) -> None:
        """Wait until all that was handed over before is written, refused, or held."""
        await self.ask(lambda _: None, follows=True)

    async def backup(self, target: Path) -> None:
        """Copy the file while it is in use: what arrives meanwhile is served between the steps."""
        await self.ask(lambda store: store.backup(target, self._between), follows=True)

    def require_health(self) -> None:
        """Raise the error of the present trouble, if there is one."""
        if self.trouble is not None:
            raise self._error(self.trouble)

    async def stop(self) -> None:
        """Write what can be written, and close the file."""
        self._is_stopped = True
        if self._thread.is_alive():
            self._hand_over()
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)

    def _enlist(self, call: Write | Ask) -> None:
        """Hand a call to the thread, together with all else that this turn of the loop brings."""
        if not self._turns_calls:
            self._loop.call_soon(self._hand_over)
        self._turns_calls.append(call)

    def _hand_over(self) -> None:
        if self._turns_calls:
            self._inbox.put(self._turns_calls)
            self._turns_calls = []

    def _tell(self, what: Callable[..., object], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(what, *arguments)

    def _on_written(self, writes: Sequence[Write], known: set[int]) -> None:
        recorded = []
        for write in writes:
            if known and write.moves[0].entry.place in known:
                self._on_refused(write, KnownId())
            else:
                recorded.append(write)
        self._listener.written([move for write in recorded for move in write.moves])
        for write in recorded:
            resolve(write.written, True)

    def _on_refused(self, write: Write, error: Exception) -> None:
        self._listener.refused(write.moves)
        if not write.written.done():
            write.written.set_exception(error)

    def _on_failure(self, trouble: Trouble, writes: Sequence[Write]) -> None:
        if self.trouble is None:
            log.error("%s", trouble.sentence)
            self.trouble = trouble
            self._listener.stalled()
        self.trouble = trouble
        for write in writes:
            if write.refusable:
                self._on_refused(write, self._error(trouble))
            else:
                resolve(write.written, False)

    def _on_recovery(self) -> None:
        log.warning("%s can be written again.", self._path)
        self.trouble = None
        self._listener.resumed()

    def _error(self, trouble: Trouble) -> Exception:
        return trouble.error(trouble.sentence, retry_after=None if trouble.lasting else 5)

    # On the thread.

    def _work(self) -> None:
        try:
            self._try_to_open()
        except BaseException as error:
            self._tell(_fail, self._started, error)
            return
        self._tell(resolve, self._started, None)
        while not self._stopping:
            if not self._turn(_PAUSE):
                self._rest()
        self._close()

    def _turn(self, patience: float) -> bool:
        """Serve what has arrived, or arrives within `patience` seconds; False if nothing did."""
        calls = self._gather(patience)
        asked = [call for call in calls if isinstance(call, Ask)]
        self._answer([ask for ask in asked if not ask.follows])
        self._commit([call for call in calls if isinstance(call, Write)])
        self._answer([ask for ask in asked if ask.follows])
        return bool(calls)

    def _gather(self, patience: float) -> list[Write | Ask]:
        calls: list[Write | Ask] = []
        with suppress(Empty):
            some = self._inbox.get(timeout=patience)
            while some is not None:
                calls += some
                if len(calls) >= _BATCH:
                    return calls
                some = self._inbox.get_nowait()
            self._stopping = True
        return calls

    def _between(self) -> None:
        self._turn(0)
        if self._stopping:
            raise Unavailable("The server is shutting down.")

    def _try_to_open(self) -> None:
        try:
            self._store, found = self._open()
        except ConfigurationError:
            raise
        except Exception as error:
            self._fail(error, [])
        else:
            self._tell(self._listener.opened, found)

    def _commit(self, writes: list[Write]) -> None:
        """Write a batch in one transaction; or hold it while the disk fails."""
        if self._failing is not None:
            self._hold(self._failing, writes)
            is_due = time.monotonic() >= self._try_again_at or self._stopping
            if self._failing.lasting or not is_due:
                return
            if self._store is None:
                with suppress(ConfigurationError):  # what was wrong still is
                    self._try_to_open()
            if self._store is None:
                return
            writes, self._unwritten = self._unwritten, []
        if writes or self._failing is not None:
            assert self._store is not None
            self._write(self._store, writes)

    def _write(self, store: Store, writes: list[Write]) -> None:
        try:
            if self._failing is not None:
                store.beat()
            known = store.write([move for write in writes for move in write.moves])
        except Exception as error:
            if _is_of_disk(error):
                self._fail(error, writes)
            else:
                self._isolate(store, writes, error)
        else:
            self._recover()
            self._tell(self._on_written, writes, known)

    def _isolate(self, store: Store, writes: list[Write], error: Exception) -> None:
        """One move cannot be written, ever: find it, so that it does not stop the others."""
        self._recover()
        single = [Write([move], w.written, w.refusable) for w in writes for move in w.moves]
        if len(single) > 1:
            for number, write in enumerate(single):
                if self._failing is not None:  # the disk, meanwhile
                    self._hold(self._failing, single[number:])
                    break
                self._write(store, [write])
        elif single:
            refused = single[0].moves[0].after
            sentence = "prediction %s cannot be written"
            log.error(sentence, refused.id, exc_info=error, extra=about(refused))
            self._tell(self._on_refused, single[0], error)

    def _answer(self, asks: list[Ask]) -> None:
        for ask in asks:
            if self._store is None:
                assert self._failing is not None
                self._tell(ask.failed, self._error(self._failing))
                continue
            if ask.follows and self._failing is not None and self._failing.lasting:
                self._tell(ask.failed, self._error(self._failing))  # it may want to write
                continue
            try:
                answer = ask.question(self._store)
            except sqlite3.Error as error:
                if is_damage(error):
                    self._fail(error, [])
                self._tell(ask.failed, self._error(self._trouble(error)))
            except Unreadable as error:
                sentence = f"It cannot be read, for {self._path} is damaged: {error}."
                self._tell(ask.failed, Unavailable(sentence))
            except Exception as error:
                self._tell(ask.failed, error)
            else:
                self._tell(ask.answered, answer)

    def _rest(self) -> None:
        """Nothing is to do: write the log back into the file."""
        if self._store is None or self._failing is not None:
            return
        try:
            self._store.rest()
        except (sqlite3.Error, OSError) as error:
            self._fail(error, [])

    def _close(self) -> None:
        for write in self._unwritten:
            log.error("%d moves could not be written at the end.", len(write.moves))
        if self._store is not None:
            try:
                is_damaged = self._failing is not None and self._failing.lasting
                self._store.close(clean=not is_damaged)
            except (sqlite3.Error, OSError) as error:
                log.error("%s", self._trouble(error).sentence)

    def _fail(self, error: Exception, writes: list[Write]) -> None:
        """The disk failed: refuse what is new, and hold the rest."""
        self._failing = self._trouble(error)
        self._try_again_at = time.monotonic() + _PAUSE
        self._hold(self._failing, writes)

    def _hold(self, trouble: Trouble, writes: list[Write]) -> None:
        self._unwritten += [write for write in writes if not write.refusable]
        self._tell(self._on_failure, trouble, writes)

    def _recover(self) -> None:
        if self._failing is not None:
            self._failing = None
            self._tell(self._on_recovery)

    def _trouble(self, error: Exception) -> Trouble:
        if is_damage(error):
            return Trouble(
                f"{self._path} is damaged ({error}). Nothing is accepted asynchronously. Nothing "
                "was changed in it; a restart with --on-corrupt salvage saves what can be read.",
                lasting=True,
            )
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return Trouble(
                f"The disk under {self._path} is full. Nothing is accepted asynchronously until "
                "there is room.",
                StorageFull,
            )
        return Trouble(
            f"{self._path} cannot be written ({error}). Nothing is accepted asynchronously until "
            "it can."
        )


def _is_of_disk(error: Exception) -> bool:
    """True if the disk or the file failed; False if what was to be written is wrong."""
    return type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
