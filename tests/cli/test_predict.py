"""`zypher predict` against a real server: what is sent, what is printed."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import assert_one_sentence, zypher
from tests.cli.models import NASTY
from tests.harness import PATIENCE, ZYPHER, Server, holder


def predict(server: Server, *words: str, encoding: str = "") -> subprocess.CompletedProcess[str]:
    return zypher("predict", *words, ZYPHER_URL=server.url, PYTHONIOENCODING=encoding)


def printed(server: Server, *words: str) -> str:
    """What a prediction prints that does well."""
    result = predict(server, *words)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


# What is sent.


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["hi"], "hi\n"),
        (["5"], "5\n"),
        (['"5"'], "5\n"),
        (['{"a": [1, "é"]}'], '{\n  "a": [\n    1,\n    "é"\n  ]\n}\n'),
        (["not {json"], "not {json\n"),
        (["--model", "letters", "5"], "5\n"),
        (["--model", "letters", "{}"], "{}\n"),
        (["--model", "nothing"], "nothing\n"),
        (["--model", "distance", 'a={"x": 3}', 'b={"x": 7}'], "4.0\n"),
        (["--model", "distance", "metric=taxi", 'a={"x": 3}', 'b={"x": 7, "y": 2}'], "6.0\n"),
        (["--model", "Sentiment", "text=Nice = good", "stars=5", "--json"], '{"label": "great"}\n'),
        (["--model", "Sentiment", '{"text": "x"}', "--json"], '{"label": "fair"}\n'),
    ],
)
def test_the_schema_says_how_words_are_read(server: Server, words: list[str], output: str) -> None:
    assert printed(server, *words) == output


def test_input_comes_from_a_file_or_from_standard_input(server: Server, tmp_path: Path) -> None:
    text, photo = tmp_path / "text", tmp_path / "photo.png"
    text.write_text("two\nlines\n")
    photo.write_bytes(b"PNG")
    assert printed(server, "--model", "letters", f"@{text}") == "two\nlines\n"
    assert printed(server, "--model", "size", f"@{photo}") == "3\n"
    parts = ["--model", "picture", f"image=@{photo}", "zoom=2", "label=7", "--json"]
    assert json.loads(printed(server, *parts)) == ["PNG", "7", 2.0]
    for given in (["-"], []):
        with text.open() as stdin:
            result = predict_from(stdin.fileno(), server, "--model", "letters", "--json", *given)
        assert json.loads(result) == "two\nlines"
    with photo.open() as stdin:
        assert predict_from(stdin.fileno(), server, "--model", "size") == "3\n"


def predict_from(stdin: int, server: Server, *words: str) -> str:
    command = [str(ZYPHER), "predict", "--url", server.url, *words]
    return subprocess.run(command, stdin=stdin, capture_output=True, check=True).stdout.decode()


def test_the_type_of_a_file_goes_along(server: Server, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"PNG")
    id = printed(server, "--async", "--model", "size", f"@{photo}").strip()
    sent = server.client.get(f"/predictions/{id}").json()["input"]
    assert sent == "data:image/png;base64," + base64.b64encode(b"PNG").decode()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            ["--model", "tell", "three"],
            ["The model tell takes a whole number, and 'three' is none."],
        ),
        (["--model", "tell", "NaN"], ["'NaN' is none."]),
        (["--model", "letters", "two", "words"], ["takes one input", "quotes"]),
        (["--model", "letters", "@nowhere"], ["'nowhere'", "No such file"]),
        (["--model", "letters", "@."], ["'.'", "Is a directory"]),
        (["--model", "picture", "imagf=x"], ["no parameter 'imagf'. Did you mean 'image'?"]),
        (["--model", "picture", "x=y"], ["There are: image, label, zoom."]),
        (["--model", "picture", "photo"], ["image=... label=... zoom=...", "'photo'"]),
        (["--model", "picture", "image=x", "zoom=big"], ["The parameter zoom takes a number"]),
        (["--model", "picture"], ["The input is missing", "image=... label=... zoom=..."]),
        (["--model", "Sentiment", "stars=9", "text=x"], ["stars", "5", "(invalid_input)"]),
        (["--deadline", "0", "x"], ["deadline", "(invalid_input)"]),
        (["--key", "a b", "x"], ["key"]),
        (["--url", "nonsense", "x"], ["'nonsense'", "http://"]),
    ],
)
def test_a_mistake_gets_one_clear_sentence(
    server: Server, words: list[str], parts: list[str]
) -> None:
    assert_one_sentence(predict(server, *words), *parts)


def test_bytes_that_are_no_text_get_one_clear_sentence(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"\xff\xd8")
    result = predict(server, "--model", "letters", f"@{tmp_path}/photo")
    assert_one_sentence(result, "not text in UTF-8")
    result = predict(server, "--model", "letters", "caf\udce9")
    assert_one_sentence(result, "not text in UTF-8")


def test_options_and_the_key_reach_the_server(server: Server) -> None:
    words = ["--async", "--priority", "low", "--ttl", "1m", "--deadline", "30", "--retries", "2"]
    more = ["--queue-timeout", "20", "--run-timeout", "10", "--key", "one-key", "x"]
    id = printed(server, *words, *more).strip()
    record = server.client.get(f"/predictions/{id}").json()
    assert record["priority"] == "low"
    options = {"queue_timeout": 20, "run_timeout": 10, "deadline": 30, "ttl": 60, "retries": 2}
    assert {name: record["options"][name] for name in options} == options
    assert printed(server, *words, *more).strip() == id


# What is printed.


def test_async_prints_the_id_alone(server: Server) -> None:
    id = printed(server, "--async", "hi").removesuffix("\n")
    assert server.poll(id, wait=20).json()["output"]["result"] == "hi"
    document = json.loads(printed(server, "--async", "--json", "hi"))
    assert server.poll(document["prediction_id"], wait=20).status_code == 200


def test_json_is_one_document_in_one_line(server: Server) -> None:
    assert printed(server, "--json", "hi") == '"hi"\n'
    assert printed(server, "--json", "[1, null]") == "[1, null]\n"
    assert printed(server, "--json", "--model", "rows", "2") == '[{"row": 0}, {"row": 1}]\n'


def test_the_parts_of_a_generator_are_printed_as_they_come(server: Server) -> None:
    result = predict(server, "--follow", "--model", "letters", "word")
    assert result.stdout == "word\n"
    result = predict(server, "--follow", "--model", "rows", "2")
    assert result.stdout == '{"row": 0}\n{"row": 1}\n'
    result = predict(server, "--follow", "--json", "--model", "rows", "2")
    assert result.stdout == '[{"row": 0}, {"row": 1}]\n'


@pytest.mark.parametrize(
    ("model", "result"),
    [("falters", "half and half\n"), ("falters_in_rows", '{"row": 0}\n{"row": 1}\n')],
)
def test_a_pipe_gets_the_parts_of_a_run_that_begins_again_once(
    server: Server, model: str, result: str
) -> None:
    with holder() as holding:
        following = subprocess.Popen(
            [ZYPHER, "predict", "--url", server.url, "--follow", "--model", model, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert following.stdin is not None
        assert following.stderr is not None
        following.stdin.write(str(holding.port))
        following.stdin.close()
        run = holding.started()
        while following.stderr.readline() != "50% a part is out\n":
            assert following.poll() is None
        run.finish()
        assert following.stdout is not None
        assert following.stdout.read() == result
        assert following.wait(PATIENCE) == 0
        following.stdout.close()
        following.stderr.close()


def test_without_a_terminal_following_is_told_in_lines(server: Server) -> None:
    result = predict(server, "--follow", "--model", "tell", "2")
    assert result.stdout == "2\n"
    said = result.stderr.splitlines()
    assert [line.partition(" of")[0][:22] for line in said if "%" in line] == [
        "50% step 1 [red]of[/re",
        "100% step 2 [red]of[/r",
    ]
    assert "line 1 [bold]" in said
    assert "\x1b" not in result.stderr


def test_a_pipe_gets_a_text_exactly_as_it_is(server: Server) -> None:
    assert predict_from(0, server, "--model", "nasty", "text") == NASTY + "\n"
    answer = predict_from(0, server, "--model", "nasty", "json", "--json")
    assert json.loads(answer) == {NASTY: [NASTY]}


def test_what_the_encoding_cannot_show_is_escaped(server: Server) -> None:
    assert predict(server, "grün €", encoding="ascii").stdout == "gr\\xfcn \\u20ac\n"
    assert json.loads(predict(server, '["grün €"]', encoding="ascii").stdout) == ["grün €"]
