"""Exit codes: each of them, and what is said; never a traceback, whatever becomes of the output."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.cli.commands import zypher
from tests.harness import PATIENCE, ZYPHER, Server, free_port, holder
from zypher.cli.endings import Ending, ending_of
from zypher.errors import prediction_errors


def ends(server: Server, *words: str) -> tuple[int, str]:
    """The exit code of a command, and the one sentence that it says on standard error."""
    result = zypher(*words, ZYPHER_URL=server.url)
    assert result.stderr.count("\n") == 1, result.stderr
    return result.returncode, result.stderr.removesuffix("\n")


def test_a_failed_prediction_ends_with_its_code_in_the_sentence(server: Server) -> None:
    code, said = ends(server, "predict", "--model", "fails", "why")
    assert code == 3
    assert said.endswith("why (model_error)")
    code, said = ends(server, "predict", "--model", "nap", "--run-timeout", "0.1", "60")
    assert (code, said.endswith("(run_timeout)")) == (3, True)


def test_no_server_is_told_from_everything_else() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for words in (["ls"], ["predict", "x"], ["show", "x"], ["cancel", "x", "y"]):
        result = zypher(*words, "--url", url)
        assert result.returncode == 4
        assert result.stderr.count("\n") == 1
        assert url in result.stderr


def test_what_is_unknown_is_told_from_everything_else(server: Server) -> None:
    code, said = ends(server, "predict", "--model", "ecko", "x")
    assert code == 5
    assert said.startswith("The server has no model 'ecko'. There are: echo, ")


def test_what_takes_too_long_goes_on_and_can_be_followed(server: Server) -> None:
    for follow in ([], ["--follow"]):
        with holder() as holding:
            words = ["predict", "--model", "hold", "--timeout", "2", *follow, str(holding.port)]
            result = zypher(*words, ZYPHER_URL=server.url)
            run = holding.started()
            assert result.returncode == 6
            said = result.stderr.splitlines()[-1]
            assert "has not ended within 2 s. It goes on: `zypher show --follow " in said
            run.finish("late")
        id = said.split()[1]
        assert zypher("show", "--follow", id, ZYPHER_URL=server.url).stdout == "late\n"


def test_what_is_told_to_terminate_cancels_what_it_waits_for_and_says_so(server: Server) -> None:
    with holder() as holding:
        process = begin(server, str(holding.port))
        run = holding.started()
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said.startswith("Canceled prediction ")) == (143, True)
        id = said.split()[2].removesuffix(".")
        assert server.client.get(f"/predictions/{id}").json()["status"] == "canceled"
        run.close()


def test_what_was_begun_with_nohup_outlives_the_terminal(server: Server) -> None:
    with holder() as holding:
        process = begin(server, str(holding.port), prefix=("nohup",))
        run = holding.started()
        process.send_signal(signal.SIGHUP)
        run.finish("late")
        assert process.communicate(timeout=PATIENCE)[0] == "late\n"


def begin(server: Server, port: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Begin to wait for a run that is held."""
    return subprocess.Popen(
        [*prefix, ZYPHER, "predict", "--model", "hold", port],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ZYPHER_URL": server.url},
    )


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["ls", "--limit", "0"],
        ["show"],
        ["predict", "--async", "--follow"],
        ["show", "x", "--timeout", "1"],
    ],
)
def test_wrong_usage_is_told_from_everything_else(words: list[str]) -> None:
    assert zypher(*words).returncode == 2


def test_every_error_has_an_ending() -> None:
    known = {kind.code: ending_of(kind("why")) for kind in prediction_errors()}
    assert known["model_crashed"] == known["canceled"] == known["deadline"] == Ending.FAILED
    assert known["queue_full"] == known["unavailable"] == Ending.AWAY
    assert known["not_found"] == Ending.UNKNOWN
    assert known["invalid_input"] == known["conflict"] == known["internal"] == Ending.MISTAKE


# What becomes of the output.


def test_a_reader_that_has_enough_is_no_mistake(server: Server) -> None:
    command = f"{ZYPHER} predict --url {server.url} --model rows 100000 --json | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"[", b"")
    reading, writing = os.pipe()
    os.close(reading)
    command_line = [str(ZYPHER), "predict", "--url", server.url, "hi"]
    done = subprocess.run(command_line, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("words", [["predict", "hi"], ["ls"], ["health"]])
def test_output_that_cannot_be_written_is_one_sentence(server: Server, words: list[str]) -> None:
    server.submit("so that there is something to list")
    for redirection, reason in ((">&-", "closed"), (">/dev/full", "No space left on device")):
        command = f"{ZYPHER} {' '.join(words)} {redirection}"
        environment = os.environ | {"ZYPHER_URL": server.url}
        done = subprocess.run(
            command, shell=True, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert reason in done.stderr


def test_nobody_who_listens_to_complaints_is_no_traceback(server: Server) -> None:
    for redirection in ("2>&-", "2>/dev/full", "2>&- >&- <&-"):
        command = f"{ZYPHER} show --url {server.url} nonsense {redirection}"
        done = subprocess.run(command, shell=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr, done.stdout) == (5, b"", b"")


def test_a_server_of_another_make_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "zypher", "ls", "--url", url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<html>\x1b[")
            _, said = process.communicate()
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "not as a Zypher server does" in said
