"""What the pages look up is complete, and what they refer to is there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of
from tests.harness import Server
from zypher.server.problems import STATUS
from zypher.settings import Settings, option

# Settings that are tables, which the text tells of.
TABLES = ("models", "keys")


def test_every_setting_is_in_the_reference_with_its_default_and_its_sentence() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = {
        cells[1].strip(): cells for row in page.splitlines() if len(cells := row.split("|")) > 4
    }
    for name, field in Settings.model_fields.items():
        if name in TABLES:
            continue
        assert f"`{option(name)}`" in rows, f"docs/settings.md has no row for {option(name)}"
        cells = rows[f"`{option(name)}`"]
        assert cells[3].strip() == field.description
        if isinstance(field.default, bool):
            assert cells[2].strip(" `") == str(field.default).lower()
        elif isinstance(field.default, int | float):
            assert float(cells[2].strip(" `")) == field.default
    assert len(rows) == len(Settings.model_fields) - len(TABLES) + 2  # and the head


def test_every_error_code_is_in_the_reference_with_its_status() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)) == {
        code: str(status) for code, status in STATUS.items()
    }


def test_every_endpoint_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    told = set(re.findall(r"`(?:(?:GET|POST|DELETE) )?(/[^\s`?]*)", page))
    with Server() as server:
        paths = server.client.get("/openapi.json").json()["paths"]
    described = {path.replace("/models/mock/", "/models/{name}/") for path in paths}
    assert described <= told, described - told


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_every_name_that_the_architecture_tells_of_exists() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    source = "\n".join(file.read_text() for file in files if file != Path(__file__))
    page = (ROOT / "docs" / "architecture.md").read_text()
    page = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    for name in re.findall(r"`([A-Za-z_.]+)`", page):
        last = name.rstrip("/").rpartition(".")[2]
        known = re.search(rf"{re.escape(last)}\b", source) or (ROOT / name).exists()
        assert known or last in ("py", "md"), name
