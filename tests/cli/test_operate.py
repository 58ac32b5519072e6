"""`ls`, `show`, `cancel`, `retry` and `purge` against a real server."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.cli.commands import zypher
from tests.harness import Holder, Server, holder


def done(server: Server, value: object, model: str | None = None) -> str:
    """The id of a prediction that has ended."""
    id = server.submit(value, model=model)
    server.poll(id, wait=20)
    return id


def output(server: Server, *words: str) -> str:
    """What a command prints that does well."""
    result = zypher(*words, ZYPHER_URL=server.url)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_a_pipe_gets_columns_with_tabs_and_no_heading(server: Server) -> None:
    good, bad = done(server, "x" * 9), done(server, "no", "fails")
    newest, older = output_rows(server, "ls", "--limit", "2")
    assert newest[:3] == [bad, "fails", "failed"]
    assert newest[4] == "model_error"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", newest[3])
    assert older == [good, "echo", "completed", older[3], ""]


def output_rows(server: Server, *words: str) -> list[list[str]]:
    result = zypher(*words, ZYPHER_URL=server.url)
    assert result.returncode == 0
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_the_list_is_filtered_and_says_when_there_is_more(server: Server) -> None:
    ids = [done(server, value, "letters") for value in ("a", "b")]
    bad = done(server, "no", "fails")
    assert [row[0] for row in output_rows(server, "ls", "--model", "letters")][:2] == ids[::-1]
    assert output_rows(server, "ls", "--status", "failed", "--limit", "1")[0][0] == bad
    assert {row[2] for row in output_rows(server, "ls", "--status", "failed")} == {"failed"}
    result = zypher("ls", "--limit", "1", ZYPHER_URL=server.url)
    assert result.stderr == "There are more than these 1: --limit shows them.\n"
    assert output(server, "ls", "--model", "nothing", "--status", "canceled") == ""


def test_the_list_as_json_has_the_members_of_the_api(server: Server) -> None:
    id = done(server, "x")
    result = zypher("ls", "--json", "--limit", "1", ZYPHER_URL=server.url)
    (record,) = json.loads(result.stdout)
    assert record["prediction_id"] == id
    assert set(record) <= set(server.client.get(f"/predictions/{id}").json())


def test_show_tells_what_there_is_to_tell(server: Server) -> None:
    text = output(server, "show", done(server, 2, "tell"))
    for part in (
        "model       tell",
        "status      completed after",
        "input       2",
        "result      2",
    ):
        assert part in text
    assert "progress    100% step 2" in text
    assert "log         line 1 [bold]" in text
    failed = output(server, "show", done(server, "why", "fails"))
    assert "status      failed after" in failed
    assert "why (model_error)" in failed


def test_show_as_json_is_the_record_of_the_api(server: Server) -> None:
    for id in (done(server, None), done(server, {"a": [1]}), done(server, "why", "fails")):
        record = json.loads(output(server, "show", "--json", id))
        told = server.client.get(f"/predictions/{id}").json()
        told.pop("detail", None)  # what `error` says
        assert record == told


def test_show_shortens_what_is_long(server: Server) -> None:
    id = done(server, "x" * 100_000)
    assert len(output(server, "show", id)) < 6000
    assert json.loads(output(server, "show", id, "--json"))["result"] == "x" * 100_000


def test_to_follow_what_has_ended_prints_its_result(server: Server) -> None:
    assert output(server, "show", "--follow", done(server, "hi")) == "hi\n"
    result = zypher("show", "--follow", done(server, "ab", "letters"), ZYPHER_URL=server.url)
    assert result.stdout == "ab\n"


def test_cancel_prints_what_it_has_canceled_and_goes_on_behind_a_failure(server: Server) -> None:
    with holder() as holding:
        ids = [server.submit(holding.port, model="hold") for _ in range(2)]
        runs = [holding.started() for _ in ids]
        ended = done(server, "x")
        result = zypher("cancel", ids[0], ended, "nonsense", ids[1], ZYPHER_URL=server.url)
        for run in runs:
            run.close()
    assert result.stdout.splitlines() == ids
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{ended}: ")
    assert first.endswith("(conflict)")
    assert second.startswith("nonsense: ")
    assert result.returncode == 1
    for id in ids:
        assert server.client.get(f"/predictions/{id}").json()["status"] == "canceled"


def test_retry_prints_the_ids_of_the_new_predictions(server: Server) -> None:
    ids = [done(server, "a"), done(server, "b")]
    again = output(server, "retry", *ids).splitlines()
    assert [server.poll(id, wait=20).json()["output"]["result"] for id in again] == ["a", "b"]
    record = server.client.get(f"/predictions/{again[0]}").json()
    assert record["retry_of"] == ids[0]
    assert f"retry of    {ids[0]}" in output(server, "show", again[0])


def test_purge_deletes_what_has_ended_and_fits(server: Server, held: Holder) -> None:
    good, bad = done(server, "a", "letters"), done(server, "no", "fails")
    runs_on = server.submit(held.port, model="hold")
    run = held.started()
    deleted = re.compile(r"Deleted \d+\.\n")
    assert output(server, "purge", "--yes", "--older", "1h") == "Deleted nothing.\n"
    assert (
        output(server, "purge", "--yes", "--model", "nap", "--status", "completed")
        == "Deleted nothing.\n"
    )
    assert deleted.fullmatch(output(server, "purge", "--yes", "--status", "failed"))
    assert exists(server, good)
    assert not exists(server, bad)
    assert deleted.fullmatch(output(server, "purge", "--yes", "--older", "0s"))
    assert not exists(server, good)
    assert exists(server, runs_on)
    run.finish()


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


def exists(server: Server, id: str) -> bool:
    return server.client.get(f"/predictions/{id}").status_code == 200


def test_purge_needs_to_be_told_yes_where_nobody_can_be_asked(server: Server) -> None:
    id = done(server, "a")
    result = zypher("purge", ZYPHER_URL=server.url, COLUMNS="200")
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert exists(server, id)


@pytest.mark.parametrize("time", ["1 hour", "-1h", "h", "1w", ""])
def test_a_time_that_is_none_is_wrong_usage(time: str) -> None:
    result = zypher("purge", "--yes", f"--older={time}", COLUMNS="200")
    assert result.returncode == 2
    assert "write it as in 90s" in result.stderr


def test_an_unknown_id_gets_one_clear_sentence(server: Server) -> None:
    for words in (
        ["show", "nonsense"],
        ["cancel", "a/b"],
        ["retry", "é"],
        ["show", "--follow", "x"],
    ):
        result = zypher(*words, ZYPHER_URL=server.url)
        assert result.returncode == 5
        assert result.stderr.count("\n") == 1
