"""`/metrics` of a server: what it counts of the calls it answers, and how the queue stands."""

import asyncio

import pytest

from tests.scrapes import families, value
from tests.server.service import EVENTS, Service
from zypher.brokers import Limits
from zypher.brokers.base import Overview
from zypher.brokers.memory import MemoryBroker
from zypher.errors import Unavailable

pytestmark = pytest.mark.anyio

HASTE = pytest.mark.parametrize("service", [{"sync_timeout": 0.01}], indirect=True)


class Away(MemoryBroker):
    """A broker that says nothing of the queue, or that it cannot."""

    refuses = False

    async def overview(self) -> Overview:
        if self.refuses:
            raise Unavailable("It is away.")
        await asyncio.Event().wait()
        raise AssertionError


async def scrape(service: Service) -> str:
    response = await service.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return response.text


async def test_the_queue_is_told_as_it_stands(service: Service) -> None:
    await service.submit()
    await service.submit()
    await service.claim()
    service.clock.advance(7)
    text = await scrape(service)
    assert value(text, "zypher_queue_depth", model="m", state="queued") == 1
    assert value(text, "zypher_queue_depth", model="m", state="processing") == 1
    assert value(text, "zypher_queue_oldest_age_seconds", model="m") == 7
    assert value(text, "zypher_replicas", model="m", state="ready") == 1


async def test_an_end_is_counted_with_the_time_that_it_took(service: Service) -> None:
    await service.submit()
    await service.run(seconds=3)
    text = await scrape(service)
    labels = {"model": "m", "mode": "async"}
    assert value(text, "zypher_predictions_total", status="completed", **labels) == 1
    assert value(text, "zypher_prediction_duration_seconds_sum", **labels) == 3
    assert value(text, "zypher_broker_seconds_count", verb="submit") == 1


@pytest.mark.parametrize("refuses", [True, False])
async def test_while_the_broker_is_away_all_else_is_told_at_once(
    service: Service, refuses: bool
) -> None:
    away = Away(Limits(), service.clock)
    away.refuses = refuses
    away.metrics.upgrades.count("m")
    service.state.broker = away
    async with asyncio.timeout(5):
        text = await scrape(service)
    assert value(text, "zypher_upgrades_total", model="m") == 1
    assert "zypher_build_info" in families(text)
    assert not {"zypher_queue_depth", "zypher_replicas"} & families(text).keys()


@HASTE
async def test_a_synchronous_call_that_becomes_a_202_is_counted_and_no_other_is(
    service: Service,
) -> None:
    assert (await service.predict()).status_code == 202
    await service.submit()
    assert service.broker.metrics.upgrades == {("m",): 1}
    for _ in range(2):
        await service.run()
    assert service.broker.metrics.predictions == {("m", "async", "completed"): 2}


async def test_a_call_that_is_refused_is_counted_by_its_code(service: Service) -> None:
    await service.predict(1)
    await service.predict(deadline=-1)
    await service.predict(headers={"Async-Mode": "maybe"})
    await service.client.post("/models/other/predict", json={"input": "x"})
    await service.client.post("/predictions/nobody/retry")
    await service.client.get("/predict/nobody")  # asks for no prediction
    await service.broker.aclose()
    await service.predict()
    assert service.broker.metrics.rejections == {
        ("invalid_input",): 2,
        ("invalid_header",): 1,
        ("not_found",): 2,
        ("unavailable",): 1,
    }


async def test_a_call_whose_model_fails_was_not_refused(service: Service) -> None:
    calling = asyncio.create_task(service.predict())
    await service.fail((await service.claim()).claim)
    assert (await calling).status_code == 500
    streaming = asyncio.create_task(service.predict(headers=EVENTS))
    await service.run()
    await streaming
    assert not service.broker.metrics.rejections
    assert service.broker.metrics.predictions == {
        ("m", "sync", "failed"): 1,
        ("m", "sync", "completed"): 1,
    }


async def test_two_servers_in_one_process_count_each_by_itself(service: Service) -> None:
    other = Service()
    await other.start()
    await other.submit()
    await other.run()
    assert not service.broker.metrics.predictions
    await other.stop()
