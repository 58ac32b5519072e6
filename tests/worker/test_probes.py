"""What a worker answers over HTTP, from a thread of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

import httpx2
import pytest

from tests.harness import PATIENCE
from tests.scrapes import families, value
from zypher.metrics import Metrics
from zypher.program import listen
from zypher.scrape import Exposition, exposition
from zypher.worker import probes
from zypher.worker.probes import Probes

pytestmark = pytest.mark.anyio

READY = "ready"


@asynccontextmanager
async def answering(
    metrics: Metrics | None = None, status: Callable[[], str] = lambda: READY
) -> AsyncIterator[httpx2.Client]:
    """A client of probes that are there."""
    counted = metrics or Metrics()

    async def scrape(accept: str) -> Exposition:
        counted.upgrades.count("asked in the loop")
        return exposition(counted, None, accept)

    listener = listen("127.0.0.1", 0)
    url = "http://{}:{}".format(*listener.getsockname())
    with httpx2.Client(base_url=url, timeout=PATIENCE) as client:
        async with Probes(listener, counted, status, scrape):
            yield client


async def test_a_worker_is_ready_while_it_says_so() -> None:
    for status, code in (("starting", 503), ("ready", 200), ("draining", 503)):
        async with answering(status=lambda status=status: status) as client:  # type: ignore[misc]
            answer = await asyncio.to_thread(client.get, "/readyz")
            assert (answer.status_code, answer.json()) == (
                code,
                {"status": status, "node": "worker"},
            )


async def test_metrics_are_asked_for_in_the_loop() -> None:
    async with answering() as client:
        answer = await asyncio.to_thread(client.get, "/metrics")
        assert answer.status_code == 200
        assert value(answer.text, "zypher_upgrades_total", model="asked in the loop") == 1


async def test_while_the_loop_is_busy_all_probes_are_answered_all_the_same() -> None:
    metrics = Metrics()
    metrics.crashes.count("m")
    async with answering(metrics) as client:  # who asks here keeps the loop busy meanwhile
        assert client.get("/livez").json()["status"] == "alive"
        assert client.get("/readyz").status_code == 200
        answer = client.get("/metrics")
        assert value(answer.text, "zypher_crashes_total", model="m") == 1
        assert families(answer.text)["zypher_upgrades_total"].samples == []


async def test_a_loop_that_does_not_turn_any_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering() as client:
        monkeypatch.setattr(probes, "_STUCK", 0.0)
        answer = client.get("/livez")
        assert (answer.status_code, answer.json()) == (503, {"status": "stuck", "node": "worker"})


async def test_there_is_nothing_else() -> None:
    async with answering() as client:
        for path in ("/", "/predict", "/metrics/more"):
            answer = await asyncio.to_thread(client.get, path)
            assert answer.status_code == 404
            assert "/metrics, /livez and /readyz" in answer.json()["detail"]
        assert (await asyncio.to_thread(client.post, "/metrics")).status_code == 501


async def test_those_who_connect_and_say_nothing_do_not_lock_others_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "_SLOWEST", 0.3)
    async with answering() as client:
        with ExitStack() as silent:
            address = (client.base_url.host, client.base_url.port or 0)
            for _ in range(2 * probes._MOST_AT_ONCE):
                silent.enter_context(socket.create_connection(address))
            async with asyncio.timeout(PATIENCE):
                while not await asyncio.to_thread(is_answered, client):
                    pass


def is_answered(client: httpx2.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx2.TransportError:
        return False
