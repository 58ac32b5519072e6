"""The page for everybody: with the keyboard alone, on a phone, in the dark, behind a prefix."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser.models import MARKUP
from tests.docs.pages import MODELS_PAGE, models
from tests.harness import PATIENCE, Server, free_port

# Controls without a name, references that lead nowhere, ids that are there twice, pictures
# without a text.
FAULTS = """() => {
  const faults = [];
  const named = (one) => one.labels?.length || one.getAttribute("aria-label")
    || one.getAttribute("aria-labelledby") || one.textContent.trim() || one.title;
  const controls = "button, input, select, textarea, a, summary, progress, dialog";
  for (const one of document.querySelectorAll(controls))
    if (!named(one)) faults.push(`no name: ${one.outerHTML}`);
  for (const one of document.querySelectorAll("[aria-describedby], [aria-labelledby], label[for]"))
    for (const name of ["aria-describedby", "aria-labelledby", "for"])
      for (const id of (one.getAttribute(name) ?? "").split(" ").filter(Boolean))
        if (!document.getElementById(id)) faults.push(`${name}: ${id}`);
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`twice: ${id}`);
  for (const one of document.querySelectorAll("img:not([alt]), svg[role=img]:not([aria-label])"))
    faults.push(`no text: ${one.outerHTML}`);
  return faults;
}"""

NAME_OF_THE_FOCUSED = """() => {
  const { ariaLabel, labels, textContent } = document.activeElement;
  return ariaLabel || (labels?.length ? labels[0].textContent : textContent);
}"""

# The contrast of text with what is behind it, the worst on the page (WCAG 2.2: 4.5 at least).
CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  let worst = [21, ""];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.checkVisibility() || one.disabled) continue;
    const both = [light(getComputedStyle(one).color), light(behind(one))];
    const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    if (ratio < worst[0]) worst = [ratio, one.outerHTML.slice(0, 200)];
  }
  return worst;
}"""


@pytest.fixture
def painted(page: Page, server: Server) -> Page:
    """The page with something on all of its parts."""
    for value in ({"prompt": "a boat", "size": {}}, {"prompt": "another", "size": {}}):
        server.poll(server.submit(value, model="paint"), wait=20)
    server.poll(server.submit(1, model="tells"), wait=20)
    page.goto(f"{server.url}/ui")
    page.get_by_label("prompt").fill("a boat")
    page.get_by_role("button", name="Both, side by side").click()
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_label("Result", exact=True)).to_be_visible()
    for summary in page.locator("summary").all():
        summary.click()
    expect(page.locator("#ended > li").first).to_be_visible()
    return page


def test_every_control_has_a_name_and_every_reference_an_end(painted: Page) -> None:
    assert painted.evaluate(FAULTS) == []
    painted.locator("#ended").get_by_role("button", name="Open").first.click()
    expect(painted.get_by_role("dialog").get_by_label("Input", exact=True)).to_be_visible()
    assert painted.evaluate(FAULTS) == []


def test_the_plots_tell_in_words_what_they_show(painted: Page) -> None:
    for title in ("Throughput", "Time of a run", "Waiting"):
        plot = painted.get_by_role("img", name=f"{title} over the last")
        expect(plot).to_have_accessible_name(re.compile("paint: now .*, at most "))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_can_be_read(painted: Page, scheme: str) -> None:
    painted.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    ratio, where = painted.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    ground = painted.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground.strip("rgb()").split(","))
    assert brightness > 600 if scheme == "light" else brightness < 120


def test_a_phone_shows_it_without_scrolling_sideways(painted: Page) -> None:
    painted.set_viewport_size({"width": 360, "height": 740})
    width = "document.documentElement.scrollWidth"
    assert painted.evaluate(width) == 360
    painted.locator("#ended").get_by_role("button", name="Open").first.click()
    assert painted.evaluate(width) == 360
    box = painted.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def test_all_of_it_can_be_done_with_the_keyboard(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/ui")
    expect(page.get_by_label("prompt")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Go to the form")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "prompt")
    page.keyboard.type("by hand")
    tab_to(page, "Run async")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article")).to_contain_text("completed")
    expect(page.locator("#ended > li").first).to_be_visible()
    tab_to(page, "Details")
    page.keyboard.press("Enter")
    detail = page.get_by_role("dialog")
    expect(detail.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(detail).to_be_hidden()
    expect(page.get_by_role("button", name="Details")).to_be_focused()
    tab_to(page, "Show")
    tab_to(page, "Open")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called so."""
    for _ in range(80):
        page.keyboard.press("Tab")
        called = page.evaluate(NAME_OF_THE_FOCUSED)
        if str(called).strip().startswith(name):
            return
    raise AssertionError(f"nothing called {name!r} can be reached")


def test_who_wants_less_motion_gets_none(page: Page, server: Server) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{server.url}/ui")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_nothing_that_a_model_says_becomes_markup(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/ui")
    page.get_by_label("Model", exact=True).select_option("wicked")
    expect(page.locator("#model-description")).to_have_text(MARKUP)
    page.get_by_role("button", name="Both, side by side").click()
    shown = page.get_by_role("article", name="Asynchronous")
    expect(shown.get_by_label("Result", exact=True)).to_contain_text(MARKUP.replace('"', '\\"'))
    page.locator("#fields select").select_option("plain")
    page.get_by_role("button", name="Run async").click()
    expect(shown).to_contain_text("The model raised ValueError: " + MARKUP)
    failed = page.locator("#ended > li").filter(has_text=f"ValueError: {MARKUP}").first
    expect(failed).to_be_visible()
    failed.get_by_role("button", name="Open").click()
    expect(page.get_by_role("dialog").get_by_label("Log")).to_contain_text(MARKUP)
    assert page.locator(".markup").count() == 0
    assert page.evaluate("window.executed") is None


def test_it_works_in_an_application_that_includes_it_under_a_prefix(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "host.py").write_text(models(MODELS_PAGE)["host.py"])
    (tmp_path / "zypher.toml").write_text('mock-delay = "0"')
    with host(tmp_path) as url:
        page.goto(f"{url}/ml/")
        expect(page.get_by_role("status").first).to_have_text("Ready")
        for path in ("/ml/ui", "/ml/ui/"):
            page.goto(url + path)
            page.get_by_label("input *").fill("any text")
            page.get_by_role("button", name="Run async").click()
            expect(page.get_by_role("article")).to_contain_text("completed")


@contextmanager
def host(directory: Path) -> Iterator[str]:
    """An application of somebody's own, in which Zypher is included."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "host:app", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=directory, env=os.environ | {"PYTHONPATH": str(directory)}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_ready(url):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/ml/readyz").status_code == 200
    except httpx2.TransportError:
        return False
