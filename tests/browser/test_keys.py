"""The pages of a server that asks for an API key."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.test_look import CONTRAST, FAULTS
from tests.browser.told import target, tell
from tests.harness import Holder, Server

ANN, BOB, OPS = (f"zy_of-{name}-which-is-long" for name in ("ann", "bob", "ops"))
TABLE = '[keys.ops]\nsees = "all"\n'


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for keys, with all models of `tests/browser/models.py`."""
    place = tmp_path_factory.mktemp("guarded")
    (place / "zypher.toml").write_text(TABLE)
    keys = f"ann={ANN}, bob={BOB}, ops={OPS}"
    with Server(*map(target, ("tells", "paint")), cwd=place, ZYPHER_API_KEYS=keys) as server:
        server.client.headers["X-API-Key"] = ANN
        yield server


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="API key")


def give(page: Page, key: str) -> None:
    """Type a key into the dialog, and hand it in."""
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")


def test_the_page_asks_for_a_key_says_if_it_is_wrong_and_shows_what_it_opens(
    page: Page, guarded: Server, held: Holder
) -> None:
    guarded.submit(held.port, model="tells")
    run = held.started()
    page.goto(f"{guarded.url}/ui")
    expect(dialog(page)).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    expect(page.get_by_role("status").first).to_have_text("Key needed")
    give(page, "two words")
    expect(page.get_by_role("alert").last).to_contain_text("no blanks")
    give(page, BOB[:-1])
    expect(page.get_by_role("alert").last).to_have_text("This key is none that the server knows.")
    give(page, ANN)
    expect(dialog(page)).to_be_hidden()
    expect(page.get_by_role("status").first).to_have_text("Ready")
    row = page.locator("#running > li")
    expect(row).to_be_visible()
    assert page.evaluate(FAULTS) == []
    tell(run, fraction=0.4, text="step 2 of 5")
    expect(row).to_contain_text("40 % · step 2 of 5")
    row.get_by_role("button", name="Open").click()
    detail = page.get_by_role("dialog", name="A prediction")
    tell(run, output="It was ")
    expect(detail).to_contain_text("It was")
    run.close()
    expect(detail.get_by_label("Result", exact=True)).to_contain_text("It was")
    expect(detail).to_contain_text("ann")


def test_the_key_stays_in_this_tab_over_a_reload_and_is_forgotten_with_all_it_showed(
    page: Page, guarded: Server
) -> None:
    painting = {"prompt": "a boat", "size": {}}
    guarded.poll(guarded.submit(painting, model="paint"), wait=20)
    page.goto(f"{guarded.url}/ui")
    give(page, ANN)
    expect(page.get_by_role("status").first).to_have_text("Ready")
    page.reload()
    expect(page.get_by_role("status").first).to_have_text("Ready")
    page.locator("#ended > li").first.wait_for()
    assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    page.get_by_role("button", name="Forget key").click()
    expect(dialog(page)).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    expect(page.locator("#ended > li")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert").first).to_have_text("This server asks for an API key.")
    page.get_by_role("button", name="Enter key").click()
    give(page, BOB)
    expect(page.get_by_role("status").first).to_have_text("Ready")
    expect(page.locator("#models")).to_contain_text("tells")
    expect(page.locator("#ended > li")).to_have_count(0)


def test_a_prediction_is_made_with_the_key_and_no_code_to_copy_shows_it(
    page: Page, guarded: Server
) -> None:
    page.goto(f"{guarded.url}/ui")
    give(page, OPS)
    page.get_by_label("Model", exact=True).select_option("paint")
    page.get_by_label("prompt").fill("a boat")
    page.get_by_role("button", name="Both, side by side").click()
    for name, part in (("Synchronous", "Body of the answer"), ("Asynchronous", "Result")):
        answer = page.get_by_role("article", name=name, exact=True)
        expect(answer.get_by_label(part, exact=True)).to_contain_text("a boat")
        assert OPS not in answer.inner_html()
        expect(answer.get_by_label("curl", exact=True)).to_contain_text(
            '"X-API-Key: $ZYPHER_API_KEY"'
        )


def test_the_dialog_can_be_read_and_fits_a_phone(page: Page, guarded: Server) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    page.goto(f"{guarded.url}/ui")
    give(page, BOB[:-1])
    expect(page.get_by_role("alert").last).to_be_visible()
    box = dialog(page).bounding_box()
    assert box is not None
    assert (box["x"] >= 0, box["x"] + box["width"] <= 360) == (True, True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where


def test_the_docs_ask_for_the_key_and_use_it(page: Page, guarded: Server) -> None:
    page.goto(f"{guarded.url}/docs")
    page.get_by_role("textbox").fill(BOB[:-1])
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert")).to_have_text("This key is none that the server knows.")
    page.get_by_role("textbox").fill(BOB)
    page.keyboard.press("Enter")
    expect(page.locator(".info .title")).to_contain_text("Tells Model API")
    page.locator("#operations-Server-statistics").click()
    opened = page.locator(".opblock.is-open")
    opened.get_by_role("button", name="Execute").click()
    expect(opened.locator(".live-responses-table tbody")).to_contain_text('"queued"')
    page.goto(f"{guarded.url}/ui")  # the same tab has it already
    expect(page.get_by_role("status").first).to_have_text("Ready")
