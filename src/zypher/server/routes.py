"""The kind of route that all endpoints are: errors that they raise become problem answers.

It belongs to the route and not to the app, so that the endpoints answer the same when a host
application includes them in its own router.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from zypher.errors import PredictionError
from zypher.server.problems import problem_of


class ProblemRoute(APIRoute):
    """A route whose handler may raise any `PredictionError`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except PredictionError as error:
                response = problem_of(error)
                if "upgrade" in request.headers:  # the parser takes what follows for something else
                    response.headers["Connection"] = "close"
                return response
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is left to read it

        return handle_errors
