"""The documentation is true: its models are served, its commands run, its tables are complete."""

import shlex
import sqlite3
import subprocess
from itertools import takewhile
from pathlib import Path

import pytest
from benchmarks.__main__ import ROWS

from tests.docs.pages import (
    MODELS_PAGE,
    PAGES,
    README,
    ROOT,
    all_blocks,
    blocks,
    models,
    name_of,
    run_curl,
    write_models,
)
from tests.docs.person import Person
from tests.faults.catalogue import FAULTS
from tests.harness import Server, WorkerProcess
from tests.redis_servers import Program, RedisServer
from tests.soak.places import PLACES
from zypher.settings import Settings

DOCS = ROOT / "docs"
QUEUE = DOCS / "queue.md"
RELOAD = DOCS / "how-to" / "reload.md"
SCALE_OUT = DOCS / "how-to" / "scale-out.md"

# A person follows these from top to bottom; the recipes with a mock that takes its time.
WHOLE = [
    *(README, DOCS / "tutorial.md"),
    *(DOCS / "how-to" / f"{name}.md" for name in ("hardware", "keys")),
]
RECIPES = [DOCS / "how-to" / f"{name}.md" for name in ("cancel", "follow", "idempotency", "queue")]

# Where the code of all others is tried.
ELSEWHERE = {
    "docs/cli.md": "tests/cli/test_reference.py",
    "docs/client.md": "tests/client/test_client_docs.py",
    "docs/faults.md": "tests/docs/test_pages.py",
    "docs/how-to/docker.md": "tests/deploy/test_how_tos.py",
    "docs/how-to/from-celery.md": "tests/docs/test_moving_in.py",
    "docs/how-to/from-cog.md": "tests/docs/test_moving_in.py",
    "docs/how-to/from-litserve.md": "tests/docs/test_moving_in.py",
    "docs/how-to/kubernetes.md": "tests/deploy/test_how_tos.py",
    "docs/how-to/operate.md": "tests/docs/test_pages.py",
    "docs/how-to/reload.md": "tests/docs/test_pages.py",
    "docs/how-to/scale-out.md": "tests/docs/test_pages.py",
    "docs/how-to/traces.md": "tests/test_tracing.py",
    "docs/how-to/webhooks.md": "tests/server/webhooks/test_how_to.py",
    "docs/metrics.md": "tests/test_monitoring.py",
    "docs/models.md": "tests/docs/test_pages.py",
    "docs/performance.md": "tests/docs/test_pages.py",
    "docs/queue.md": "tests/docs/test_pages.py",
    "docs/testing.md": "tests/docs/test_moving_in.py",
    "examples/README.md": "tests/docs/test_pages.py",
}


@pytest.mark.parametrize("page", WHOLE, ids=name_of)
def test_who_follows_a_page_sees_what_it_shows(page: Path, tmp_path: Path) -> None:
    with Person(tmp_path) as person:
        person.follow(page)


@pytest.mark.parametrize("page", RECIPES, ids=name_of)
def test_the_commands_of_a_recipe_answer_as_shown(page: Path, tmp_path: Path) -> None:
    with Person(tmp_path) as person:
        person.serve("--mock-delay", "2")
        person.follow(page)


def test_the_code_of_every_page_is_tried() -> None:
    with_code = {
        name_of(page) for page in PAGES if {b.language for b in all_blocks(page)} - {"text"}
    }
    assert with_code == {*map(name_of, WHOLE), *map(name_of, RECIPES), *ELSEWHERE}
    for page, test in ELSEWHERE.items():
        assert Path(page).name.removesuffix(".md") in (ROOT / test).read_text()


def test_what_the_page_about_models_serves_can_be_served(tmp_path: Path) -> None:
    write_models(README, tmp_path)
    write_models(MODELS_PAGE, tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "models.py").write_text("def price(item: str) -> int:\n    return 3\n")
    for file, name in (("x.py", "Model"), ("y.py", "Model")):
        (tmp_path / file).write_text(
            f"class {name}:\n    def predict(self, x: int) -> int:\n        return x\n"
        )
    commands, ask = blocks(MODELS_PAGE, "sh")
    for command in commands.splitlines():
        with Server(*shlex.split(command, comments=True)[2:], cwd=tmp_path):
            pass
    command, shown = ask.splitlines()
    with Server("area.py:area", cwd=tmp_path) as server:
        assert run_curl(server, command) == shown.removeprefix("# ")


def test_a_queue_is_kept_copied_and_looked_into_as_the_page_says(tmp_path: Path) -> None:
    write_models(README, tmp_path)
    serve, backup, look = (block.strip() for block in blocks(QUEUE, "sh"))
    queue, copy = tmp_path / "queue.db", tmp_path / "copy.db"
    arguments = serve.replace("/var/lib/zypher/queue.db", str(queue)).split()[2:]
    with Server(*arguments, cwd=tmp_path) as server, Person(tmp_path) as person:
        server.poll(server.submit("all is fine"), wait=20)
        person.run(backup.replace("/backups/queue.db", f"{copy} --broker sqlite:///{queue}"))
        server.stop()
    query = shlex.split(look)[-1]
    for file in (queue, copy):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            assert connection.execute(query).fetchall() == [("sentiment", "completed", 1)]
        connection.close()


def test_the_examples_answer_as_their_page_says() -> None:
    page = ROOT / "examples" / "README.md"
    _, ask, file, together = blocks(page, "sh")
    with Server(f"{page.parent}/language.py:Language") as server:
        assert '"de"' in run_curl(server, ask)
    photo = file.replace("photo.png", str(DOCS / "images" / "page-light.png")).partition(" | curl")[
        0
    ]
    with Server(f"{page.parent}/filetype.py:FileType") as server:
        command = photo.partition(" | curl")[0]
        body = subprocess.run(command, shell=True, check=True, capture_output=True).stdout
        headers = {"Content-Type": "application/json"}
        answer = server.client.post("/predict", content=body, headers=headers)
        assert "png" in answer.text
    with Server(cwd=page.parent, ZYPHER_BROKER="memory:") as server:
        assert '"es"' in run_curl(server, together.splitlines()[-1])


def test_what_takes_too_long_to_be_run_here_is_at_least_there() -> None:
    commands = "".join(blocks(DOCS / "faults.md", "sh") + blocks(DOCS / "performance.md", "sh"))
    script = (ROOT / "run").read_text()
    for line in commands.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "./run":
            assert f"\n{arguments[0]})" in script
            if arguments[0] == "benchmark":
                assert {*takewhile(str.isidentifier, arguments[1:])} <= ROWS.keys()
            assert "--only" not in arguments or arguments[-1] in {*FAULTS, *PLACES}
        else:
            assert (ROOT / arguments[0]).exists()


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


def test_new_code_runs_as_the_how_to_says_after_a_save_and_after_a_signal(tmp_path: Path) -> None:
    file, code = tmp_path / "sentiment.py", models(ROOT / "README.md")["sentiment.py"]
    file.write_text(code)
    serve, kill = blocks(RELOAD, "sh")
    with Server(*shlex.split(serve)[2:], cwd=tmp_path) as server:
        file.write_text(code.replace('"fine": 0.5', '"fine": 0.75'))
        (shown,) = blocks(RELOAD, "text")
        said = [line.split(maxsplit=2)[2] for line in shown.splitlines()]  # without the time
        for line in said:
            server.wait_said(line)
        assert server.predict("all is fine").json()["result"] == {"score": 0.75}
        subprocess.run(kill.replace("PID", str(server.process.pid)), shell=True, check=True)
        server.wait_said(said[-1], times=2)


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
    write_models(MODELS_PAGE, tmp_path)
    with Server(target, cwd=tmp_path) as server:
        assert server.predict(value).json()["result"] == result


def test_the_tables_of_the_how_to_make_two_models(tmp_path: Path) -> None:
    write_models(MODELS_PAGE, tmp_path)
    (table,) = blocks(MODELS_PAGE, "toml")
    (tmp_path / "zypher.toml").write_text(table)
    with Server(cwd=tmp_path) as server:
        assert server.predict("abc").json()["result"] == 3
        assert server.predict({"width": 2, "height": 4}, model="area").json()["result"] == 8
        assert len(server.replicas()) == 3


def test_the_service_of_the_how_to_starts_reloads_and_stops_in_time(tmp_path: Path) -> None:
    (unit,) = blocks(DOCS / "how-to" / "operate.md", "ini")
    said = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    write_models(README, tmp_path)
    with Server(*shlex.split(said["ExecStart"])[2:], cwd=tmp_path) as server:
        reload = said["ExecReload"].replace("$MAINPID", str(server.process.pid))
        subprocess.run(reload, shell=True, check=True)
        server.wait_said("sentiment runs the new code.")
        assert server.stop() == 0
    defaults = Settings.model_fields
    assert int(said["TimeoutStopSec"]) > defaults["grace"].default + defaults["drain_delay"].default
