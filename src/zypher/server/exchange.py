"""The plain calls of one connection, one after the other, each from its body to its answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableSet
from typing import Any

from fastapi import Response
from uvicorn.server import ServerState

from zypher.errors import PredictionError
from zypher.server.direct_way import DirectWay, PlainCall, PlainPoll
from zypher.server.problems import problem_of, problem_with_id
from zypher.server.writing import CLOSE, OneWrite, head_of

log = logging.getLogger("zypher.server")


class Exchange:
    """A call that goes the direct way, and its answer: what a cycle of uvicorn is to others.

    There is one for each connection, which is used again and again. `on_answer` hears of each
    answer that was written.
    """

    message_event = asyncio.Event()  # which connections set: nobody waits for it

    def __init__(
        self,
        way: DirectWay,
        writer: OneWrite,
        server_state: ServerState,
        on_answer: Callable[[], None],
    ) -> None:
        self._way = way
        self._writer = writer
        self._server_state = server_state
        self._on_answer = on_answer
        self._call: PlainCall | PlainPoll | None = None
        self._id = ""
        self._outcome: asyncio.Future[Any] | None = None
        self._tell: Callable[[Any], Response | Awaitable[Response]] | None = None
        # What a connection asks of a cycle, and tells it.
        self.response_started = False
        self.response_complete = True
        self.keep_alive = True
        self.disconnected = False

    @property
    def outcome(self) -> asyncio.Future[Any]:
        """What its caller waits for."""
        assert self._outcome is not None
        return self._outcome

    def begin(self, call: PlainCall | PlainPoll, body: bytes) -> bool:
        """Take a call in; False, and nothing has happened, if it has to go the usual way."""
        taken = self._way.take_in(call, body)
        if taken is None:
            return False
        self._call = call
        self._id, self._outcome, self._tell = taken
        self.response_complete = False
        if call.waits:
            self._way.patient.add(self)
        else:
            self._way.others.add(taken.outcome)
            taken.outcome.add_done_callback(self._way.others.discard)
        self._outcome.add_done_callback(self._conclude)
        return True

    def expire(self) -> None:
        """Its caller has been patient for long enough: it goes on by itself, and they learn so."""
        assert isinstance(self._call, PlainCall)
        if self.outcome.done():
            return  # it came in this very turn, and is about to be told
        self._let_go()
        self._spawn(self._answer_later(self._way.late(self._id, self._call)))

    def hang_up(self) -> None:
        """The connection is lost."""
        self.disconnected = True
        if self._outcome is not None:
            assert self._call is not None
            self._let_go()
            if self._call.waits:  # else it was not for this caller that it runs
                self._spawn(self._way.abandon(self._id))

    def _conclude(self, outcome: asyncio.Future[Any]) -> None:
        if outcome is not self._outcome:
            return  # nobody waits for it any more
        assert self._tell is not None
        tell, self._tell, self._outcome = self._tell, None, None
        self._way.patient.discard(self)
        try:
            response = tell(outcome)
        except PredictionError as error:
            response = problem_with_id(error, self._id)
        except Exception:
            log.exception("A fault while an outcome was told")
            response = self._way.fault()
        match response:
            case Response():
                self._answer(response)
            case _:  # it takes more than a moment to say
                self._spawn(self._answer_later(response))

    async def _answer_later(self, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except PredictionError as error:
            response = problem_of(error)
        except Exception:
            log.exception("A fault while an answer was made")
            response = self._way.fault()
        self._answer(response)

    def _answer(self, response: Response) -> None:
        if self.disconnected:
            return
        fields = self._server_state.default_headers
        turns_away = CLOSE in fields
        closes = not self.keep_alive and not turns_away
        common = self._way.common_lines.of(fields)
        self._writer.write_answer(head_of(response, common, closes=closes), bytes(response.body))
        self.response_complete = True
        if closes or turns_away:
            self._writer.close()
        self._on_answer()

    def _let_go(self) -> None:
        assert self._outcome is not None
        outcome, self._outcome, self._tell = self._outcome, None, None  # which has its input
        outcome.cancel()
        self._way.patient.discard(self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with it, and have a server that ends wait for it."""
        tasks: MutableSet[asyncio.Task[None]] = self._server_state.tasks
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
