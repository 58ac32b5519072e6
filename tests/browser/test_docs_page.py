"""The documentation page, in a real browser."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.harness import Server, target


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(target("Sentiment")) as server:
        yield server


def test_the_page_shows_the_models_own_schema_and_asks_no_other_host(
    page: Page, server: Server
) -> None:
    page.goto(f"{server.url}/docs")
    expect(page.locator(".info .title")).to_contain_text("Sentiment Model API")
    page.locator("#operations-Predictions-predict").click()
    shown = page.locator(".opblock.is-open textarea")
    expect(shown).to_have_value(re.compile("stars"))
    body = json.loads(shown.input_value())
    assert body.pop("input") == {"text": "string", "stars": 3}
    assert body.pop("priority") == "normal"
    assert set(body.values()) == {None}  # options that are not used


def test_a_prediction_can_be_made_from_the_page(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/docs")
    page.locator("#operations-Predictions-predict").click()
    opened = page.locator(".opblock.is-open")
    opened.locator("textarea").fill('{"input": {"text": "lovely", "stars": 5}}')
    opened.get_by_role("button", name="Execute").click()
    response = opened.locator(".live-responses-table tbody")
    expect(response).to_contain_text('"label": "great"')
