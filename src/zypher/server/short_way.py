"""The short way from a request to its endpoint, past the framework."""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from zypher.server.fields import Fields
from zypher.server.gate import Handler
from zypher.server.problems import fault
from zypher.server.routes import ProblemRoute, answer_to
from zypher.server.state import ServerState
from zypher.tracing import Tracing


class ShortWay:
    """Takes requests to those endpoints that need nothing but the request.

    For the framework to find that out anew takes a good part of the time of a request. In the
    application of a host it is not there: a host may make the endpoints depend on more, and its
    framework makes the spans of requests. Here those have one that ask for something to be done;
    polls and probes have none, in which they would drown.
    """

    def __init__(self, routes: Sequence[BaseRoute], state: ServerState) -> None:
        self._state = state
        known = [
            (route, route.behind_gate(route.endpoint))
            for route in routes
            if isinstance(route, ProblemRoute) and _takes_the_request(route.endpoint)
        ]
        self._fixed: dict[tuple[str, str], Handler] = {
            (method, route.path): handle
            for route, handle in known
            if not route.param_convertors
            for method in route.methods or ()
        }
        self._patterns = [(route, handle) for route, handle in known if route.param_convertors]

    async def answers(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a request; False if it is not for one of those endpoints."""
        handle = self._handler(scope)
        if handle is None:
            return False
        request = PlainRequest(scope, receive, send)
        if self._state.tracing is not None and scope["method"] == "POST":
            handle = partial(_traced, self._state.tracing, handle)
        try:
            response = await answer_to(handle, request)
        except Exception:
            if scope["method"] == "POST":
                self._state.note_refusal("internal")
            await fault()(scope, receive, send)  # the server writes into its log what it was
            raise
        await response(scope, receive, send)
        return True

    def _handler(self, scope: Scope) -> Handler | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        handle = self._fixed.get((scope["method"], path))
        if handle is None:
            for route, its in self._patterns:
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.update(found)
                    return its
        return handle


class PlainRequest(Request):
    """A request whose header fields are found without looking through all of them."""

    @cached_property
    def headers(self) -> Headers:
        return Fields(self.scope)


async def _traced(tracing: Tracing, handle: Handler, request: Request) -> Response:
    """What is answered, within the span of the request."""
    route = request.scope.get("route")
    path = request.scope["path"] if route is None else route.path
    with tracing.request(request.method, path, request.headers) as span:
        response = await answer_to(handle, request)
        tracing.answered(span, response.status_code)
        return response


def _takes_the_request(endpoint: Callable[..., Any]) -> bool:
    return list(inspect.signature(endpoint).parameters) == ["request"]
