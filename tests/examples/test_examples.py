"""The examples, served as their docstrings say and asked over HTTP."""

import base64
import io
import json
import re
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sklearn.datasets import load_iris  # type: ignore[import-untyped]

from .conftest import NAMES, ROOT, Commands

Example = tuple[httpx2.Client, Commands]

SETOSA = [5.1, 3.5, 1.4, 0.2]


def ask(client: httpx2.Client, input: Any) -> Any:
    """The result for an input that must be taken."""
    response = client.post("/predict", json={"input": input})
    assert response.status_code == 200, response.text
    return response.json()["result"]


# All of them.


def test_the_commands_of_a_docstring_give_the_answer_that_it_shows(example: Example) -> None:
    """Who copies the two commands of an example sees, to the letter, the answer below them."""
    client, commands = example
    headers = {"Content-Type": "application/json"}  # what `curl --json` sends
    response = client.post(commands.path, content=commands.body, headers=headers)
    assert response.status_code == 200
    assert response.text == commands.answer


def test_an_example_answers_later_what_it_answers_at_once(example: Example) -> None:
    """With Async-Mode: true the same request is accepted, and its result is found by its id."""
    client, commands = example
    headers = {"Content-Type": "application/json", "Async-Mode": "true"}
    accepted = client.post(commands.path, content=commands.body, headers=headers)
    assert accepted.status_code == 202
    id = accepted.json()["prediction_id"]
    finished = client.get(f"/predict/{id}", headers={"Prefer": "wait=30"})
    assert finished.status_code == 200
    output = json.loads(commands.answer)
    assert finished.json() == {"prediction_id": id, "status": "completed", "output": output}


@pytest.mark.parametrize(
    ("name", "input"),
    [
        ("iris", "setosa"),
        ("iris", [5.1, "3.5", 1.4, 0.2]),
        ("iris", [[5.1, 3.5], [1.4]]),
        ("language", 42),
        ("language", None),
        ("filetype", [1, 2, 3]),
        ("filetype", "this is not base64"),
        ("filetype", "data:image/png;base64"),
    ],
)
def test_an_input_of_the_wrong_type_is_refused(
    name: str, input: object, request: pytest.FixtureRequest
) -> None:
    """What the type hint of an example does not allow is a 422 that says where it is wrong."""
    client: httpx2.Client = request.getfixturevalue(name)
    response = client.post("/predict", json={"input": input})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_input")
    assert problem["errors"][0]["loc"][0] == "input"


@pytest.mark.parametrize(
    ("name", "input", "result"),
    [
        (
            "iris",
            {"type": "array", "items": {"$ref": "#/components/schemas/iris.NestedNumbers"}},
            {"species": {"type": "string"}, "probability": {"type": "number"}},
        ),
        (
            "language",
            {"type": "string"},
            {"language": {"type": "string"}, "probability": {"type": "number"}},
        ),
        (
            "filetype",
            {
                "type": "string",
                "contentEncoding": "base64",
                "description": "Base64, or a data URL (RFC 2397).",
            },
            {
                "label": {"type": "string"},
                "mime_type": {"type": "string"},
                "score": {"type": "number"},
            },
        ),
    ],
)
def test_the_type_hints_of_an_example_are_its_documentation(
    name: str, input: object, result: object, request: pytest.FixtureRequest
) -> None:
    """/openapi.json describes the input and the result of the example by its own types."""
    client: httpx2.Client = request.getfixturevalue(name)
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/Request"}
    assert schemas["Request"]["properties"]["input"] == input
    answer = schemas["Answer"]["properties"]["result"]
    reference = answer.get("$ref", "").removeprefix("#/components/schemas/")
    assert schemas.get(reference, answer)["properties"] == result


# Each of them.


@pytest.mark.parametrize("species", ["setosa", "versicolor", "virginica"])
def test_the_typical_flower_of_a_species_is_recognized(iris: httpx2.Client, species: str) -> None:
    """The mean of a species' measurements, which is no flower of the data set, is of it."""
    data = load_iris()
    flowers = data.data[data.target == list(data.target_names).index(species)]
    result = ask(iris, flowers.mean(axis=0).tolist())
    assert result["species"] == species
    assert 0.8 < result["probability"] <= 1


def test_a_wrong_shape_fails_alone(iris: httpx2.Client) -> None:
    """Of many flowers asked for at once, only the ones without four numbers fail."""
    inputs = [SETOSA, [1.0], SETOSA, [SETOSA], SETOSA, [], *[SETOSA] * 26]
    bodies = [{"input": input} for input in inputs]
    with ThreadPoolExecutor(len(bodies)) as threads:
        responses = list(threads.map(lambda body: iris.post("/predict", json=body), bodies))
    for input, response in zip(inputs, responses, strict=True):
        if input is SETOSA:
            assert response.json()["result"]["species"] == "setosa"
        else:
            assert response.json()["code"] == "invalid_input"
            assert response.json()["detail"].startswith("Expected 4 numbers, not an array of (")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Der Zug nach München fährt heute leider nicht.", "de"),
        ("The train to London is not running today.", "en"),
        ("Le train pour Paris ne circule pas aujourd'hui.", "fr"),
        ("El tren de la mañana a Madrid no saldrá hoy por la huelga.", "es"),
        ("Поезд в Москву сегодня не ходит.", "ru"),
        ("今日は東京行きの電車は運休です。", "ja"),
    ],
)
def test_the_language_of_a_sentence_is_recognized(
    language: httpx2.Client, text: str, code: str
) -> None:
    """A sentence is of the language that it is written in, and the model is sure of it."""
    result = ask(language, text)
    assert result["language"] == code
    assert 0.5 < result["probability"] <= 1


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(range(24)) for _ in range(8)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


def _pdf() -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    ]
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    entries = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return content + (
        b"xref\n0 4\n0000000000 65535 f \n%strailer\n<< /Size 4 /Root 1 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (entries, len(content))
    )


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello " * 100)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "label", "mime_type"),
    [
        (_png(), "png", "image/png"),
        (_pdf(), "pdf", "application/pdf"),
        (_zip(), "zip", "application/zip"),
        (Path(__file__).read_bytes(), "python", "text/x-python"),
        (b"", "empty", "inode/x-empty"),
    ],
    ids=["png", "pdf", "zip", "python", "empty"],
)
def test_the_kind_of_a_file_is_recognized(
    filetype: httpx2.Client, content: bytes, label: str, mime_type: str
) -> None:
    """A real file's bytes are of its kind, sent as base64 or as a data URL."""
    text = base64.b64encode(content).decode()
    result = ask(filetype, text)
    assert (result["label"], result["mime_type"]) == (label, mime_type)
    assert 0.5 < result["score"] <= 1
    assert ask(filetype, f"data:application/octet-stream;base64,{text}") == result


# Together.


def test_zypher_toml_serves_all_three(all_three: httpx2.Client) -> None:
    """In examples/, a bare `serve` serves each example under its name, and iris by default."""
    for name in NAMES:
        commands = Commands.of(name)
        response = all_three.post(f"/models/{name}/predict", json=json.loads(commands.body))
        assert response.json() == json.loads(commands.answer)
    assert ask(all_three, SETOSA)["species"] == "setosa"
    schemas = all_three.get("/openapi.json").json()["components"]["schemas"]
    assert all(f"Request.{name}" in schemas for name in NAMES)


def test_the_readme_shows_every_example_and_serves_only_those() -> None:
    """The README lists each example, and every target that it serves is one of theirs."""
    text = (ROOT / "examples" / "README.md").read_text()
    assert all(f"[`{name}.py`]({name}.py)" in text for name in NAMES)
    targets = [target for name in NAMES for target in Commands.of(name).serve]
    served = re.findall(r"examples/\S+:\w+", text)
    assert served
    assert set(served) <= set(targets)
