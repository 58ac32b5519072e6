"""Files that were written for Cog are served as they are, by real servers."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ZYPHER, Server

MODELS = Path(__file__).with_name("cog_models")
IMAGE = b"P5\n2 1\n255\n\x01\x64"


def data_url(content: bytes, media_type: str = "image/x-portable-graymap") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All of them, with a folder of their own for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    names = ["image.py:Predictor", "image.py:Frames", "regression.py:Runner"]
    names += [f"text.py:{name}" for name in ("Predictor", "Greeter", "Asynchronous", "Tool")]
    targets = [f"{name.replace('.py:', '-')}={MODELS}/{name}" for name in names]
    with Server(*targets, f"shout={MODELS}/text.py:shout", TMPDIR=str(folder)) as server:
        yield server


def result(server: Server, model: str, value: dict[str, Any]) -> Any:
    answer = server.predict(value, model=model)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def schema(server: Server, model: str) -> Any:
    return server.client.get(f"/models/{model}").json()["input_schema"]


def test_files_come_and_go_as_data_urls(server: Server) -> None:
    brighter = result(server, "image-Predictor", {"image": data_url(IMAGE), "scale": 2})
    assert brighter == data_url(b"P5\n2 1\n255\n\x02\xc8", "image/png")
    mask = data_url(b"\x00\x01", "application/octet-stream")
    masked = {"image": data_url(IMAGE), "mask": mask, "scale": 2, "invert": True}
    assert result(server, "image-Predictor", masked) == data_url(
        b"P5\n2 1\n255\n\x01\x37", "image/png"
    )
    frames = [data_url(IMAGE), data_url(b"2")]
    assert result(server, "image-Frames", {"images": frames}) == frames


def test_no_file_is_left_behind(server: Server) -> None:
    result(server, "image-Predictor", {"image": data_url(IMAGE)})
    result(server, "image-Frames", {"images": [data_url(IMAGE)]})
    temporary = Path(server.replicas()[0].environ()["TMPDIR"])
    assert not [file for file in temporary.rglob("*") if file.is_file()]


@pytest.mark.parametrize("mode", [{}, {"Async-Mode": "true"}])
@pytest.mark.parametrize("name", ["image", "mask"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.png", "file:///etc/passwd", "/etc/passwd"])
def test_what_a_client_names_elsewhere_is_refused_and_not_fetched(
    server: Server, url: str, name: str, mode: dict[str, str]
) -> None:
    answer = server.client.post(
        "/models/image-Predictor/predict",
        json={"input": {"image": data_url(IMAGE), name: url}},
        headers=mode,
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["input", name]
    assert "(a data URL; others are not fetched)" in answer.json()["detail"]


def test_a_data_url_that_cannot_be_read_is_the_clients_fault(server: Server) -> None:
    answer = server.predict({"image": "data:image/png;base64,%%%"}, model="image-Predictor")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["input", "image"]
    assert "Invalid base64" in answer.json()["detail"]


def test_inputs_are_the_schema(server: Server) -> None:
    text = schema(server, "text-Predictor")
    assert text["required"] == ["prompt"]
    expected: dict[str, dict[str, Any]] = {
        "prompt": {"description": "Text to repeat", "minLength": 1, "maxLength": 40},
        "max_new_tokens": {"type": "integer", "minimum": 1, "maximum": 8, "default": 3},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2, "default": 0.7},
        "style": {"enum": ["plain", "loud"], "default": "plain"},
        "seed": {"default": None, "description": "Leave blank to randomize"},
        "stop": {"pattern": "^(?:[a-z]*)", "deprecated": True},
    }
    for name, words in expected.items():
        assert words.items() <= text["properties"][name].items()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 41}, "prompt"),
        ({"prompt": "x", "max_new_tokens": 9}, "max_new_tokens"),
        ({"prompt": "x", "temperature": -1}, "temperature"),
        ({"prompt": "x", "style": "shy"}, "style"),
        ({"prompt": "x", "seed": "5"}, "seed"),
    ],
)
def test_what_an_input_does_not_allow_is_refused_at_the_door(
    server: Server, wrong: dict[str, Any], name: str
) -> None:
    answer = server.predict(wrong, model="text-Predictor", Async_Mode="true")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["input", name]


def test_the_parts_of_a_text_are_joined(server: Server) -> None:
    value = {"prompt": "hi", "style": "loud", "stop": "says"}
    assert result(server, "text-Predictor", value) == "HI THE PARROT "
    assert result(server, "text-Asynchronous", {"text": "async"}) == "async!"


def test_the_input_is_an_object_also_of_a_single_one(server: Server) -> None:
    assert result(server, "text-Greeter", {"text": "you"}) == "hello you"
    assert server.predict("you", model="text-Greeter").status_code == 422


def test_a_result_has_members_and_files(server: Server) -> None:
    value = {
        "sizes": [1, 2.5],
        "species": "virginica",
        "offset": 1,
        "table": "data:application/json,[4]",
        "with_report": True,
    }
    assert result(server, "regression-Runner", value) == {
        "price": 16.0,
        "near": [15.0, 17.0],
        "report": data_url((MODELS / "report.txt").read_bytes(), "text/plain"),
    }
    assert (MODELS / "report.txt").exists()  # it is the model's own, and not made for the result
    properties = server.client.get("/models/regression-Runner").json()["output_schema"][
        "properties"
    ]
    assert properties["report"]["anyOf"][0] == {"type": "string", "format": "uri"}


def test_a_secret_does_not_show_itself(server: Server) -> None:
    assert result(server, "text-Tool", {"key": "k"}) == "x ********** k"
    assert schema(server, "text-Tool")["properties"]["key"]["writeOnly"]


def test_metrics_are_lines_of_the_log(server: Server) -> None:
    id = server.submit({"text": "ah"}, model="shout")
    assert server.poll(id, wait=20).json()["output"]["result"] == "AH"
    log = server.client.get(f"/predictions/{id}").json()["logs"]
    assert log == [{"text": "metric length (replace): 2"}]


def test_an_async_predictor_runs_as_often_at_once_as_it_says(server: Server) -> None:
    models = server.client.get("/stats").json()["models"]
    assert models["text-Asynchronous"]["replicas"]["slots"] == 4
    assert models["text-Predictor"]["replicas"]["slots"] == 1


@pytest.mark.parametrize("command", ["check", "serve"])
def test_what_cannot_be_served_is_said_before_anybody_asks(tmp_path: Path, command: str) -> None:
    code = "from cog import *\ndef predict(text: str = Input(ge=1)) -> str: return text\n"
    (tmp_path / "predict.py").write_text(code)
    done = subprocess.run(
        [ZYPHER, command, "predict.py:predict"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "'text' of predict() of predict.py:predict has Input(ge=...), which is for numbers alone."
    )
    assert "Traceback" not in done.stderr
