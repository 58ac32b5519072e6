"""`/events`: how the whole server stands, told to everybody at the cost of one."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.harness import Server, target
from tests.leaving import LeavingBroker
from tests.redis_servers import RedisServer
from tests.server.service import PATIENCE, Call, Service
from zypher.brokers import Limits
from zypher.brokers.base import ModelStats
from zypher.server import live
from zypher.server.broadcast import Broadcast
from zypher.server.history import INTERVAL, LENGTH, History
from zypher.server.recent import MOST_RUNNING, MOST_TEXT, MOST_WAITING, Recent
from zypher.testing.clock import ManualClock

pytestmark = pytest.mark.anyio

FOLLOWERS = 100


class Watched(Service):
    """A server whose broker can go away, and counts what it is asked."""

    broker: LeavingBroker

    def __init__(self) -> None:
        super().__init__()
        self.broker = LeavingBroker(Limits(), self.clock)
        self.state.broker = self.broker

    def follow(self) -> Call:
        """A follower."""
        return Call(self.app, "GET", "/events")


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """One that looks very often."""
    monkeypatch.setattr(live, "_INTERVAL", 0.01)
    monkeypatch.setattr(live, "_SHARE", 1.0)
    watched = Watched()
    await watched.start()
    yield watched
    await watched.stop()


async def next_of(call: Call, name: str) -> Any:
    """The data of the next event of this name."""
    async with asyncio.timeout(PATIENCE):
        while True:
            event = await call.event()
            assert event, "the stream has ended"
            if event["event"] == name:
                return json.loads(event["data"])


async def until(call: Call, name: str, test: Any) -> Any:
    """The data of the next event of this name that passes a test."""
    while not test(data := await next_of(call, name)):
        pass
    return data


async def test_a_follower_is_told_the_history_how_it_stands_and_what_there_is(
    watched: Watched,
) -> None:
    watched.state.history.add(await watched.broker.stats())
    id = await watched.submit(priority="low")
    call = watched.follow()
    names = [await call.event() for _ in range(3)]
    assert [event["event"] for event in names] == ["history", "stats", "predictions"]
    assert call.headers["content-type"].startswith("text/event-stream")
    history, stats, predictions = (json.loads(event["data"]) for event in names)
    assert [sample["models"]["m"]["queued"] for sample in history] == [0]
    expected = (await watched.client.get("/stats")).json()
    assert stats["models"] == expected["models"]
    assert stats["workers"] == expected["workers"]
    assert (stats["status"], stats["degraded"]) == ("ready", [])
    assert stats["guarantee"] == watched.broker.guarantee()
    (waiting,) = predictions["waiting"]
    listed = (await watched.client.get("/predictions")).json()["predictions"]
    assert waiting == listed[0]
    assert waiting["prediction_id"] == id
    await call.hang_up()


async def test_new_samples_follow_the_history(watched: Watched) -> None:
    call = watched.follow()
    assert await next_of(call, "history") == []
    await next_of(call, "stats")
    watched.state.history.add(await watched.broker.stats())
    sample = await next_of(call, "sample")
    assert sample["models"]["m"]["queued"] == 0
    later = watched.follow()
    assert await next_of(later, "history") == [sample]
    await call.hang_up()
    await later.hang_up()


async def test_what_runs_has_what_it_told_last_and_never_much_of_it(watched: Watched) -> None:
    await watched.submit()
    claimed = await watched.claim()
    call = watched.follow()
    await until(call, "predictions", lambda data: data["running"])
    await watched.tell(claimed.claim, "progress", {"fraction": 0.5, "text": "half"})
    await watched.tell(claimed.claim, "log", {"text": "loading " + "x" * 1000})
    for number in range(200):
        await watched.tell(claimed.claim, "output", f"{number} words ")
    data = await until(
        call, "predictions", lambda data: "199" in data["running"][0].get("output", "")
    )
    (row,) = data["running"]
    assert row["progress"] == {"fraction": 0.5, "text": "half"}
    assert row["log"].startswith("loading")
    assert row["output"].endswith("198 words 199 words ")
    assert len(row["output"]) == len(row["log"]) == MOST_TEXT
    await watched.broker.release([claimed.claim])
    again = await watched.claim()
    await watched.tell(again.claim, "output", "anew")
    await until(call, "predictions", lambda data: data["running"][0].get("output") == "anew")
    await watched.fail(again.claim)
    data = await until(call, "predictions", lambda data: data["ended"])
    assert data["ended"][0]["detail"] == "The model raised ValueError: no."
    assert "progress" not in data["ended"][0]
    await call.hang_up()


async def test_the_end_of_a_run_is_noticed_without_looking_through_the_list(
    watched: Watched,
) -> None:
    id = await watched.submit()
    claimed = await watched.claim()
    recent = Recent(watched.broker)
    await recent.look(await watched.broker.stats())
    await watched.tell(claimed.claim, "progress", {"fraction": 0.5})
    await recent.listen()
    assert json.loads(msgspec.json.encode(recent.rows["running"][0]["progress"]))["fraction"] == 0.5
    await watched.finish(claimed.claim)
    before = watched.broker.asked["list"]
    await recent.listen()
    assert watched.broker.asked["list"] == before
    assert recent.rows["running"] == []
    assert [row["prediction_id"] for row in recent.rows["ended"]] == [id]
    assert recent.rows["ended"][0]["status"] == "completed"


async def test_of_a_long_queue_a_few_are_shown(watched: Watched) -> None:
    for _ in range(100):
        await watched.submit()
    for _ in range(MOST_RUNNING + 5):
        await watched.claim()
    call = watched.follow()
    data = await next_of(call, "predictions")
    assert len(data["running"]) == MOST_RUNNING
    assert len(data["waiting"]) == MOST_WAITING
    assert data["waiting"][0]["created"] >= data["waiting"][-1]["created"]
    await call.hang_up()


async def test_predictions_are_sent_only_when_they_have_changed(watched: Watched) -> None:
    await watched.submit()
    call = watched.follow()
    names = [(await call.event())["event"] for _ in range(20)]
    assert names.count("predictions") == 1
    await call.hang_up()


async def test_a_hundred_followers_cost_the_broker_what_one_costs(watched: Watched) -> None:
    calls = [watched.follow() for _ in range(FOLLOWERS)]
    for call in calls:
        await next_of(call, "stats")
    before = watched.broker.asked["stats"]
    await asyncio.sleep(50 * live._INTERVAL)
    assert watched.broker.asked["stats"] - before <= 51
    for call in calls:
        await next_of(call, "stats")
    for call in calls:
        await call.hang_up()


async def test_nobody_is_asked_when_nobody_follows(watched: Watched) -> None:
    call = watched.follow()
    await next_of(call, "stats")
    await call.hang_up()
    await asyncio.sleep(0)
    before = watched.broker.asked["stats"]
    await asyncio.sleep(0.1)  # ten intervals
    assert watched.broker.asked["stats"] == before


async def test_a_broker_that_is_away_is_told_and_so_is_its_return(watched: Watched) -> None:
    await watched.submit()
    call = watched.follow()
    await next_of(call, "predictions")
    await watched.broker.leave()
    away = await next_of(call, "away")
    assert away == {"status": "failing", "degraded": ["The broker cannot be reached."]}
    newcomer = watched.follow()
    names = [(await newcomer.event())["event"] for _ in range(3)]
    assert "away" in names
    assert "stats" not in names
    await watched.broker.come_back()
    for one in (call, newcomer):
        assert (await next_of(one, "stats"))["status"] == "ready"
        assert len((await next_of(one, "predictions"))["waiting"]) == 1
        await one.hang_up()


async def test_a_broker_that_does_not_answer_is_away(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_PATIENCE", 0.05)
    call = watched.follow()
    await next_of(call, "stats")

    async def hang() -> dict[str, ModelStats]:
        await asyncio.sleep(60)
        return {}

    monkeypatch.setattr(watched.broker, "stats", hang)
    assert (await next_of(call, "away"))["degraded"] == [
        "The broker has not answered within 0.05 s."
    ]
    await call.hang_up()


async def test_a_list_that_takes_very_long_holds_up_nothing_else(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_PATIENCE", 0.05)
    monkeypatch.setattr(watched.broker, "list", lambda **_: asyncio.sleep(60))
    call = watched.follow()
    assert await next_of(call, "history") == []
    assert {(await call.event())["event"] for _ in range(20)} == {"stats"}
    await call.hang_up()


async def test_the_streams_end_with_the_server_and_there_are_no_new_ones(watched: Watched) -> None:
    call = watched.follow()
    await next_of(call, "stats")
    watched.state.broadcasts.close()
    while await call.event():
        pass
    await call.done
    response = await watched.client.get("/events")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


async def test_who_reads_slowly_gets_the_latest_and_nothing_is_held_for_them() -> None:
    broadcast = Broadcast()
    broadcast.show("stats", b"1")
    slow = broadcast.follow()
    assert await anext(slow) == b"1"
    for number in range(2, 1000):
        broadcast.show("stats", b"%d" % number)
    broadcast.show("sample", b"sample", first=b"history")
    assert [await anext(slow) for _ in range(2)] == [b"999", b"sample"]
    late = broadcast.follow()
    assert [await anext(late) for _ in range(2)] == [b"999", b"history"]
    broadcast.show("stats", b"to all")
    assert await anext(slow) is await anext(late)
    broadcast.close()
    assert [one async for one in slow] == []


async def test_the_history_is_bounded_and_its_throughput_is_measured() -> None:
    clock = ManualClock()
    history = History(clock)
    for number in range(1000):
        history.add({"m": ModelStats(completed=3 * number, failed=number)})
        clock.advance(INTERVAL)
    assert len(history.samples) == LENGTH / INTERVAL
    assert {sample["models"]["m"]["throughput"] for sample in history.samples} == {4 / INTERVAL}
    history.add({"m": ModelStats()})  # it is counted anew: a broker has lost its data
    assert history.samples[-1]["models"]["m"]["throughput"] is None


# Real servers.


def events_of(server: Server) -> Iterator[tuple[str, Any]]:
    """The events that a server sends, until it ends."""
    with server.client.stream("GET", "/events") as response:
        name = ""
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)


def first(events: Iterator[tuple[str, Any]], name: str) -> Any:
    return next(data for event, data in events if event == name)


def test_a_server_samples_its_history_also_when_nobody_follows_and_ends_its_streams() -> None:
    with Server(target("echo")) as server:
        events = events_of(server)
        assert first(events, "stats")["models"]["echo"]["replicas"]["ready"] == 1
        first(events, "sample")
        server.poll(server.submit("x"), wait=20)
        while not first(events, "sample")["models"]["echo"]["throughput"]:
            pass
        samples = first(events_of(server), "history")
        assert sum(sample["models"]["echo"]["throughput"] or 0 for sample in samples) > 0
        server.process.send_signal(signal.SIGTERM)
        assert dict(events) is not None  # it ends
        assert server.process.wait(PATIENCE) == 0


def test_the_page_is_told_of_a_redis_that_goes_and_comes_back(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path) as redis,
        Server(target("echo"), "--broker", redis.url) as server,
    ):
        server.poll(server.submit("x"), wait=20)
        events = events_of(server)
        assert first(events, "predictions")["ended"][0]["status"] == "completed"
        redis.kill()
        away = first(events, "away")
        assert away["status"] == "failing"
        assert "Redis" in away["degraded"][0]
        redis.start()
        assert first(events, "stats")["status"] == "ready"
