"""On a terminal: a bar that moves, Ctrl-C, tables that fit, and nothing that could command it."""

import re
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.cli.terminals import CTRL_C, Terminal
from tests.harness import Holder, Server, holder


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


def test_ctrl_c_cancels_what_it_waits_for_and_says_so(server: Server, held: Holder) -> None:
    with Terminal("predict", "--model", "hold", str(held.port), url=server.url) as terminal:
        run = held.started()
        terminal.press(CTRL_C)
        assert terminal.end() == 130
        run.close()
        (id,) = [line.rpartition(" ")[2][:-1] for line in terminal.lines if "Canceled" in line]
        assert server.client.get(f"/predictions/{id}").json()["status"] == "canceled"
        assert terminal.lines[-1] == f"Canceled prediction {id}."


def test_ctrl_c_while_following_leaves_the_prediction_alone(server: Server, held: Holder) -> None:
    id = server.submit(held.port, model="hold")
    run = held.started()
    with Terminal("show", "--follow", id, url=server.url) as terminal:
        terminal.wait_for("processing")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
        assert terminal.lines[-1] == f"No longer followed: prediction {id} goes on."
    run.finish("whole")
    assert server.poll(id, wait=20).json()["output"]["result"] == "whole"


@pytest.mark.parametrize("follow", [[], ["--follow"]])
def test_a_terminal_that_is_closed_cancels_what_it_waits_for(
    server: Server, held: Holder, follow: list[str]
) -> None:
    words = ["predict", "--model", "hold", *follow, str(held.port)]
    with Terminal(*words, url=server.url) as terminal:
        run = held.started()
        running = {"model": "hold", "status": "processing"}
        (record,) = server.client.get("/predictions", params=running).json()["predictions"]
        if follow:
            terminal.wait_for("processing")
        assert terminal.close() == 129
        run.close()
    record = server.client.get(f"/predictions/{record['prediction_id']}").json()
    assert record["status"] == "canceled"


def test_a_bar_shows_how_it_goes_and_gives_way_to_the_result(server: Server) -> None:
    with Terminal("predict", "--model", "tell", "--follow", "3", url=server.url) as terminal:
        assert terminal.end() == 0
        assert "100%" in terminal.text
        assert "step 3 [red]of[/red]" in terminal.text
        assert terminal.lines[-1] == "3"
        assert "line 2 [bold]" in terminal.lines


def test_the_parts_of_a_text_are_the_last_thing_on_the_screen(server: Server) -> None:
    words = ["predict", "--model", "letters", "--follow", "word"]
    with Terminal(*words, url=server.url) as terminal:
        assert terminal.end() == 0
        assert terminal.lines[-1] == "word"


def test_a_run_that_begins_again_says_that_what_was_printed_counts_no_more(
    server: Server, held: Holder
) -> None:
    words = ["predict", "--model", "falters", "--follow", str(held.port)]
    with Terminal(*words, url=server.url) as terminal:
        terminal.wait_for("half")
        held.started().finish()
        assert terminal.end() == 0
        *_, first, said, whole = terminal.lines
        assert first.endswith("half ")
        assert said == "The run begins again: what it has printed counts no more."
        assert whole == "half and half"


@pytest.mark.parametrize("follow", [[], ["--follow"]])
@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_result_cannot_command_the_terminal(server: Server, kind: str, follow: list[str]) -> None:
    words = ["predict", "--model", "nasty", kind, *follow]
    with Terminal(*words, url=server.url) as terminal:
        assert terminal.end() == 0
        assert r"\u001b[2J\u001b]0;title\u0007 \u202e \u009b31m" in terminal.text
        assert_harmless(terminal)


def test_logs_progress_and_errors_cannot_command_the_terminal(server: Server) -> None:
    with Terminal("predict", "--model", "tell", "--follow", "1", url=server.url) as terminal:
        assert terminal.end() == 0
        assert r"\u001b]0;title" in terminal.text
        assert_harmless(terminal)
    with Terminal("predict", "--model", "fails_nastily", "x", url=server.url) as terminal:
        assert terminal.end() == 3
        assert r"\u001b]0;title" in terminal.text
        assert_harmless(terminal)
    id = server.submit("x", model="fails_nastily")
    server.poll(id, wait=20)
    for words in (["show", id], ["show", id, "--json"], ["show", id, "--follow"], ["ls"]):
        with Terminal(*words, url=server.url) as terminal:
            assert terminal.end() == (3 if "--follow" in words else 0)
            assert_harmless(terminal)


def assert_harmless(terminal: Terminal) -> None:
    """Nothing of what the models say has reached the terminal as it was."""
    assert not re.search("\x1b\\[2J|\x1b\\]|\x07|\u202e|\x9b", terminal.text)


@pytest.mark.parametrize(("term", "columns"), [("dumb", 80), ("xterm", 30), ("xterm", 12)])
def test_any_terminal_can_follow(server: Server, term: str, columns: int) -> None:
    words = ["predict", "--model", "tell", "--follow", "2"]
    with Terminal(*words, url=server.url, term=term, columns=columns) as terminal:
        assert terminal.end() == 0
        assert terminal.lines[-1] == "2"
        assert "100%" in terminal.text or columns < 20
        assert ("\x1b" in terminal.text) == (term != "dumb")


def test_no_color_means_no_color(server: Server) -> None:
    words = ["predict", "--model", "tell", "--follow", "2"]
    for no_color, has_color in (("", True), ("1", False)):
        with Terminal(*words, url=server.url, no_color=no_color) as terminal:
            assert terminal.end() == 0
            assert bool(re.search(r"\x1b\[[0-9;]*[39]\dm", terminal.text)) == has_color


def test_who_waits_in_the_queue_sees_its_place(server: Server, held: Holder) -> None:
    first = server.submit(held.port, model="hold_blocking")
    run = held.started()
    words = ["predict", "--follow", "--model", "hold_blocking", str(held.port)]
    with Terminal(*words, url=server.url) as terminal:
        terminal.wait_for("queued, 0 before it")
        run.finish()
        held.started().finish("second")
        assert terminal.end() == 0
        assert terminal.lines[-1] == "second"
    assert server.poll(first, wait=20).status_code == 200


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_table_fits_and_never_cuts_an_id(server: Server, columns: int) -> None:
    id = server.submit("hi")
    server.poll(id, wait=20)
    with Terminal("ls", "--limit", "1", columns=columns, url=server.url) as terminal:
        assert terminal.end() == 0
    heading, row, *_ = terminal.lines
    assert row.startswith(id)
    assert all(len(line) <= max(columns, len(id)) for line in (heading, row))
    assert ("completed" in row) == (columns >= 60)
    assert ("took" in heading) == (columns >= 80)


def test_purge_asks_before_it_deletes(server: Server) -> None:
    id = server.submit("hi")
    server.poll(id, wait=20)
    for answer, is_gone in (("n", False), ("y", True)):
        with Terminal("purge", "--model", "echo", url=server.url) as terminal:
            terminal.wait_for("[y/N]")
            terminal.press(f"{answer}\n")
            assert terminal.end() == 0
        assert (server.poll(id).status_code == 404) == is_gone


def test_input_that_is_missing_is_not_waited_for_on_a_terminal(server: Server) -> None:
    with Terminal("predict", "--model", "letters", url=server.url) as terminal:
        assert terminal.end() == 1
        assert "The input is missing: the model letters takes text" in terminal.text


def test_ctrl_c_ends_any_other_command_without_a_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Terminal("ls", "--url", url) as terminal:
            connection, _ = silent.accept()
            with connection:
                terminal.press(CTRL_C)
                assert terminal.end() == -signal.SIGINT
            assert terminal.lines in ([], ["^C"])
