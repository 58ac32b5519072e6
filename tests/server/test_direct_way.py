"""The direct way of a call past ASGI: nobody can tell from the answers that it is there."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from tests.receiver import SECRET
from tests.redis_servers import RedisServer
from tests.server.service import PATIENCE, Service
from tests.server.site import INPUT, Client, Site, get, post
from zypher.brokers import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.brokers.redis import RedisBroker, link
from zypher.prediction import Failure, Outcome, Status
from zypher.server.protocol import Protocol
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import new

pytestmark = pytest.mark.anyio

KEY = "0123456789abcdef0123456789"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


MakesBroker = Callable[[Limits, ManualClock], Broker]


@pytest.fixture(params=["memory", "redis"])
def broker(request: pytest.FixtureRequest, redis: RedisServer) -> MakesBroker:
    """Makes one that is here, or elsewhere."""
    if request.param == "memory":
        return MemoryBroker
    redis.call("FLUSHALL")
    return partial(RedisBroker, redis.url)


@pytest.fixture
async def service(request: pytest.FixtureRequest, broker: MakesBroker) -> AsyncIterator[Service]:
    async with started(Service(broker, **getattr(request, "param", {}))) as service:
        yield service


@asynccontextmanager
async def started(service: Service) -> AsyncIterator[Service]:
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@pytest.fixture
async def site(service: Service) -> AsyncIterator[Site]:
    site = Site(service)
    async with site.serving():
        yield site


@asynccontextmanager
async def working(service: Service, outcome: Outcome) -> AsyncIterator[None]:
    """A worker that has this outcome for all."""

    async def work() -> None:
        while True:
            batch = await service.broker.claim("w", "m", limit=1, timeout=PATIENCE)
            await service.broker.finish([(prediction.claim, outcome) for prediction in batch])

    worker = asyncio.create_task(work())
    try:
        yield
    finally:
        worker.cancel()
        await asyncio.wait([worker])


GOOD = Outcome(b'"done"')
BAD = Outcome(failure=Failure("model_error", "The model raised ValueError: no."))
LARGE = Outcome(b'"%b"' % (b"x" * 200_000))

REQUESTS = {
    "plain": post(),
    "of a model by its name": post(path="/models/m/predict"),
    "at an older path": post(path="/predictions/predict"),
    "with all that clients send": post(INPUT, "Accept: */*", "User-Agent: a", "X-b: c"),
    "with a parameter": post(INPUT, "Content-Type: application/json; charset=utf-8"),
    "with a trace": post(INPUT, f"traceparent: 00-{'a' * 32}-{'b' * 16}-01"),
    "expressly synchronous": post(INPUT, "Async-Mode: false"),
    "asynchronous": post(INPUT, "Async-Mode: true"),
    "asynchronous, of a model by its name": post(
        INPUT, "async_mode: TRUE", path="/models/m/predict"
    ),
    "asynchronous, with options": post(
        b'{"input":"x","ttl":5,"priority":"low"}', "Async-Mode: true"
    ),
    "asynchronous, with a clock": post(b'{"input":"x","deadline":60}', "Async-Mode: true"),
    "asynchronous, of another type": post(b'{"input":1}', "Async-Mode: true"),
    "with a preference for later": post(INPUT, "Prefer: respond-async"),
    "with a preference": post(INPUT, "Prefer: wait=5"),
    "with a query": post(path="/predict?a=b"),
    "with options": post(b'{"input":"x","deadline":60,"priority":"low"}'),
    "with an escaped name": post(path="/models/%6d/predict"),
    "with a large input": post(b'{"input":"%b"}' % (b"x" * 100_000)),
    "that is the last": post(INPUT, "Connection: close"),
    "that asks to go on": post(INPUT, "Expect: 100-continue"),
    "with an empty body": post(b""),
    "malformed": post(b'{"input":'),
    "of another type": post(b'{"input":1}'),
    "with an unknown member": post(b'{"input":"x","inputs":1}'),
    "with a webhook": post(b'{"input":"x","webhook":"https://example.com/"}'),
    "of an unknown model": post(path="/models/no/predict"),
    "not as JSON": post(INPUT, "Content-Type: text/plain"),
    "encoded": post(INPUT, "Content-Encoding: gzip"),
    "that takes no answer": post(INPUT, "Accept: text/html"),
    "to another host": post(host="example.com"),
    "with a wrong mode": post(INPUT, "Async-Mode: maybe"),
    "with a wrong clock": post(INPUT, "Cancel-After: never"),
    "to another place": post(path="/predicts"),
}


@pytest.mark.parametrize("outcome", [GOOD, BAD, LARGE], ids=["good", "bad", "large"])
async def test_a_request_has_the_same_answer_on_both_ways(
    service: Service, outcome: Outcome
) -> None:
    direct, usual = Site(service), Site(service, is_direct=False)
    async with direct.serving(), usual.serving(), working(service, outcome):
        for name, request in REQUESTS.items():
            expected, *others = await answers(usual, request)
            assert others == [expected, expected], name
            assert await answers(direct, request) == [expected, *others], name


POLLS = {
    "plain": get("/predict/ID"),
    "at an older path": get("/predictions/predict/ID"),
    "with a preference": get("/predict/ID", "Prefer: wait=5"),
    "with a preference for no time": get("/predict/ID", "Prefer: wait=0"),
    "with a senseless preference": get("/predict/ID", "Prefer: wait=soon, what"),
    "with a query": get("/predict/ID?a=b"),
    "with a body": get("/predict/ID", "Content-Length: 0"),
    "that is the last": get("/predict/ID", "Connection: close"),
    "of an unknown one": get("/predict/00000000-0000-7000-8000-000000000000"),
    "of no id": get("/predict/nothing"),
    "to another host": get("/predict/ID", host="example.com"),
}


@pytest.mark.parametrize("service", [{"sync_timeout": 0.1}], indirect=True)
@pytest.mark.parametrize("outcome", [GOOD, BAD, LARGE, None], ids=["good", "bad", "large", "none"])
async def test_a_poll_has_the_same_answer_on_both_ways(
    service: Service, outcome: Outcome | None
) -> None:
    direct, usual = Site(service), Site(service, is_direct=False)
    async with direct.serving(), usual.serving():
        id = await service.submit()
        if outcome is not None:
            await service.broker.finish([((await service.claim()).claim, outcome)])
        for name, request in POLLS.items():
            asked = request.replace(b"ID", id.encode())
            assert await answers(direct, asked) == await answers(usual, asked), name


async def test_a_full_queue_has_the_same_answer_on_both_ways(broker: MakesBroker) -> None:
    limits = Limits(max_queued=1, waiting_share=0.0)
    async with (
        started(Service(lambda _, clock: broker(limits, clock))) as service,
        (direct := Site(service)).serving(),
        (usual := Site(service, is_direct=False)).serving(),
    ):
        await service.submit()
        await service.run(seconds=30.0)  # so that it is known when there is room again
        service.clock.advance(1.0)
        await service.submit()
        for request in (post(INPUT, "Async-Mode: true"), post()):
            refusals = await answers(direct, request)
            assert refusals == await answers(usual, request)
            assert [status for status, *_ in refusals] == [429] * 3
            assert ("retry-after", "30") in refusals[0][1]
        assert service.broker.metrics.rejections["queue_full",] == 12


async def test_a_redis_that_is_away_has_the_same_answer_on_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path) as redis:
        async with (
            started(Service(partial(RedisBroker, redis.url))) as service,
            (direct := Site(service)).serving(),
            (usual := Site(service, is_direct=False)).serving(),
        ):
            place = f"/predict/{await service.submit()}"
            monkeypatch.setattr(link, "PATIENCE", 0.1)
            monkeypatch.setattr(link, "_LEAST", 0.1)
            redis.kill()
            for request in (post(), post(INPUT, "Async-Mode: true"), get(place)):
                for site in (direct, usual):
                    for status, headers, body in await answers(site, request):
                        assert (status, json.loads(body)["code"]) == (503, "unavailable")
                        assert dict(headers)["retry-after"] == "1"
                        assert ("x-prediction-id" in dict(headers)) == request.startswith(b"POST")
            assert service.broker.metrics.rejections["unavailable",] == 12


async def test_what_has_expired_is_found_on_no_way(site: Site) -> None:
    id = await site.service.submit(ttl=5)
    await site.service.run()
    client = await site.client()
    for seconds, status in ((4, 200), (1, 404)):
        site.service.clock.advance(seconds)
        client.send(get(f"/predict/{id}"))
        assert (await client.answer()).status == status


async def answers(site: Site, request: bytes) -> list[Any]:
    """What is answered to a request, and to the same one again and again."""
    found: list[Any] = []
    client = await site.client()
    for _ in range(3):
        client.send(request)
        answer = await client.answer()
        found.append(answer.timeless)
        if answer.names.get("connection") == "close":
            assert await client.is_closed()
            client = await site.client()
    return found


@pytest.mark.parametrize("service", [{"cors_origins": ["https://a.example"]}], indirect=True)
async def test_a_page_that_may_call_is_told_so_on_each_way(site: Site) -> None:
    client = await site.client()
    async with working(site.service, GOOD):
        for fields, allowed in ((), None), (("Origin: https://a.example",), "https://a.example"):
            client.send(post(INPUT, *fields))
            answer = await client.answer()
            assert answer.names.get("access-control-allow-origin") == allowed
            assert answer.names["vary"] == "Origin"


async def test_a_call_whose_head_is_known_goes_the_direct_way_with_any_body(site: Site) -> None:
    client = await site.client()
    for text in (b"a", b"bb", b"c"):
        client.send(post(b'{"input":"%b"}' % text))
        claimed = await site.service.claim()
        assert claimed.input == b'"%b"' % text
        assert len(site.direct_way.outcomes()) == 1
        await site.service.finish(claimed.claim)
        assert (await client.answer()).status == 200
    assert len(site.direct_way._known) == 1


@pytest.mark.parametrize("service", [{"max_body_size": 100}], indirect=True)
async def test_a_body_that_is_too_large_is_refused_after_a_head_that_is_known(site: Site) -> None:
    client = await site.client()
    async with working(site.service, GOOD):
        for size, status in ((1, 200), (99, 413)):
            client.send(post(b'{"input":"%b"}' % (b"x" * size)))
            assert (await client.answer()).status == status


async def test_a_call_that_comes_in_pieces_is_answered(site: Site) -> None:
    request = post(INPUT + b"  ")
    client = await site.client()
    async with working(site.service, GOOD):
        client.send(request)
        assert (await client.answer()).status == 200
        for cut in (len(request) - 1, len(request) - len(INPUT) - 2, 20, 1):
            client.send(request[:cut])
            await asyncio.sleep(0.01)  # so that the pieces are read one by one
            client.send(request[cut:])
            assert (await client.answer()).status == 200


async def test_calls_that_do_not_wait_for_each_other_are_answered_in_their_order(
    site: Site,
) -> None:
    client = await site.client()
    async with working(site.service, GOOD):
        for _ in range(3):
            client.send(b"".join(post(b'{"input":"%d"}' % n) for n in range(5)))
            for number in range(5):
                assert json.loads((await client.answer()).body)["input"] == str(number)
    assert not site.direct_way.outcomes()


async def test_a_caller_who_hangs_up_is_noticed(site: Site) -> None:
    client, claimed = await site.calling()
    client.hang_up()
    ((claim, insists),) = await site.service.broker.withdrawn("w", timeout=PATIENCE)
    assert (claim, insists) == (claimed.claim, False)
    assert not site.direct_way.outcomes()


async def test_a_caller_who_hangs_up_is_noticed_although_they_have_asked_for_more(
    site: Site,
) -> None:
    client, claimed = await site.calling()
    client.send(get("/livez"))
    await asyncio.sleep(0.01)  # so that it is read by itself
    client.hang_up()
    ((claim, _),) = await site.service.broker.withdrawn("w", timeout=PATIENCE)
    assert claim == claimed.claim


async def test_one_who_asks_and_hangs_up_abandons_nothing(redis: RedisServer) -> None:
    async with (
        started(Service(partial(RedisBroker, redis.url))) as service,
        (site := Site(service)).serving(),
    ):
        others = await service.broker.submit(new(), keep=False)
        redis.call("CLIENT", "PAUSE", 300)
        client = await site.client()
        client.send(get(f"/predict/{others.id}"))
        while not site.direct_way.outcomes():
            await asyncio.sleep(0.01)
        client.hang_up()
        while site.direct_way.outcomes():
            await asyncio.sleep(0.01)
        await site.server.answered()
        assert (await service.record(others.id)).status is Status.QUEUED


async def polling(site: Site, id: str) -> Client:
    """A client that waits on the direct way for the end of a prediction."""
    client = await site.client()
    client.send(get(f"/predict/{id}", "Prefer: wait=9"))
    async with asyncio.timeout(PATIENCE):
        while not site.direct_way.outcomes():
            await asyncio.sleep(0.01)
    return client


async def test_a_poll_that_waits_is_told_of_the_end() -> None:
    async with started(Service()) as service, (site := Site(service)).serving():
        client = await polling(site, await service.submit())
        await service.run()
        answer = await client.answer()
        assert json.loads(answer.body)["output"]["result"] == "done"
        assert answer.names["preference-applied"] == "wait=9"


async def test_one_whose_poll_waits_and_who_hangs_up_abandons_nothing() -> None:
    async with started(Service()) as service, (site := Site(service)).serving():
        id = await service.submit()
        claimed = await service.claim()
        client = await polling(site, id)
        client.hang_up()
        async with asyncio.timeout(PATIENCE):
            while site.direct_way.outcomes():
                await asyncio.sleep(0.01)
        await site.server.answered()
        await service.finish(claimed.claim)
        assert (await service.record(id)).status is Status.COMPLETED


@pytest.mark.parametrize("service", [{"sync_timeout": 0.1}], indirect=True)
async def test_a_call_that_takes_too_long_goes_on_asynchronously(site: Site) -> None:
    client, claimed = await site.calling()
    answer = await client.answer()
    assert answer.status == 202
    assert answer.names["location"] == f"/predict/{claimed.id}"
    assert "Not finished within 0.1 s." in json.loads(answer.body)["message"]
    (connection,) = site.server.server_state.connections
    exchange = cast("Protocol", connection)._exchange
    assert exchange is not None
    assert exchange._tell is None  # which would hold its input
    await site.service.finish(claimed.claim)
    assert (await site.service.record(claimed.id)).status is Status.COMPLETED
    assert site.service.broker.metrics.upgrades["m",] == 1


async def test_an_outcome_that_comes_as_patience_ends_is_told(site: Site) -> None:
    client, claimed = await site.calling()
    (caller,) = site.direct_way.patient
    await site.service.finish(claimed.claim)
    caller.expire()
    assert (await client.answer()).status == 200


@pytest.mark.parametrize("service", [{"sync_timeout": 0.1}], indirect=True)
async def test_a_call_of_a_named_model_is_found_where_all_are(site: Site) -> None:
    client = await site.client()
    client.send(post(path="/models/m/predict"))
    claimed = await site.service.claim()
    assert (await client.answer()).names["location"] == f"/predict/{claimed.id}"


async def test_one_who_waits_while_clients_are_turned_away_is_answered_and_let_go(
    site: Site,
) -> None:
    later = await site.client()
    async with working(site.service, GOOD):
        later.send(post())
        assert "connection" not in (await later.answer()).names
    client, claimed = await site.calling()
    site.server.turn_away()
    await site.service.finish(claimed.claim)
    assert (await client.answer()).names["connection"] == "close"
    assert await client.is_closed()
    async with working(site.service, GOOD):
        later.send(post())
        assert [v for n, v in (await later.answer()).headers if n == "connection"] == ["close"]
    assert await later.is_closed()


async def test_a_server_that_ends_answers_those_who_wait(service: Service) -> None:
    site = Site(service)
    async with site.serving():
        client, claimed = await site.calling()
        answered = asyncio.create_task(site.server.answered())
        site.server.should_exit = True
        await asyncio.sleep(0.2)  # it is on its way out
        assert not answered.done()
        await service.finish(claimed.claim)
        assert (await client.answer()).names["connection"] == "close"
        await answered


async def test_a_call_that_nobody_waits_for_is_found_by_its_id(site: Site) -> None:
    client = await site.client()
    for text in (b"a", b"b"):
        client.send(post(b'{"input":"%b"}' % text, "Async-Mode: true"))
        answer = await client.answer()
        claimed = await site.service.claim()
        assert answer.names["x-prediction-id"] == claimed.id
        assert answer.names["location"] == f"/predict/{claimed.id}"
        assert claimed.input == b'"%b"' % text
    assert len(site.direct_way._known) == 1
    assert not site.direct_way.outcomes()


@pytest.mark.parametrize("service", [{"webhook_secret": SECRET}], indirect=True)
async def test_a_call_with_a_webhook_is_kept_although_somebody_waits_for_it(site: Site) -> None:
    client = await site.client()
    client.send(post(b'{"input":"x","webhook":"https://93.184.215.14/"}'))
    claimed = await site.service.claim()
    await site.service.finish(claimed.claim)
    assert (await client.answer()).status == 200
    assert (await site.service.record(claimed.id)).status is Status.COMPLETED


async def test_a_call_that_cannot_be_done_in_time_is_refused(site: Site) -> None:
    client = await site.client()
    for seconds in (30.0, 0.0):  # so that it is known how long one takes, while another waits
        client.send(post())
        claimed = await site.service.claim()
        if seconds:
            site.service.clock.advance(seconds)
            await site.service.finish(claimed.claim)
            assert (await client.answer()).status == 200
    hasty = await site.client()
    hasty.send(post(b'{"input":"x","deadline":5}'))
    assert (await hasty.answer()).status == 429


async def test_who_waits_for_a_broker_that_closes_is_told(site: Site) -> None:
    client, claimed = await site.calling()
    await site.service.broker.aclose()
    answer = await client.answer()
    assert (answer.status, answer.names["x-prediction-id"]) == (503, claimed.id)


LIMITED = {"api_keys": [f"team={KEY}"], "keys": {"team": {"rate": 0.001, "burst": 4}}}


@pytest.mark.parametrize("service", [LIMITED], indirect=True)
async def test_a_request_is_counted_once_whichever_way_it_goes(site: Site) -> None:
    client = await site.client()
    key = f"X-API-Key: {KEY}"
    async with working(site.service, GOOD):
        for body, status in ((INPUT, 200), (b"{}", 422), (INPUT, 200), (b"{}", 422), (INPUT, 429)):
            client.send(post(body, key))
            assert (await client.answer()).status == status
    assert site.service.broker.metrics.rejections["invalid_input",] == 2
    assert site.service.broker.metrics.rejections["rate_limited",] == 1


PRIVATE = {
    "api_keys": [f"team={KEY}", f"others={KEY[::-1]}"],
    "keys": {name: {"sees": "own", "rate": 0.001, "burst": 3} for name in ("team", "others")},
}


@pytest.mark.parametrize("service", [PRIVATE], indirect=True)
async def test_a_poll_finds_what_is_its_callers_and_is_counted_once(site: Site) -> None:
    client = await site.client()
    client.send(post(INPUT, "Async-Mode: true", f"X-API-Key: {KEY}"))
    place = (await client.answer()).names["location"]
    await site.service.run()
    for key, statuses in ((KEY, (200, 200, 429)), (KEY[::-1], (404, 404, 404, 429)), ("x", (401,))):
        for status in statuses:
            client.send(get(place, f"X-API-Key: {key}"))
            assert (await client.answer()).status == status


@pytest.mark.parametrize("service", [LIMITED], indirect=True)
async def test_of_a_key_nothing_is_kept_but_digests(site: Site) -> None:
    client = await site.client()
    async with working(site.service, GOOD):
        client.send(post(INPUT, f"Authorization: Bearer {KEY}"))
        assert (await client.answer()).status == 200
    assert len(site.direct_way._known) == 1
    assert KEY not in repr(site.direct_way._known)


@pytest.mark.parametrize("service", [LIMITED], indirect=True)
async def test_a_call_belongs_to_whom_its_key_does(site: Site) -> None:
    client = await site.client()
    for key, owner in ((KEY, "team"), ("x" * 20, None)):
        client.send(post(INPUT, f"X-API-Key: {key}"))
        if owner is None:
            assert (await client.answer()).status == 401
        else:
            claimed = await site.service.claim()
            assert claimed.owner == owner
            await site.service.finish(claimed.claim)
            assert (await client.answer()).status == 200
