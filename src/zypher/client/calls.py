"""The steps of each call: which request comes next, and what its reply means.

A call is a generator that yields requests and is sent their replies; what it returns is what the
call returns. Nothing here sends or sleeps, so that there is one of each for both clients.
"""

from collections.abc import Generator
from math import inf
from time import monotonic
from typing import Any, TypeVar

import httpx2

from zypher.client import answers, requests
from zypher.client.answers import Page, Reply, error_of, trouble_of
from zypher.client.persistence import Persistence, Timer, checked
from zypher.client.requests import Request
from zypher.client.urls import checked_url
from zypher.client.values import Model, Options, Record
from zypher.errors import (
    Conflict,
    QueueFull,
    RateLimited,
    StorageFull,
    Unavailable,
    WaitTimeout,
)

T = TypeVar("T")
Steps = Generator[Request, Reply, T]

DEFAULT_URL = "http://127.0.0.1:8080"

# How long troubles are borne, in seconds: longer than a server takes to stop and start again.
PATIENCE = 60.0

# The most that a server is asked to wait before it answers, in seconds: proxies give up after 60,
# some after 30. To ask again costs nothing; a call that was cut off could not be repeated.
_LONGEST_CALL = 50
_LONGEST_POLL = 25

# The pause between polls of a server that does not wait.
_PAUSE = 0.25

# So long a server that has never answered is borne: most likely nobody has started it.
_FIRST_PATIENCE = 2.0

# A server that does not answer is not given up sooner, however short the patience: it may be busy.
_LEAST_TIME = 5.0

# What every server has at its root.
_ROOT_PATHS = ("/models", "/predict", "/predictions", "/readyz", "/stats")


class Calls:
    """All calls to the server at `url`.

    `timeout` is how long results are waited for, `patience` how long troubles are borne.
    """

    def __init__(self, url: str, timeout: float | None, patience: float) -> None:
        self.url = checked_url(url)
        self.has_answered = False
        self._timeout = None if timeout is None else checked("timeout", timeout)
        self._patience = checked("patience", patience)

    def predict(
        self,
        input: Any,
        model: str | None,
        key: str | None,
        options: Options,
        *,
        timeout: float | None = None,
        awaits_room: bool = False,
    ) -> Steps[Any]:
        """The result of an input."""
        timer = self._timer(timeout)
        request = requests.predict(input, model, key, options, wait=_LONGEST_CALL)
        persistence = Persistence(self._patience, timer, awaits_room=awaits_room)
        try:
            response = yield from self._send(request, persistence, is_safe=key is not None)
        except (QueueFull, RateLimited, StorageFull, Unavailable) as error:
            if timer.left:
                raise
            raise WaitTimeout(f"No result came within {timer.seconds:g} s. {error}") from error
        if response.status_code != 202:
            return answers.result(response)
        return (yield from self._wait(answers.accepted(response), timer))

    def submit(
        self, input: Any, model: str | None, key: str | None, options: Options
    ) -> Steps[str]:
        """The id of a prediction that goes on by itself."""
        key = requests.new_key() if key is None else key
        request = requests.predict(input, model, key, options, wait=None)
        return answers.accepted((yield from self._insist(request)))

    def wait(self, id: str, timeout: float | None) -> Steps[Any]:
        """The result of a prediction, once it has ended."""
        return self._wait(id, self._timer(timeout))

    def get(self, id: str) -> Steps[Record]:
        """The record of a prediction."""
        return answers.record((yield from self._insist(requests.get(id))))

    def cancel(self, id: str) -> Steps[Record]:
        """Call a prediction off, which may have been done already, by this very call too."""
        try:
            return answers.record((yield from self._insist(requests.cancel(id))))
        except Conflict:
            record = yield from self.get(id)
            if record.status != "canceled":
                raise
            return record

    def retry(self, id: str) -> Steps[str]:
        """The id of a new prediction of the same input."""
        return answers.accepted((yield from self._insist(requests.retry(id))))

    def delete(self, id: str) -> Steps[None]:
        """Have a prediction forgotten."""
        response = yield from self._send(requests.delete(id), self._brief(), is_safe=False)
        if not response.is_success:
            raise error_of(response)

    def page(self, query: dict[str, str]) -> Steps[Page]:
        """A page of the list of predictions."""
        request = Request("GET", "/predictions", query=query)
        return answers.page((yield from self._insist(request)))

    def models(self) -> Steps[list[Model]]:
        """The models that the server has."""
        return answers.models((yield from self._insist(Request("GET", "/models"))))

    def statistics(self) -> Steps[dict[str, Any]]:
        """Numbers about each model."""
        return answers.statistics((yield from self._insist(Request("GET", "/stats"))))

    def readiness(self) -> Steps[dict[str, Any]]:
        """How the server stands now: it is asked once."""
        reply = yield Request("GET", "/readyz")
        if isinstance(reply, httpx2.Response):
            return answers.readiness(self._at_root("/readyz", reply))
        trouble = trouble_of(reply, self.url)
        assert trouble is not None
        raise trouble.error

    def persistence(self) -> Persistence:
        """As much as there is for what may take as long as it likes."""
        return Persistence(self._patience, Timer(None))

    def bear(self, reply: Reply, persistence: Persistence, *, is_safe: bool) -> float | None:
        """How long to pause before a request is repeated; None if it was answered.

        `is_safe`: it may be repeated also if it was received. Raises the error that it may not be
        repeated for, or not any more.
        """
        self.has_answered |= isinstance(reply, httpx2.Response)
        trouble = trouble_of(reply, self.url)
        if trouble is None:
            return None
        if not (is_safe or trouble.is_refusal):
            raise trouble.error
        most = inf if self.has_answered else _FIRST_PATIENCE
        return persistence.pause_after(trouble, most=most)

    def _wait(self, id: str, timer: Timer) -> Steps[Any]:
        pause = 0.0
        while True:
            asked = monotonic()
            request = requests.poll(id, wait=_LONGEST_POLL, pause=pause)
            persistence = Persistence(self._patience, timer)
            try:
                response = yield from self._send(request, persistence, is_safe=True)
            except Unavailable as error:
                if timer.seconds == inf:
                    raise
                if not timer.left:
                    raise WaitTimeout(
                        f"Whether prediction {id} has ended could not be learned within "
                        f"{timer.seconds:g} s. {error}",
                        id=id,
                    ) from error
                pause = min(_PAUSE, timer.left)
                continue
            if response.status_code != 202:
                return answers.outcome(response)
            if not timer.left:
                raise WaitTimeout(
                    f"Prediction {id} has not ended within {timer.seconds:g} s. It goes on: wait "
                    "for it again with handle(id).wait(), or cancel it.",
                    id=id,
                )
            pause = 0.0 if monotonic() - asked > 1 else min(_PAUSE, timer.left)

    def _insist(self, request: Request) -> Steps[httpx2.Response]:
        """The answer to a request that can be repeated."""
        return self._send(request, self._brief(), is_safe=True)

    def _brief(self) -> Persistence:
        """As much as there is for what is answered at once, by a server that is well."""
        return Persistence(self._patience, Timer(max(self._patience, _LEAST_TIME)))

    def _send(
        self, request: Request, persistence: Persistence, *, is_safe: bool
    ) -> Steps[httpx2.Response]:
        """The answer to a request, which is repeated as long as that makes sense."""
        while True:
            reply = yield request.within(persistence.timer.left)
            pause = self.bear(reply, persistence, is_safe=is_safe)
            if pause is None:
                assert isinstance(reply, httpx2.Response)
                return self._at_root(request.path, reply)
            request = request._replace(pause=pause)

    def _at_root(self, path: str, response: httpx2.Response) -> httpx2.Response:
        """An answer. Raises an error if the server lacks what every one has at its root."""
        if path in _ROOT_PATHS and response.status_code in (404, 405):
            raise answers.wrong_root(response, self.url, path)
        return response

    def _timer(self, timeout: float | None) -> Timer:
        return Timer(self._timeout if timeout is None else checked("timeout", timeout))
