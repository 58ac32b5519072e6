"""What the server tells of itself: the root, its models, its health, its documentation."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from zypher.brokers.base import Broker
from zypher.server import documentation, openapi, operations, page
from zypher.server.answers import JSONText
from zypher.server.health import overview, readiness, statistics
from zypher.server.state import ServerState


class Information:
    """The endpoints that answer about the server and not about predictions."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    @property
    def _broker(self) -> Broker:
        return self._state.broker

    def add_to(self, router: APIRouter) -> None:
        """Register the endpoints. `router` is also what `/openapi.json` describes."""
        self._router = router
        router.add_api_route("/", self.root, **operations.ROOT)
        router.add_api_route("/models", self.models, **operations.MODELS)
        router.add_api_route("/models/{name}", self.model, **operations.MODEL)
        router.add_api_route("/livez", self.alive, **operations.LIVEZ)
        router.add_api_route("/readyz", self.ready, **operations.READYZ)
        router.add_api_route("/stats", self.statistics, **operations.STATS)
        router.add_api_route("/metrics", self.metrics, **operations.METRICS)
        router.add_api_route("/favicon.ico", self.favicon, include_in_schema=False)
        router.add_api_route("/openapi.json", self.openapi, include_in_schema=False)
        router.add_api_route("/docs", self.docs, include_in_schema=False)
        router.mount("/docs", documentation.Files(), name="swagger")

    async def root(self, request: Request) -> Response:
        """Say hello, and where to go on. A browser gets the page."""
        if "text/html" in request.headers.get("accept", ""):
            response = page.answer(request)
        else:
            if self._state.gate is not None:  # which is open here for the page
                self._state.gate.admit(request)
            title = openapi.title(self._state.models)
            welcome = {"message": f"Welcome to the {title}!", "status": "ok", "docs": "docs"}
            response = _json(welcome | {"page": "ui"})
        response.headers["Vary"] = "Accept"
        return response

    async def models(self) -> Response:
        """All models, the default one first; none before it is known which there are."""
        self._state.require_described()
        return _json({"models": list(self._state.models.values())})

    async def model(self, request: Request) -> Response:
        """One model: its description and the JSON Schemas of its input and result."""
        self._state.require_described()
        return _json(await self._state.model(request.path_params["name"]))

    async def alive(self) -> Response:
        """The event loop turns: nothing else is looked at."""
        return _json({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """503 while this node can serve nothing; `degraded` lists what is not as it should be."""
        report = await readiness(self._state)
        status = 200 if report.status == "ready" else 503
        if self._state.gate is not None and not self._state.gate.knows(request.headers):
            # Why a model cannot be loaded, and where the queue is, is not for everybody to know.
            return _json({"status": report.status, "node": "server"}, status=status)
        return _json(report, status=status)

    async def statistics(self) -> Response:
        """How many wait, run and have ended of each model, and who works on them."""
        return _json(statistics(await overview(self._broker)))

    async def metrics(self, request: Request) -> Response:
        """What this node has counted, and how the queues stand, for Prometheus."""
        from zypher.scrape import scrape  # a server that nobody scrapes does without it

        body, content_type = await scrape(self._broker, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def favicon(self) -> Response:
        """There is none, and no error in a browser's log about it."""
        return _json({"message": "No favicon"})

    async def openapi(self, request: Request) -> Response:
        """OpenAPI 3.1, with the models' own input types in it."""
        prefix = request.scope["path"].removesuffix("/openapi.json")
        document = openapi.document(self._router, self._state.models, prefix)
        if self._state.gate is not None:
            openapi.require_keys(document)
        return _json(document)

    async def docs(self) -> Response:
        """Swagger UI from this package's own files; all addresses are relative."""
        if self._state.gate is not None:
            return documentation.page_with_key()
        return documentation.page(openapi.title(self._state.models))


def _json(value: Any, *, status: int = 200) -> Response:
    return JSONText(msgspec.json.encode(value), status_code=status)
