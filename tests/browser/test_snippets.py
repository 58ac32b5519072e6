"""What the documentation says to do in a browser."""

from pathlib import Path

from playwright.sync_api import Page

from tests.docs.pages import MODELS_PAGE, ROOT, blocks, write_models
from tests.harness import Server


def test_the_events_of_the_how_to_tell_of_the_end(page: Page, tmp_path: Path) -> None:
    (code,) = blocks(ROOT / "docs" / "how-to" / "follow.md", "js")
    write_models(MODELS_PAGE, tmp_path)
    with Server("letters.py:letters", cwd=tmp_path) as server:
        id = server.submit("word")
        page.goto(f"{server.url}/ui")
        with page.expect_console_message(lambda message: message.text == "completed"):
            page.evaluate(f"(id) => {{ {code} globalThis.told = () => text; }}", id)
        assert page.evaluate("told()") == "word"
