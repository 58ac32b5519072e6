"""The page is served as files of the package, and lets a browser do nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import zypher
from tests.harness import Server

FILES = Path(zypher.__file__).parent / "server" / "page"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--mock-delay", "0", "--root-path", "/ml") as server:
        yield server


def test_a_browser_gets_the_page_at_the_root_and_a_program_a_welcome(server: Server) -> None:
    page = server.client.get("/", headers=HTML)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.content == server.client.get("/ui").content == (FILES / "index.html").read_bytes()
    welcome = server.client.get("/")
    assert welcome.json()["message"] == "Welcome to the Mock Model API!"
    assert page.headers["Vary"] == welcome.headers["Vary"] == "Accept"


def test_the_path_with_a_slash_leads_to_the_one_without(server: Server) -> None:
    response = server.client.get("/ui/")
    assert (response.status_code, response.headers["Location"]) == (307, "../ui")


@pytest.mark.parametrize("file", sorted(FILES.iterdir()), ids=lambda file: file.name)
def test_every_file_is_served_with_its_type_and_a_strict_policy(server: Server, file: Path) -> None:
    response = server.client.get(f"/ui/{file.name}")
    assert response.content == file.read_bytes()
    types = {
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg",
        ".html": "text/html",
    }
    assert response.headers["Content-Type"].startswith(types[file.suffix])
    policy = response.headers["Content-Security-Policy"]
    for rule in (
        "default-src 'none'",
        "frame-ancestors 'none'",
        "script-src 'self'",
        "base-uri 'none'",
    ):
        assert rule in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"


def test_a_browser_asks_each_time_and_gets_only_what_has_changed(server: Server) -> None:
    for path in ("/ui", "/ui/main.js"):
        first = server.client.get(path)
        assert first.headers["Cache-Control"] == "no-cache"
        again = server.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        changed = server.client.get(path, headers={"If-None-Match": '"another"'})
        assert changed.status_code == 200


def test_what_is_no_file_of_the_page_is_not_found(server: Server) -> None:
    for path in ("/ui/nothing.js", "/ui/..%2fpage.py", "/ui/%2e%2e/page.py"):
        response = server.client.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("file", sorted(FILES.iterdir()), ids=lambda file: file.name)
def test_no_file_names_an_outside_address_or_makes_markup_of_text(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"""https?:|[\"'(]//""", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    if file.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", text)
        addresses = re.findall(r'(?:href|src)="([^"]*)"', text)
        assert addresses
        assert not [address for address in addresses if address.startswith("/")]
