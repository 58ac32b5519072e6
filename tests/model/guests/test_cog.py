"""What of Cog can be served, and what is said of what cannot."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zypher.testing
from tests.model.conftest import Write
from zypher.errors import InvalidOutput, ModelLoadError
from zypher.model.loading import load

HEAD = "from typing import *\nfrom cog import *\nimport cog, os, pathlib, tempfile\n"


def predictor(
    method: str, setup: str = "def setup(self): pass", base: str = "BasePredictor"
) -> str:
    return f"{HEAD}class Predictor({base}):\n    {setup}\n    {method}\n"


def refusal(write: Write, code: str) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load(f"{write(code)}:Predictor")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("def predict(self, text): return text", "has no type hint for 'text'"),
        ("def predict(self, **texts: str): return texts", "any number of arguments ('texts')"),
        ("def predict(self, text: 'Text2'): return text", "names 'Text2', which is not defined"),
        ("def predict(self, of: BasePredictor): ...", "of a type that has no JSON Schema"),
        ("def predict(self, text: str = Input(ge=1)): ...", "Input(ge=...), which is for numbers"),
        ("def predict(self, n: bool = Input(le=1)): ...", "Input(le=...), which is for numbers"),
        (
            "def predict(self, n: int = Input(regex='1')): ...",
            "Input(regex=...), which is for text",
        ),
        ("def predict(self, n: Path = Input(max_length=1)): ...", "which is for text alone"),
        ("def predict(self, n: float = Input(choices=[1.5])): ...", "text and whole numbers"),
        ("def predict(self, n: int = Input(11, le=10)): ...", "has the default 11, which"),
        ("def predict(self, n: str = Input('x', choices=['a'])): ...", "Input should be 'a'"),
        ("def predict(self, n: int = Input('x')): ...", "has the default 'x'"),
        ("def predict(self, n: Path = Input('x.png')): ...", "has the default 'x.png'"),
        ("def predict(self, n: str = Input('x', regex='(')): ...", "no schema can be made of"),
        ("other = 1", "has neither predict() nor run()"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(
    write: Write, method: str, said: str
) -> None:
    assert said in refusal(write, predictor(method))


def test_what_an_old_cog_made_of_an_input_is_refused(write: Write) -> None:
    code = predictor("def predict(self, n: int = pydantic.Field(ge=1)): return n")
    assert "the Input() of an old cog" in refusal(write, "import pydantic\n" + code)


def test_what_does_not_stand_in_for_anything_is_named(write: Write) -> None:
    said = refusal(write, "from cog import Coder\n")
    assert "cog is not installed, and what Zypher has in its place has no 'Coder'" in said


@pytest.mark.parametrize(
    ("method", "input", "result"),
    [
        ("def predict(self, n: int = Input(default=None)) -> str: return repr(n)", {}, "None"),
        ("def predict(self, n: Optional[int] = Input()) -> str: return repr(n)", {}, "None"),
        ("def predict(self, n: Optional[int]) -> str: return repr(n)", {"n": None}, "None"),
        ("def predict(self, n: float = Input(default=2)) -> str: return repr(n)", {}, "2.0"),
        ("def predict(self, n: float) -> str: return repr(n)", {"n": 2}, "2.0"),
        ("def predict(self) -> str: return 'nothing'", {}, "nothing"),
        (
            "def predict(self, s: str = Input(choices={'a': 1}.keys())) -> str: return s",
            {"s": "a"},
            "a",
        ),
        (
            "def predict(self, p: pathlib.Path) -> str: return p.read_text()",
            {"p": "data:,hi"},
            "hi",
        ),
        (
            "def predict(self, p: Annotated[Path, 1]) -> str: return p.read_text()",
            {"p": "data:,hi"},
            "hi",
        ),
        ("def predict(self, p: os.PathLike) -> str: return p.read_text()", {"p": "data:,hi"}, "hi"),
        ("def predict(self, f: File) -> str: return f.read().decode()", {"f": "data:,hi"}, "hi"),
        (
            "def predict(self, p: Path) -> File: return open(p)",
            {"p": "data:text/plain,hi"},
            "data:text/plain;base64,aGk=",
        ),
        (
            "def predict(self, s: str) -> Dict[str, List[str]]: return {'a': (s, s)}",
            {"s": "x"},
            {"a": ["x", "x"]},
        ),
        (
            "def predict(self, n: int) -> Iterator[str]: return map(str, range(n))",
            {"n": 2},
            ["0", "1"],
        ),
        ("async def predict(self, n: int) -> int: return n", {"n": 2}, 2),
        (
            "@streaming\n    def predict(self, s: str) -> ConcatenateIterator[str]: yield from s",
            {"s": "xy"},
            "xy",
        ),
        ("@concurrent\n    async def run(self, s: str) -> str: return s", {"s": "xy"}, "xy"),
    ],
)
def test_inputs_and_results_are_as_with_cog(
    write: Write, method: str, input: dict[str, Any], result: Any
) -> None:
    path = write(predictor(method))
    assert zypher.testing.predict(f"{path}:Predictor", input) == result


def test_a_regex_is_looked_for_at_the_beginning(write: Write) -> None:
    code = predictor("def predict(self, s: str = Input(regex='a|b')) -> str: return s")
    with zypher.testing.loaded(f"{write(code)}:Predictor") as model:
        assert model.predict({"s": "bc"}) == "bc"
        with pytest.raises(zypher.InvalidInput):
            model.predict({"s": "cb"})


def test_a_default_is_new_for_each_run(write: Write) -> None:
    code = predictor(
        "def predict(self, of: dict[str, int] = Input(default={})) -> int:\n"
        "        of[str(len(of))] = 1\n"
        "        return len(of)"
    )
    with zypher.testing.loaded(f"{write(code)}:Predictor") as model:
        assert [model.predict({}), model.predict({})] == [1, 1]


def test_setup_gets_the_weights_that_the_environment_names(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = "def setup(self, weights): self.weights = weights"
    path = write(predictor("def predict(self) -> str: return repr(self.weights)", setup))
    monkeypatch.setenv("COG_WEIGHTS", "here")
    assert zypher.testing.predict(f"{path}:Predictor", {}) == "'here'"


def test_a_path_that_leads_nowhere_is_an_invalid_output(write: Write) -> None:
    path = write(predictor("def predict(self) -> Path: return Path('nowhere.png')"))
    with pytest.raises(InvalidOutput, match=r"path nowhere\.png, which cannot be read: No such"):
        zypher.testing.predict(f"{path}:Predictor", {})


def test_a_file_that_was_there_before_the_run_stays(write: Write, tmp_path: Path) -> None:
    asset = tmp_path / "asset.txt"  # in the folder of temporary files, as all of a test's
    asset.write_text("old")
    path = write(predictor(f"def predict(self) -> Path: return Path({str(asset)!r})"))
    assert zypher.testing.predict(f"{path}:Predictor", {}).endswith("b2xk")
    assert asset.exists()


def test_the_files_of_an_input_are_there_until_the_last_part_and_no_longer(write: Write) -> None:
    code = predictor(
        "def predict(self, p: Path) -> Iterator[str]:\n"
        "        yield str(p)\n"
        "        yield p.read_text()"
    )
    name, content = zypher.testing.predict(f"{write(code)}:Predictor", {"p": "data:,hi"})
    assert content == "hi"
    assert not Path(name).parent.exists()


def test_a_generator_that_nobody_wants_any_more_is_closed_before_its_files_go(
    write: Write,
) -> None:
    code = predictor(
        "def predict(self, p: Path) -> Iterator[float]:\n"
        "        try:\n"
        "            yield float('nan')\n"
        "        finally:\n"
        "            cog.closed_with = p.read_text()"
    )
    with pytest.raises(InvalidOutput):
        zypher.testing.predict(f"{write(code)}:Predictor", {"p": "data:,hi"})
    assert sys.modules["cog"].closed_with == "hi"


def test_an_import_of_cog_fails_where_no_model_is_loaded() -> None:
    script = "import zypher.replicas.child\ntry: import cog\nexcept ImportError: print('none')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"none\n"


def test_a_cog_that_is_installed_comes_first(tmp_path: Path) -> None:
    (tmp_path / "cog.py").write_text("real = True\n")
    script = (
        "from zypher.model import guests\nguests.welcome(); guests.welcome()\n"
        "import sys, cog\nprint(cog.real, sum('StandIns' in repr(f) for f in sys.meta_path))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == b"True 1\n"


def test_the_healthcheck_of_a_predictor_is_asked(write: Write) -> None:
    setup = "def healthcheck(self): return False"
    path = write(predictor("def predict(self) -> str: return 'x'", setup))
    healthcheck = load(f"{path}:Predictor").healthcheck
    assert healthcheck is not None
    assert healthcheck() is False
