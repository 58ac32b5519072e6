"""Events of a prediction: in order, resumable, and to their end."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator

import pytest
from fastapi.sse import KEEPALIVE_COMMENT
from starlette.types import Message

from tests.server.service import EVENTS, Call, Service, events_of
from zypher.brokers.base import Seen
from zypher.prediction import new_id
from zypher.server import Phase
from zypher.server.quota import Quota
from zypher.server.streams import EventStream
from zypher.server.streams import follow as stream

pytestmark = pytest.mark.anyio

WEBHOOKS = {"webhook_secret": "whsec_" + base64.b64encode(bytes(32)).decode()}


def names(events: list[dict[str, str]]) -> list[str]:
    return [event["event"] for event in events]


async def follow(service: Service, id: str, last: str | None = None) -> list[dict[str, str]]:
    """The events of a prediction that has ended, for somebody who has seen `last`."""
    headers = {} if last is None else {"Last-Event-ID": last}
    response = await service.client.get(f"/predictions/{id}/events", headers=headers)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    return events_of(response.text)


async def ended(service: Service) -> str:
    """A prediction that told three things and ended."""
    id = await service.submit()
    claimed = await service.claim()
    await service.tell(claimed.claim, "log", "loading")
    await service.tell(claimed.claim, "progress", {"fraction": 0.5})
    await service.tell(claimed.claim, "output", "do")
    await service.finish(claimed.claim)
    return id


async def test_a_stream_tells_each_change_as_it_happens(service: Service) -> None:
    id = await service.submit()
    call = Call(service.app, "GET", f"/predictions/{id}/events")
    queued = await call.event()
    assert (call.status, call.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert queued == {"event": "status", "data": '{"status":"queued","attempt":0}'}
    claimed = await service.claim()
    assert json.loads((await call.event())["data"]) == {"status": "processing", "attempt": 1}
    await service.tell(claimed.claim, "progress", {"fraction": 0.5})
    assert await call.event() == {"event": "progress", "data": '{"fraction": 0.5}', "id": "1-1"}
    await service.finish(claimed.claim)
    final = await call.event()
    assert final["event"] == "status"
    assert json.loads(final["data"])["result"] == "done"
    assert await call.event() == {}
    await call.done


async def test_the_last_event_has_the_record(service: Service) -> None:
    id = await ended(service)
    events = await follow(service, id)
    assert names(events) == ["log", "progress", "output", "status"]
    assert [event["id"] for event in events] == ["1-1", "1-2", "1-3", "2-0"]
    record = (await service.client.get(f"/predictions/{id}")).json()
    last = json.loads(events[-1]["data"])
    assert last == {k: v for k, v in record.items() if k not in ("progress", "logs")}


async def test_a_stream_goes_on_behind_the_last_event_that_was_seen(service: Service) -> None:
    id = await ended(service)
    assert names(await follow(service, id, last="1-2")) == ["output", "status"]
    assert names(await follow(service, id, last="1-3")) == ["status"]


async def test_a_client_that_has_seen_the_end_is_told_to_stop(service: Service) -> None:
    id = await ended(service)
    last = (await follow(service, id))[-1]["id"]
    headers = {"Last-Event-ID": last}
    response = await service.client.get(f"/predictions/{id}/events", headers=headers)
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("last", ["", "1", "1-", "-1", "1-x", "9" * 50, "1-2-3", "٣-1"])
async def test_a_last_event_id_that_makes_no_sense_is_as_none(service: Service, last: str) -> None:
    id = await ended(service)
    headers = [(b"Last-Event-ID", last.encode())]
    response = await service.client.get(f"/predictions/{id}/events", headers=headers)
    assert len(events_of(response.text)) == 4


async def test_a_new_attempt_resets_what_the_one_before_told(service: Service) -> None:
    id = await service.submit()
    first = await service.claim()
    await service.tell(first.claim, "output", "half a")
    call = Call(service.app, "GET", f"/predictions/{id}/events")
    assert [(await call.event())["event"] for _ in range(2)] == ["status", "output"]
    await service.broker.release([first.claim])
    assert json.loads((await call.event())["data"])["status"] == "queued"
    second = await service.claim()
    assert await call.event() == {"event": "reset", "data": '{"attempt":2}'}
    assert json.loads((await call.event())["data"]) == {"status": "processing", "attempt": 2}
    await service.finish(second.claim)
    assert json.loads((await call.event())["data"])["status"] == "completed"
    resumed = await follow(service, id, last="1-1")
    assert names(resumed) == ["reset", "status"]


@pytest.mark.parametrize("last", ["1-1", "1-4000"])
async def test_events_that_are_gone_are_told_by_a_reset(service: Service, last: str) -> None:
    id = await service.submit()
    claimed = await service.claim()
    for number in range(1500):
        await service.tell(claimed.claim, "output", number)
    await service.finish(claimed.claim)
    events = await follow(service, id, last)
    assert events[0]["event"] == "reset"
    assert events[-2]["id"] == "1-1500"


async def test_a_stream_without_news_has_a_heartbeat(service: Service) -> None:
    id = await service.submit()
    news = await service.broker.watch(id, Seen(), timeout=0)
    assert news is not None
    chunks = stream(service.state, news, Seen(), heartbeat=0.01)
    assert (await anext(chunks)).startswith(b"event: status")
    assert [await anext(chunks) for _ in range(3)] == [KEEPALIVE_COMMENT] * 3
    await chunks.aclose()


async def test_a_prediction_that_nobody_knows_has_no_events(service: Service) -> None:
    response = await service.client.get(f"/predictions/{new_id()}/events")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_stream_ends_when_the_server_stops(service: Service) -> None:
    id = await service.submit()
    call = Call(service.app, "GET", f"/predictions/{id}/events")
    assert (await call.event())["event"] == "status"
    service.state.phase = Phase.CLOSED
    await service.broker.aclose()
    assert await call.event() == {}
    await call.done


async def test_what_a_slow_reader_has_not_read_is_not_held_for_them(service: Service) -> None:
    id = await service.submit()
    call = Call(service.app, "GET", f"/predictions/{id}/events")
    claimed = await service.claim()
    for number in range(3000):
        await service.tell(claimed.claim, "output", number)
        await asyncio.sleep(0)
    await service.finish(claimed.claim)
    seen = []
    while event := await call.event():
        seen.append(event)
    assert "reset" in names(seen)
    assert len(seen) < 2500
    assert json.loads(seen[-1]["data"])["status"] == "completed"


async def test_a_post_that_prefers_events_streams_its_own_run(service: Service) -> None:
    call = Call.predict(service.app, **EVENTS)
    claimed = await service.claim()
    await service.tell(claimed.claim, "output", "do")
    await service.finish(claimed.claim)
    events = []
    while event := await call.event():
        events.append(event)
    assert (call.status, call.headers["x-prediction-id"]) == (200, claimed.id)
    assert [name for name in names(events) if name != "status"] == ["output"]
    assert json.loads(events[-1]["data"])["result"] == "done"
    await call.done
    assert await service.broker.get(claimed.id) is None


@pytest.mark.parametrize("service", [WEBHOOKS], indirect=True, ids=["webhooks"])
async def test_a_stream_of_its_own_run_with_a_webhook_leaves_it_to_be_called(
    service: Service,
) -> None:
    running = asyncio.create_task(service.run())
    response = await service.predict(headers=EVENTS, webhook="https://example.com/")
    assert names(events_of(response.text))[-1] == "status"
    assert await service.broker.get((await running).id) is not None
    delivery = await service.broker.next_delivery(timeout=0)
    assert delivery is not None


async def test_a_keyed_stream_of_what_has_ended_tells_its_end(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    await service.submit(key)
    await service.run()
    response = await service.predict(headers=EVENTS | key)
    assert names(events_of(response.text)) == ["status"]


async def test_an_asynchronous_call_is_accepted_whatever_it_accepts(service: Service) -> None:
    assert await service.submit(EVENTS)


async def test_an_accept_without_json_and_events_is_not_acceptable(service: Service) -> None:
    response = await service.predict(headers={"Accept": "text/html, application/json;q=0"})
    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")


async def test_a_stream_for_which_there_is_no_room_any_more_is_refused_and_its_run_ends() -> None:
    quota = Quota(1)
    sent, hung_up = [], []

    async def events() -> AsyncGenerator[bytes]:
        yield b"never"

    async def hang_up() -> None:
        hung_up.append(True)

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    late = EventStream(quota, events(), hung_up=hang_up)
    with quota.one_more():  # it came while this one was on its way
        await late({"type": "http"}, receive, send)
    assert sent[0]["status"] == 503
    assert hung_up
