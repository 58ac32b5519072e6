"""The documentation is true: its models are served, its commands run, its tables are complete."""

import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.harness import Server, WorkerProcess
from tests.redis_servers import Program, RedisServer
from zypher.server.problems import STATUS
from zypher.settings import Settings, option

ROOT = Path(__file__).parents[1]
HOW_TO = ROOT / "docs" / "models.md"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SCALE_OUT = ROOT / "docs" / "how-to" / "scale-out.md"
# That of webhooks, which has a receiver, is tried with the webhooks; to scale out takes a Redis;
# those who move in bring models of their own (test_moving_in).
ELSEWHERE = ("webhooks", SCALE_OUT.stem, "from-cog", "from-litserve", "from-celery")
RECIPES = [page for page in PAGES if page.parent.name == "how-to" and page.stem not in ELSEWHERE]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE
    )
    return [textwrap.dedent(block) for _, block in found]


def models(page: Path) -> dict[str, str]:
    """The Python files of a page by name: each begins with its name in a comment."""
    return {block.partition("\n")[0].removeprefix("# "): block for block in blocks(page, "python")}


def run_curl(server: Server, command: str) -> str:
    """What this curl command would print, if it were sent to the server."""
    return curl(server, command).text


def curl(server: Server, command: str) -> httpx2.Response:
    """The answer to this curl command, if it were sent to the server."""
    words = shlex.split(command)
    assert words[0] == "curl"
    headers, body, path, method = {}, None, "", None
    rest = iter(words[1:])
    for word in rest:
        if word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(rest)
        elif word == "-X":
            method = next(rest)
        elif word != "-N":
            path = word.removeprefix("http://127.0.0.1:8080")
    method = method or ("GET" if body is None else "POST")
    return server.client.request(method, path, content=body, headers=headers)


def test_the_commands_of_the_first_minute_do_what_the_readme_says() -> None:
    with Server("--mock-delay", "0.1") as server:
        (block,) = [b for b in blocks(ROOT / "README.md", "sh") if "PREDICTION_ID" in b]
        synchronous, asynchronous, poll = block.splitlines()
        answer = json.loads(run_curl(server, synchronous))
        assert answer["input"] == "hi"
        assert float(answer["result"]) == float(answer["result"])
        id = json.loads(run_curl(server, asynchronous))["prediction_id"]
        server.poll(id, wait=20)
        polled = json.loads(run_curl(server, poll.replace("PREDICTION_ID", id)))
        assert polled["output"]["input"] == "hi"


def test_the_model_of_the_readme_answers_as_shown(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    for name, code in models(page).items():
        (tmp_path / name).write_text(code)
    (block,) = [b for b in blocks(page, "sh") if "sentiment.py" in b]
    serve, curl, shown = block.splitlines()
    with Server(*shlex.split(serve)[2:], cwd=tmp_path) as server:
        assert run_curl(server, curl) == shown.removeprefix("# ")


def test_a_client_does_not_notice_that_one_machine_became_three(tmp_path: Path) -> None:
    (tmp_path / "sentiment.py").write_text(models(ROOT / "README.md")["sentiment.py"])
    alone, redis, worker, server, curl = blocks(SCALE_OUT, "sh")
    command, shown = curl.splitlines()
    with Server(*shlex.split(alone)[2:], cwd=tmp_path) as one:
        assert run_curl(one, command) == shown.removeprefix("# ")
    (settings,) = blocks(SCALE_OUT, "env")
    durability = shlex.split(redis)[5:]
    with RedisServer(tmp_path, *durability, program=Program.VALKEY, password="PASSWORD") as here:
        place = f"127.0.0.1\nREDIS_PORT={here.port}"
        (tmp_path / ".env").write_text(settings.replace("10.0.0.1", place))
        with (
            WorkerProcess(*shlex.split(worker)[2:], cwd=tmp_path),
            Server(*shlex.split(server)[2:], cwd=tmp_path) as many,
        ):
            assert run_curl(many, command) == shown.removeprefix("# ")
            assert "survives the death of Redis and of its machine" in "".join(many.lines)
            assert "PASSWORD" not in "".join(many.lines)


@pytest.mark.parametrize(
    ("target", "value", "result"),
    [
        ("greeter.py:Greeter", "Ann", "Hello, Ann!"),
        ("area.py:area", {"width": 3}, 3.0),
        ("fetch.py:fetch", 0, "done"),
        ("countdown.py:countdown", 3, [3, 2, 1]),
        ("letters.py:letters", "word", "word"),
        ("steps.py:steps", 3, 3),
        ("lengths.py:Lengths", "four", 4),
        ("review.py:judge", {"text": "Nice.", "stars": 5}, "good"),
    ],
)
def test_the_models_of_the_how_to_can_be_served_as_they_are(
    tmp_path: Path, target: str, value: object, result: object
) -> None:
    for name, code in models(HOW_TO).items():
        (tmp_path / name).write_text(code)
    with Server(target, cwd=tmp_path) as server:
        assert server.predict(value).json()["result"] == result


def test_the_tables_of_the_how_to_make_two_models(tmp_path: Path) -> None:
    page = HOW_TO
    for name, code in models(page).items():
        (tmp_path / name).write_text(code)
    (table,) = blocks(page, "toml")
    (tmp_path / "zypher.toml").write_text(table)
    with Server(cwd=tmp_path) as server:
        assert server.predict("abc").json()["result"] == 3
        assert server.predict({"width": 2, "height": 4}, model="area").json()["result"] == 8
        assert len(server.replicas()) == 3


def test_every_setting_is_in_the_reference_with_its_default_and_its_sentence() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = {
        cells[1].strip(): cells for row in page.splitlines() if len(cells := row.split("|")) > 4
    }
    for name, field in Settings.model_fields.items():
        if name == "models":
            continue
        assert f"`{option(name)}`" in rows, f"docs/settings.md has no row for {option(name)}"
        cells = rows[f"`{option(name)}`"]
        assert cells[3].strip() == field.description
        if isinstance(field.default, bool):
            assert cells[2].strip(" `") == str(field.default).lower()
        elif isinstance(field.default, int | float):
            assert float(cells[2].strip(" `")) == field.default
    assert len(rows) == len(Settings.model_fields) - 1 + 2  # less `models`, and the head


def test_every_error_code_is_in_the_reference_with_its_status() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)) == {
        code: str(status) for code, status in STATUS.items()
    }


@pytest.fixture(scope="module")
def mock() -> Iterator[Server]:
    """What the recipes are tried with: a server with a mock that takes its time."""
    with Server("--mock-delay", "2") as server:
        yield server


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_the_commands_of_a_recipe_answer_as_shown(page: Path, mock: Server) -> None:
    id = ""
    for block in blocks(page, "sh"):
        lines = block.splitlines()
        for command, shown in zip(lines[::2], lines[1::2], strict=True):
            response = curl(mock, command.replace("PREDICTION_ID", id))
            _, status, *rest = shown.split(" ", 2)
            assert response.status_code == int(status), response.text
            if '"PREDICTION_ID"' in shown:
                id = response.json()["prediction_id"]
            for part in rest:
                assert_shows(response.text, part.replace("PREDICTION_ID", id))


def assert_shows(text: str, shown: str) -> None:
    """The text begins as it is shown, or, if that is JSON, has the members that are shown."""
    if not shown.startswith("{"):
        assert text.startswith(shown)
        return
    answer = json.loads(text)
    if shown.endswith(": ...}"):
        assert set(json.loads(shown.replace("...", "0"))) <= set(answer)
        return
    members = json.loads(shown.replace(", ...", ""))
    assert {name: answer.get(name) for name in members} == members


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
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
