"""A real browser, and a page of it that reaches nothing but the server and reports no error."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.told import target
from tests.harness import PATIENCE, Holder, Server, holder

expect.set_options(timeout=1000 * PATIENCE)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: the pages were not tried in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


class Watch:
    """What a page asked for, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        page.on("request", lambda request: self._ask(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def _ask(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(url).netloc)

    def _hear(self, message: ConsoleMessage) -> None:
        # That an answer was a problem, or did not come, the browser writes there by itself.
        is_answer = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not is_answer:
            self.errors.append(message.text)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page. At the end: no script failed, no policy was violated, no other host was asked."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(1000 * PATIENCE)
    watch = Watch(page)
    yield page
    page.close()
    assert not watch.errors
    assert len(watch.hosts) == 1


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """A server with all models of `tests/browser/models.py`, which run one at a time."""
    with Server(
        *map(target, ("paint", "tells", "wicked", "Greeter")), "--concurrency", "1"
    ) as server:
        yield server


@pytest.fixture
def held() -> Iterator[Holder]:
    """Who holds runs of the model `tells`."""
    with holder() as held:
        yield held
