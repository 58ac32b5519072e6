"""The kind of route that all endpoints are: errors that they raise become problem answers.

It belongs to the route and not to the app, so that the endpoints answer the same when a host
application includes them in its own router.
"""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from zypher.errors import PredictionError
from zypher.server.problems import problem_of


class ProblemRoute(APIRoute):
    """A route whose handler may raise any `PredictionError`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return partial(answer_to, super().get_route_handler())


async def answer_to(handle: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
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
