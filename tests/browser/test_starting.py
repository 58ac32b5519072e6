"""The page while the server still loads its models."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.harness import Holder, Server, steady_port


def test_a_page_that_is_open_before_the_models_are_loaded_shows_them_then(
    page: Page, held: Holder, tmp_path: Path
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import socket\n"
        f"with socket.create_connection(('127.0.0.1', {held.port})) as gate:\n"
        "    gate.sendall(b'0\\n')\n"
        "    gate.makefile().read()\n"
        "def slow(words: str) -> str:\n"
        '    """Says it slowly."""\n'
        "    return words\n"
    )
    server = Server(f"{slow}:slow", "--port", str(port := steady_port()))
    try:
        importing = held.started()
        with page.expect_response("**/models") as asked:
            page.goto(f"http://127.0.0.1:{port}/ui")
        assert asked.value.status == 503
        expect(page.locator("#status-text")).to_have_text("Starting")
        page.get_by_text("Input as JSON").first.click()
        page.locator("#json").fill("[1")
        page.get_by_role("button", name="Run", exact=True).click()
        importing.finish()
        expect(page.get_by_text("Says it slowly.")).to_be_visible()
        page.get_by_label("input *").fill("well")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("article", name="Synchronous")).to_contain_text("200 OK")
    finally:
        server.kill()
