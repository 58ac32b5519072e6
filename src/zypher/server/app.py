"""The HTTP application: the routes, and what is around them."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from zypher.server import page
from zypher.server.direct_way import DirectWay
from zypher.server.information import Information
from zypher.server.intake import Intake
from zypher.server.live import Live
from zypher.server.predictions import Predictions
from zypher.server.problems import fault, problem
from zypher.server.resource import Resource
from zypher.server.routes import routes_behind
from zypher.server.short_way import ShortWay
from zypher.server.state import ServerState
from zypher.server.writing import Field
from zypher.settings import Settings

_HOST = re.compile(r"([^\s:@\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d*)?")

# What a page of another origin may send, and read of an answer, beside what it always may.
_REQUEST_HEADERS = (
    *("Authorization", "X-API-Key", "Async-Mode", "async_mode", "Prefer", "Idempotency-Key"),
    *("Cancel-After", "Last-Event-ID", "traceparent", "tracestate"),
)
_ANSWER_HEADERS = ("X-Prediction-Id", "Location", "Retry-After", "Preference-Applied")

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build_app(state: ServerState, lifespan: Lifespan) -> FastAPI:
    """The application around one server's state.

    `app.router` can be included in a host application as well: the endpoints are the same
    objects and answer the same there.
    """
    return Application(state, lifespan)


class Application(FastAPI):
    """Our endpoints, by the short way where there is one, for requests to names that are allowed.

    A page of another site can have its own name resolve to 127.0.0.1 (DNS rebinding) and then
    reads what is served there; its requests still carry that name.

    Pages that came from one of `cors-origins` may call it from a browser.
    """

    def __init__(self, state: ServerState, lifespan: Lifespan) -> None:
        intake = Intake(state)
        router = build_router(state, intake)
        super().__init__(
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
            lifespan=lifespan,
            telemetry={"tracing": False, "metrics": False, "logs": False},  # ours: `ShortWay`
            exception_handlers={HTTPException: partial(_no_route, router), Exception: _fault},
        )
        self.include_router(router)
        self._allowed = allowed_hosts(state.settings)
        self._short_way = ShortWay(router.routes, state)
        self.direct_way = DirectWay(state, Predictions(state, intake), intake, self._serves)
        origins = state.settings.cors_origins
        self._cors = cors(self._answer, origins) if origins else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if not self._serves(scope["headers"]):
                await _refusal(_host(scope["headers"]))(scope, receive, send)
                return
            if self._cors is not None:
                await self._cors(scope, receive, send)
                return
            if await self._short_way.answers(scope, receive, send):
                return
        await super().__call__(scope, receive, send)

    def _serves(self, fields: Iterable[Field]) -> bool:
        """True if these header fields name a host that is this server."""
        return self._allowed is None or _host(fields) in self._allowed

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self._short_way.answers(scope, receive, send):
            await super().__call__(scope, receive, send)


def cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """An application that tells browsers which pages may call it, and answers their preflights.

    No cookie is ever asked for, so that `*` gives a page nothing that its visitor alone has.
    """
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_ANSWER_HEADERS,
    )


def build_router(state: ServerState, intake: Intake) -> APIRouter:
    """All endpoints."""
    router = APIRouter(
        route_class=routes_behind(state.gate),
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    Predictions(state, intake).add_to(router)
    Resource(state, intake).add_to(router)
    Information(state).add_to(router)
    Live(state).add_to(router)
    page.add_to(router)
    return router


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """The host names to serve: as set, else only loopback names while bound to loopback."""
    if settings.allowed_hosts:
        names = frozenset(name.lower() for name in settings.allowed_hosts)
        return None if "*" in names else names
    return _LOOPBACK_NAMES | {settings.host} if is_loopback(settings.host) else None


def is_loopback(host: str) -> bool:
    """True if only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=64)  # nearly all requests name the same one
def hostname(host: str) -> str:
    """The name in a Host header, in lower case, without the port and the dot of the root.

    Of what is none, all of it: that is nobody's name.
    """
    match = _HOST.fullmatch(host)
    return host if match is None else match[1].lower().removesuffix(".")


def _host(fields: Iterable[Field]) -> str:
    """The name that a request with these header fields is for."""
    for name, value in fields:
        if name == b"host":
            return hostname(value.decode("latin-1"))
    return ""


def _refusal(host: str) -> Response:
    return problem(
        "forbidden",
        f"This server is not {host!r}. To serve under that name, add it to allowed-hosts.",
    )


async def _no_route(router: APIRouter, request: Request, error: Exception) -> Response:
    """What the framework refuses: paths and methods that do not exist."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    methods = _methods(router, request.scope)
    if error.status_code == 405 and methods and request.method not in methods:
        allow = ", ".join(sorted(methods))
        return problem(
            "method_not_allowed",
            f"{request.method} is not possible at {path}; {allow} is.",
            headers={"Allow": allow},
        )
    return problem("not_found", f"There is nothing at {path}. The API is described at /docs.")


def _methods(router: APIRouter, scope: Scope) -> set[str]:
    """What is possible at this path. The framework knows only what its first route has."""
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    fitting = [route for route in routes if route.matches(scope)[0] is not Match.NONE]
    return {method for route in fitting for method in route.methods or ()}


async def _fault(request: Request, error: Exception) -> Response:
    """What an endpoint raises and nobody foresaw; the server writes it into its log."""
    return fault()
