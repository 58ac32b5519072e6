"""Whether the caller is still there."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

# Seconds before it is looked whether the caller has hung up: most waits are over by then, and
# cost nothing more than a timer.
_SOON = 0.02


class while_connected:  # noqa: N801 - read as the condition of a `with` block
    """Raise `ClientDisconnect` out of the `with` block as soon as the caller has hung up.

    The body of the request has to be read before.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_hung_up = False
        self._listening: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._timer = self._loop.call_later(_SOON, self._listen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._listening is None:
            return
        self._listening.cancel()
        was_ours = self._has_hung_up and self._task.uncancel() <= self._cancelling
        if was_ours and isinstance(error, asyncio.CancelledError):
            raise ClientDisconnect from error

    def _listen(self) -> None:
        self._listening = self._loop.create_task(self._wait_for_the_end())

    async def _wait_for_the_end(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_hung_up = True
        self._task.cancel()
