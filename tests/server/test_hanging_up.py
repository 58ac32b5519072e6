"""A caller who hangs up: what nobody waits for any more is not run."""

import asyncio

import pytest
from fastapi import FastAPI, Request, Response
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from tests.server.service import EVENTS, Call, Service
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Status

pytestmark = pytest.mark.anyio


class PassOn(BaseHTTPMiddleware):
    """A middleware as hosts have them, which stands between the server and the endpoint."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def host_of(service: Service) -> FastAPI:
    """An application of somebody else that includes the endpoints under a prefix."""
    host = FastAPI()
    host.include_router(service.app.router, prefix="/ml")
    host.add_middleware(PassOn)
    return host


async def withdrawn(service: Service) -> str:
    """The id of the run that the worker is asked to end; no more than asked."""
    ((claim, insists),) = await service.broker.withdrawn("w", timeout=5)
    assert not insists
    return claim.id


@pytest.mark.parametrize("headers", [{}, EVENTS], ids=["json", "events"])
async def test_a_run_whose_caller_hangs_up_is_asked_to_end_at_once(
    service: Service, headers: dict[str, str]
) -> None:
    call = Call.predict(service.app, **headers)
    claimed = await service.claim()
    await call.hang_up()
    assert await withdrawn(service) == claimed.id
    record = await service.broker.get(claimed.id)
    assert record is not None
    assert record.status is Status.CANCELED


async def test_a_queued_prediction_whose_caller_hangs_up_is_never_run(service: Service) -> None:
    call = Call.predict(service.app)
    while (await service.broker.stats())["m"].queued == 0:
        await asyncio.sleep(0)
    await call.hang_up()
    stats = (await service.broker.stats())["m"]
    assert (stats.queued, stats.canceled) == (0, 1)


async def test_a_caller_who_hangs_up_is_noticed_through_the_router_of_a_host(
    service: Service,
) -> None:
    call = Call.predict(host_of(service), "/ml/predict")
    claimed = await service.claim()
    await call.hang_up()
    assert await withdrawn(service) == claimed.id


async def test_a_stream_is_abandoned_through_the_router_of_a_host(service: Service) -> None:
    call = Call.predict(host_of(service), "/ml/predict", **EVENTS)
    claimed = await service.claim()
    assert (await call.event())["event"] == "status"
    await call.hang_up()
    assert await withdrawn(service) == claimed.id


async def test_an_asynchronous_prediction_is_nobodys_to_abandon(service: Service) -> None:
    id = await service.submit()
    watching = Call(service.app, "GET", f"/predictions/{id}/events")
    await watching.event()
    await watching.hang_up()
    assert (await service.record(id)).status is Status.QUEUED


async def test_a_prediction_that_somebody_else_waits_for_goes_on(service: Service) -> None:
    call = Call.predict(service.app)
    claimed = await service.claim()
    path = f"/predict/{claimed.id}"
    polling = asyncio.create_task(service.client.get(path, headers={"Prefer": "wait=9"}))
    assert isinstance(service.broker, MemoryBroker)
    while len(service.broker._waiters[claimed.id]) < 2:
        await asyncio.sleep(0)
    await call.hang_up()
    await service.finish(claimed.claim)
    assert (await polling).json()["status"] == "completed"


async def test_of_what_was_abandoned_no_input_is_held(service: Service) -> None:
    call = Call.predict(service.app)
    claimed = await service.claim()
    await call.hang_up()
    record = await service.broker.get(claimed.id)
    assert record is not None
    assert (record.status, record.input) == (Status.CANCELED, b"")
