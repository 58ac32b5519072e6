"""The kind of route that all endpoints are: errors that they raise become problem answers.

It belongs to the route and not to the app, so that the endpoints answer the same when a host
application includes them in its own router. So does the gate in front of them.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from zypher.errors import PredictionError
from zypher.server.gate import OPEN, Gate, Handler
from zypher.server.problems import problem_of


class ProblemRoute(APIRoute):
    """A route whose handler may raise any `PredictionError`."""

    gate: ClassVar[Gate | None] = None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return partial(answer_to, self.behind_gate(super().get_route_handler()))

    def behind_gate(self, handle: Handler) -> Handler:
        """A handler of this route, for those who are let in."""
        if self.gate is None or self.path in OPEN:
            return handle
        return partial(self.gate.let_in, handle)


def routes_behind(gate: Gate | None) -> type[ProblemRoute]:
    """The kind of route that has this gate in front of it."""
    return type("GatedRoute", (ProblemRoute,), {"gate": gate})


async def answer_to(handle: Handler, request: Request) -> Response:
    """What a handler answers, or the answer for the error that it raises."""
    try:
        return await handle(request)
    except PredictionError as error:
        refusal = problem_of(error)
        if "upgrade" in request.headers:  # the parser takes what follows for something else
            refusal.headers["Connection"] = "close"
        return refusal
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is left to read it
