"""Following a prediction: its events in order, over as many connections as that takes."""

from collections.abc import Iterator

import httpx2
import msgspec

from zypher.client import requests
from zypher.client.answers import Reply, error_of
from zypher.client.calls import Calls
from zypher.client.requests import Request
from zypher.client.values import Event, is_final


class Following:
    """How far one prediction was followed. A shell connects, until it `has_ended`."""

    def __init__(self, calls: Calls, id: str) -> None:
        self.has_ended = False
        self._calls = calls
        self._id = id
        self._last: str | None = None
        self._last_status: Event | None = None
        self._pause = 0.0
        self._persistence = calls.persistence()

    @property
    def request(self) -> Request:
        """The next connection to make."""
        return requests.events(self._id, self._last)._replace(pause=self._pause)

    def refused(self, response: httpx2.Response) -> None:
        """There came no events. Raises the error that the answer tells of, unless it may pass."""
        if self._bear(response) is None:
            raise error_of(response)

    def told(self, sent: httpx2.ServerSentEvent) -> Iterator[Event]:
        """What a server-sent event tells that is new: after coming back, the status is not."""
        self._calls.has_answered = True
        self._persistence = self._calls.persistence()
        self._last = sent.id or self._last
        event = Event(sent.event, msgspec.json.decode(sent.data))
        if event.type == "status":
            if event == self._last_status:
                return
            self._last_status = event
            self.has_ended = is_final(event.data["status"])
        yield event

    def stopped(self) -> None:
        """The server has ended the stream, maybe before the prediction has ended."""
        if not self.has_ended:
            self.broke(httpx2.RemoteProtocolError("the stream of events was cut off"))

    def broke(self, error: httpx2.TransportError) -> None:
        """The connection broke. Raises an error when it is enough."""
        self._bear(error)

    def _bear(self, reply: Reply) -> float | None:
        pause = self._calls.bear(reply, self._persistence, is_safe=True)
        self._pause = pause or 0.0
        return pause


def has_events(response: httpx2.Response) -> bool:
    """True for an answer that is a stream of events."""
    return response.headers.get("Content-Type", "").startswith("text/event-stream")
