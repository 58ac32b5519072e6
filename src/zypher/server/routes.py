"""The kind of route that all endpoints are: errors that they raise become problem answers.

It belongs to the route and not to the app, so that the endpoints answer the same when a host
application includes them in its own router.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from zypher.errors import PredictionError
from zypher.server.problems import problem_of


class ProblemRoute(APIRoute):
    """A route whose handler may raise any `PredictionError`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        takes_request = list(inspect.signature(self.endpoint).parameters) == ["request"]

        async def handle_errors(request: Request) -> Response:
            try:
                if takes_request and is_ours(request.app):
                    response: Response = await self.endpoint(request)
                    return response
                return await handle(request)
            except PredictionError as error:
                refusal = problem_of(error)
                if "upgrade" in request.headers:  # the parser takes what follows for something else
                    refusal.headers["Connection"] = "close"
                return refusal
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is left to read it

        return handle_errors


def mark_as_ours(app: FastAPI) -> None:
    """Nothing but the request has to be found out for the endpoints of this application.

    To have the framework find that out takes as long as all the rest. A host may make the endpoints
    depend on more, such as its own authentication: there it is left to the framework.
    """
    app.state.is_ours = True


def is_ours(app: FastAPI) -> bool:
    """False for the application of a host."""
    return bool(getattr(app.state, "is_ours", False))
