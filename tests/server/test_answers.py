"""What answers tell a browser: what they are, who may keep them, and whose pages may read them."""

import httpx2
import pytest

from tests.server.service import EVENTS, Call, Service
from zypher.errors import ConfigurationError
from zypher.settings import load_settings

pytestmark = pytest.mark.anyio

SITE = "https://app.example"
BOTH = {"cors_origins": [SITE, "http://127.0.0.1:3000"]}
WITH_SITES = pytest.mark.parametrize("service", [BOTH], indirect=True)
OPEN_TO_ALL = pytest.mark.parametrize("service", [{"cors_origins": ["*"]}], indirect=True)


@pytest.fixture
async def answers(service: Service) -> dict[str, httpx2.Response]:
    """Answers of every kind."""
    id = await service.submit()
    paths = ("/", "/models", "/stats", "/readyz", "/openapi.json", "/nothing", "/predictions")
    asked = {path: await service.client.get(path) for path in (*paths, f"/predict/{id}")}
    asked |= {"refused": await service.client.post("/predict", content=b"x")}
    asked |= {"accepted": await service.predict(headers={"Async-Mode": "true"})}
    return asked


async def test_what_has_inputs_and_results_is_kept_by_nobody_and_is_what_it_says(
    answers: dict[str, httpx2.Response],
) -> None:
    for answer in answers.values():
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_events_are_kept_by_nobody(service: Service) -> None:
    call = Call.predict(service.app, **EVENTS)
    await call.begin()
    assert call.headers["cache-control"] == "no-store"
    assert call.headers["x-content-type-options"] == "nosniff"
    await call.hang_up()


@pytest.mark.parametrize("path", ["/ui", "/docs"])
async def test_a_page_runs_its_own_files_alone_and_in_nobodys_frame(
    service: Service, path: str
) -> None:
    answer = await service.client.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; " in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script>" not in answer.text
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/ui/main.js", "/docs/swagger-ui.css", "/docs/start.js"])
async def test_the_files_of_a_page_are_for_that_page(service: Service, path: str) -> None:
    answer = await service.client.get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


# Pages of other sites.


def preflight(origin: str, method: str = "POST", headers: str = "content-type") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_no_page_of_another_site_may_call_unless_it_is_allowed_to(service: Service) -> None:
    answer = await service.client.get("/stats", headers={"Origin": SITE})
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = await service.client.options("/predict", headers=preflight(SITE))
    assert answer.status_code == 405


@WITH_SITES
async def test_a_site_that_is_allowed_is_told_so_before_it_asks(service: Service) -> None:
    wanted = "authorization,x-api-key,async-mode,prefer,idempotency-key,cancel-after,content-type"
    answer = await service.client.options("/predict", headers=preflight(SITE, headers=wanted))
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "Access-Control-Allow-Credentials" not in answer.headers


@WITH_SITES
@pytest.mark.parametrize(
    "asks",
    [
        preflight("https://evil.example"),
        preflight("https://app.example.evil.example"),
        preflight("http://app.example"),
        preflight("null"),
    ],
)
async def test_a_site_that_is_not_allowed_is_refused(
    service: Service, asks: dict[str, str]
) -> None:
    answer = await service.client.options("/predict", headers=asks)
    assert answer.status_code == 400
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = await service.client.get("/stats", headers={"Origin": asks["Origin"]})
    assert "Access-Control-Allow-Origin" not in answer.headers


@WITH_SITES
async def test_a_site_that_is_allowed_reads_answers_errors_and_where_to_go_on(
    service: Service,
) -> None:
    origin = {"Origin": SITE}
    accepted = await service.predict(headers=origin | {"Async-Mode": "true"})
    refused = await service.client.post("/predict", content=b"x", headers=origin)
    absent = await service.client.get("/nothing", headers=origin)
    assert [a.status_code for a in (accepted, refused, absent)] == [202, 415, 404]
    for answer in (accepted, refused, absent):
        assert answer.headers["Access-Control-Allow-Origin"] == SITE
        assert "Origin" in answer.headers["Vary"]
        exposed = answer.headers["Access-Control-Expose-Headers"]
        assert exposed == "X-Prediction-Id, Location, Retry-After, Preference-Applied"


@WITH_SITES
async def test_a_site_that_is_allowed_follows_events(service: Service) -> None:
    call = Call.predict(service.app, **EVENTS, Origin=SITE)
    await call.begin()
    assert call.headers["access-control-allow-origin"] == SITE
    await call.hang_up()


@OPEN_TO_ALL
async def test_any_site_may_be_allowed_without_what_its_visitor_alone_has(
    service: Service,
) -> None:
    answer = await service.client.get("/stats", headers={"Origin": "https://any.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "https://*", "null"])
def test_what_is_no_origin_is_no_setting(origin: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cors-origins.* is no origin"):
        load_settings(cors_origins=origin)
