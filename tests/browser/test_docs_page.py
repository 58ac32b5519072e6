"""The documentation page, in a real browser that reaches nothing but the server."""

import json
import re
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.harness import Server, target

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: the pages were not tried in a browser"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(target("Sentiment")) as server:
        yield server


@pytest.fixture
def requested() -> list[str]:
    """Every address that the page asks for."""
    return []


@pytest.fixture
def page(browser: Browser, requested: list[str]) -> Iterator[Page]:
    page = browser.new_page()
    page.on("request", lambda request: requested.append(request.url))
    yield page
    page.close()


def test_the_page_shows_the_models_own_schema_and_asks_no_other_host(
    page: Page, server: Server, requested: list[str]
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)  # a browser at the root gets there
    expect(page).to_have_url(f"{server.url}/docs")
    expect(page.locator(".info .title")).to_contain_text("Sentiment Model API")
    page.locator("#operations-Predictions-predict").click()
    shown = page.locator(".opblock.is-open textarea")
    expect(shown).to_have_value(re.compile("stars"))
    body = json.loads(shown.input_value())
    assert body.pop("input") == {"text": "string", "stars": 3}
    assert body.pop("priority") == "normal"
    assert set(body.values()) == {None}  # options that are not used
    own = urlsplit(server.url).netloc
    assert {urlsplit(url).netloc for url in requested if not url.startswith("data:")} == {own}
    assert not errors


def test_a_prediction_can_be_made_from_the_page(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/docs")
    page.locator("#operations-Predictions-predict").click()
    opened = page.locator(".opblock.is-open")
    opened.locator("textarea").fill('{"input": {"text": "lovely", "stars": 5}}')
    opened.get_by_role("button", name="Execute").click()
    response = opened.locator(".live-responses-table tbody")
    expect(response).to_contain_text('"label": "great"')
