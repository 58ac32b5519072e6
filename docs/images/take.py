"""Takes the pictures of the page: `python -m docs.images.take`, with Debian's chromium."""

import itertools
import shutil
import threading
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright
from tests.harness import Server

HERE = Path(__file__).parent
MODELS = ("paint", "tell")
PROMPTS = ("A lighthouse in the fog", "Two hills and a moon", "A harbour at dawn")
BAD = "A tab\tin a prompt"
WIDTH, HEIGHT = 1280, 1000

# Seconds of traffic before the first picture, so that the plots have something to show.
WARM_UP = 60


def main() -> None:
    """Serve two models, keep them busy, and take a picture in each colour scheme."""
    targets = [f"{name}={HERE / 'studio.py'}:{name}" for name in MODELS]
    done = threading.Event()
    with Server(*targets, "--concurrency", "3", "--broker", "memory:") as server:
        traffic = threading.Thread(target=keep_busy, args=(server, done))
        traffic.start()
        try:
            done.wait(WARM_UP)
            take_all(server.url)
        finally:
            done.set()
            traffic.join()


def keep_busy(server: Server, done: threading.Event) -> None:
    """Submit predictions, now many and now few."""
    for number in itertools.count():
        prompt = BAD if number % 20 == 5 else PROMPTS[number % len(PROMPTS)]
        server.submit({"prompt": prompt, "steps": 14 + number % 7 * 4}, model="paint")
        if number % 2:
            server.submit("Once upon a time", model="tell")
        if done.wait(0.3 if number % 12 < 6 else 1.4):
            return


def take_all(url: str) -> None:
    """The pictures of the page at this address."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{url}/ui")
        fill_in(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.screenshot(path=HERE / f"page-{scheme}.png")
        chromium.close()


def fill_in(page: Page) -> None:
    """Run something, so that there is an answer to see."""
    page.get_by_label("prompt").fill(PROMPTS[1])
    page.get_by_label("steps").fill("12")
    page.get_by_role("button", name="Both, side by side").click()
    expect(page.get_by_label("Result", exact=True)).to_be_visible(timeout=60_000)
    page.locator("h1").click()  # away from the buttons


if __name__ == "__main__":
    main()
