"""Models that cannot be served end `serve` and `check` with one sentence."""

from pathlib import Path

import pytest

from tests.cli.commands import assert_one_sentence, zypher
from tests.harness import MODELS, REVIEWS, target


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("nothing.py:Model", ("nothing.py", "no file")),
        ("no_such_package.module:Model", ("no_such_package",)),
        (f"{REVIEWS}:Sentimant", ("Did you mean 'Sentiment'?",)),
        (f"{MODELS}:untyped", ("no type hint for 'value'", "`value: str`")),
        (f"{MODELS}:MODE", ("has no 'MODE'",)),
        ("sentiment", ("`file.py:Name`",)),
        ("a b=sentiment.py:X", ("cannot have the name 'a b'",)),
    ],
)
def test_a_model_that_cannot_be_loaded_gets_one_clear_sentence(
    command: str, model: str, parts: tuple[str, ...]
) -> None:
    assert_one_sentence(zypher(command, "--port", "0", model), *parts)


def test_a_model_whose_file_raises_shows_the_authors_own_traceback(tmp_path: Path) -> None:
    model = tmp_path / "broken.py"
    model.write_text("def helper():\n    return 1 / 0\n\nhelper()\n")
    result = zypher("serve", "--port", "0", f"{model}:Model")
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1
    assert "return 1 / 0" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("raised ZeroDivisionError: division by zero.")
    assert "zypher/" not in result.stderr.replace(str(tmp_path), "")


def test_a_setup_that_raises_ends_the_server_with_its_traceback() -> None:
    result = zypher("serve", "--port", "0", target("BrokenSetup"))
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1
    assert 'raise RuntimeError("no such weights")' in result.stderr
    assert "raised RuntimeError: no such weights" in result.stderr.splitlines()[-1]


def test_a_setup_that_exceeds_its_time_ends_the_server() -> None:
    result = zypher("serve", "--port", "0", "--setup-timeout", "1", target("SlowSetup"))
    assert_one_sentence(result, "was not ready within setup-timeout (1 s)", "--setup-timeout")


@pytest.mark.parametrize(
    "body",
    [
        "class Panic(BaseException): ...\nraise Panic\n",
        "raise KeyboardInterrupt\n",
        "raise ValueError('caf\\udce9')\n",
        "import sys\nsys.exit(0)\n",
        "def Model(value: 'list['): ...\n",
        "import functools\nModel = functools.partial(print, end=1)\n",
        "import re\nfrom typing import Annotated\nfrom pydantic import Field\n"
        "def Model(value: Annotated[str, Field(pattern='(?<=a+)b')]): ...\n",
        "from typing import Annotated\nfrom pydantic import Field\n"
        "def Model(value: Annotated[int, Field(json_schema_extra={'type': 'nonsense'})]): ...\n",
    ],
)
def test_no_mistake_in_a_models_file_hangs_the_start(tmp_path: Path, body: str) -> None:
    model = tmp_path / "mistake.py"
    model.write_text(body)
    result = zypher("check", f"{model}:Model")
    assert result.returncode == 1
    assert "fault of Zypher" not in result.stderr
    assert "zypher/" not in result.stderr.replace(str(tmp_path), "")
    assert result.stderr.strip().endswith(".")


def test_a_process_that_dies_while_it_loads_ends_the_server(tmp_path: Path) -> None:
    model = tmp_path / "dies.py"
    model.write_text("import os\nos._exit(7)\n")
    result = zypher("serve", "--port", "0", f"{model}:Model")
    assert_one_sentence(result, "ended with exit code 7", "loading")


def test_two_models_of_one_name_are_refused() -> None:
    result = zypher("serve", f"{MODELS}:echo", f"{MODELS}:echo")
    assert_one_sentence(result, "Two models have the name 'echo'")
