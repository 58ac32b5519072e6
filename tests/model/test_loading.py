import json
import pickle
import subprocess
import sys
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from zypher.errors import InvalidOutput, ModelLoadError
from zypher.model.author import ItemError
from zypher.model.loading import Model, default_name, load, user_traceback

from .conftest import Write


def run(model: Model, raw: bytes) -> Any:
    return model.run(model.signature.decode(raw))


def refusal(target: str) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as caught:
        load(target)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
    return caught.value


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("models/sentiment.py:Sentiment", "sentiment"),
        ("package.module:zoo.Cat", "cat"),
        ("mock", "mock"),
    ],
)
def test_default_names(target: str, name: str) -> None:
    """A model is named after its class or function."""
    assert default_name(target) == name


@pytest.mark.anyio
async def test_class(write: Write) -> None:
    """A class is made once, set up, and its predict is called."""
    path = write(
        '''
        class Shout:
            """Makes text
            loud.

            And more.
            """
            def setup(self): self.mark = "!"
            def predict(self, text: str) -> str: return text.upper() + self.mark
        '''
    )
    model = load(f"{path}:Shout")
    await model.setup()
    assert run(model, b'"hi"') == "HI!"
    assert (model.name, model.description) == ("shout", "Makes text loud.")
    assert (model.is_async, model.batch) == (False, None)


@pytest.mark.anyio
async def test_async_setup(write: Write) -> None:
    """A setup that is async is awaited, and one that raises raises as itself."""
    path = write(
        """
        class A:
            async def setup(self): self.n = 1
            async def predict(self, n: int) -> int: return n + self.n
        class B:
            def setup(self): raise LookupError("no weights")
            def predict(self, n: int) -> int: return n
        """
    )
    model = load(f"{path}:A")
    await model.setup()
    assert model.is_async
    assert await model.run_async(model.signature.decode(b"1")) == 2
    with pytest.raises(LookupError, match="no weights"):
        await load(f"{path}:B").setup()


@pytest.mark.anyio
async def test_functions(write: Write) -> None:
    """Functions of all four kinds run; those that yield give a generator."""
    path = write(
        """
        def plain(n: int) -> int:
            "Adds."
            return n + 1
        async def asynchronous(n: int): return n + 1
        def parts(n: int): yield from range(n)
        async def async_parts(n: int):
            for i in range(n): yield i
        """
    )
    plain = load(f"{path}:plain")
    assert run(plain, b"2") == 3
    assert plain.description == "Adds."
    assert list(run(load(f"{path}:parts"), b"2")) == [0, 1]
    model = load(f"{path}:asynchronous")
    assert model.is_async
    await model.setup()
    assert await model.run_async(model.signature.decode(b"2")) == 3
    model = load(f"{path}:async_parts")
    assert model.is_async
    parts = await model.run_async(model.signature.decode(b"2"))
    assert [part async for part in parts] == [0, 1]


def test_instances(write: Write) -> None:
    """An instance with predict and one that can be called are models, also inside an object."""
    write(
        """
        class P:
            def __init__(self, by): self.by = by
            def predict(self, n: int) -> int: return n * self.by
        class C:
            def __call__(self, n: int) -> int: return -n
        class zoo:
            triple = P(3)
        negative = C()
        """,
        "pkg_of_user/models.py",
    )
    assert run(load("pkg_of_user.models:zoo.triple"), b"2") == 6
    assert run(load("pkg_of_user.models:negative"), b"2") == -2


def test_neighbouring_files(write: Write) -> None:
    """A model's file may import its neighbours, and is itself there for pickle."""
    write("FACTOR = 2", "deep/neighbour_of_user.py")
    path = write(
        """
        from dataclasses import dataclass
        import neighbour_of_user
        @dataclass
        class P:
            children: "list[P]"
        def f(p: P) -> int: return neighbour_of_user.FACTOR
        """,
        "deep/user_model.py",
    )
    model = load(f"{path}:f")
    assert run(model, b'{"children": [{"children": []}]}') == 2
    value = model.signature.decode(b'{"children": []}').kwargs["p"]
    assert pickle.loads(pickle.dumps(value)) == value


def test_clashing_names(write: Write) -> None:
    """Files named like a module of Python, or like each other, harm nobody."""
    for path in ("json.py", "a/user_model.py", "b/user_model.py"):
        write(f"def f(n: int): return {path!r}", path)
        assert run(load(f"{path}:f"), b"1") == path
    assert sys.modules["json"] is json


def test_one_file_twice(write: Write) -> None:
    """Two models of one file share one module."""
    path = write("def f(n: int): return n\ndef g(n: int): return n")
    f, g = load(f"{path}:f").predict, load(f"{path}:g").predict
    assert f.__globals__ is g.__globals__


@pytest.mark.anyio
async def test_batches(write: Write) -> None:
    """A batched model takes a list of items and gives one result for each."""
    path = write(
        """
        import zypher.model.author as zypher
        import numpy as np
        @zypher.batch
        def f(texts: list[str]):
            return tuple(t or zypher.ItemError("empty") for t in texts)
        @zypher.batch(max_size=2)
        async def g(numbers: list[float]): return np.array(numbers) * 2
        """
    )
    model = load(f"{path}:f")
    first, second = model.run(["a", ""])
    assert first == "a"
    assert isinstance(second, ItemError)
    model = load(f"{path}:g")
    assert model.batch is not None
    assert model.batch.max_size == 2
    assert await model.run_async([1.0, 2.0]) == [np.float64(2), np.float64(4)]


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ("[1, 2, 3]", "predict returned 3 results for 4 inputs"),
        ("{}", "predict returned a dict for 4 inputs"),
        ("None", "predict returned a NoneType for 4 inputs"),
        ("np.array(1)", "predict returned a ndarray for 4 inputs"),
    ],
)
def test_bad_batches(write: Write, returned: str, sentence: str) -> None:
    """A batch that has not one result for each input is refused as a whole."""
    path = write(
        f"""
        import numpy as np
        from zypher.model.author import batch
        @batch
        def f(n: list[int]): return {returned}
        """
    )
    with pytest.raises(InvalidOutput, match=sentence):
        load(f"{path}:f").run([1, 2, 3, 4])


@pytest.mark.anyio
async def test_mock() -> None:
    """The mock takes any JSON value and returns a number as text."""
    model = load("mock", mock_delay=(0, 0))
    await model.setup()
    for raw in (b"null", b'"a"', b'{"a": [1]}'):
        assert jsonschema_rs.is_valid(model.signature.input_schema, json.loads(raw))
        assert float(await model.run_async(model.signature.decode(raw))) > 0
    assert (model.name, model.is_async, model.batch) == ("mock", True, None)
    assert model.signature.output_schema == {"type": "string"}


CODE = """
import os
class Sentiment:
    def predict(self, text: str): ...
class Needy:
    def __init__(self, path): ...
    def predict(self, text: str): ...
class Empty: ...
class Broken:
    def __init__(self): raise OSError("no weights here")
    def predict(self, text: str): ...
number = 1
"""


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("missing.py:Name", "There is no file missing.py in "),
        ("user_model.py", "does not name a model. Write `file.py:Name` or `package.module:name`"),
        ("user_model", "does not name a model"),
        ("user_model.py:", "does not name a model"),
        ("not_a_module_of_anyone:Name", "There is no module not_a_module_of_anyone in "),
        ("user_model.inner:Name", "There is no module user_model.inner in "),
        ("user_model.py:Sentimnet", "user_model.py has no 'Sentimnet'. Did you mean 'Sentiment'?"),
        ("user_model:zzz", "user_model has no 'zzz'. It has Sentiment, Needy, Empty, Broken."),
        ("user_model:Sentiment.zzz", "user_model has no 'Sentiment.zzz'"),
        ("user_model.py:Empty", "The class Empty of user_model.py:Empty is not a model"),
        ("user_model.py:Needy", "cannot be made without arguments (missing a required argument"),
        ("user_model.py:number", "user_model.py:number is not a model but an int."),
    ],
)
def test_refusals(write: Write, target: str, sentence: str) -> None:
    """What is not a model is refused in one sentence that says what to do."""
    write(CODE)
    error = refusal(target)
    assert sentence in str(error)
    assert error.traceback is None


def test_empty_module(write: Write) -> None:
    """A module that has nothing to offer says so."""
    assert "no function or class that could be a model" in str(refusal(f"{write('x = 1')}:f"))


def test_constructor_that_raises(write: Write) -> None:
    """An error in a model's constructor is shown with the user's lines alone."""
    error = refusal(f"{write(CODE)}:Broken")
    assert str(error) == ("Broken() of user_model.py:Broken raised OSError: no weights here.")
    assert error.traceback is not None
    assert 'raise OSError("no weights here")' in error.traceback
    assert "zypher" not in error.traceback


@pytest.mark.parametrize(
    ("code", "sentence", "line"),
    [
        ("1 / 0", "raised ZeroDivisionError: division by zero.", "1 / 0"),
        ("import absent_one", "imports 'absent_one', which is not installed", "import absent_one"),
        ("import sys; sys.exit(3)", "ended the program (sys.exit)", "sys.exit(3)"),
        ("def f(:\n  pass", "raised SyntaxError: invalid syntax", "def f(:"),
        (
            "try:\n  1 / 0\nexcept Exception as e:\n  raise KeyError('k') from e",
            "raised KeyError: 'k'.",
            "The above exception was the direct cause",
        ),
    ],
)
@pytest.mark.parametrize("target", ["user_model.py:f", "user_model:f"])
def test_modules_that_raise(write: Write, target: str, code: str, sentence: str, line: str) -> None:
    """An error while a module is imported is the user's own, and only their lines are shown."""
    write(code)
    error = refusal(target)
    assert sentence in str(error)
    assert error.traceback is not None
    assert line in error.traceback
    assert "user_model.py" in error.traceback
    assert "zypher" not in error.traceback
    assert "importlib" not in error.traceback
    assert "user_model" not in sys.modules


def test_broken_file_can_be_mended(write: Write) -> None:
    """A file that raised is read anew at the next try."""
    path = write("1 / 0")
    refusal(f"{path}:f")
    write("def f(n: int) -> int: return n * 100")
    assert run(load(f"{path}:f"), b"1") == 100


def test_traceback_of_predict(write: Write) -> None:
    """The traceback of a failed run begins in the user's code."""
    path = write("def f(n: int): return 1 / n")
    model = load(f"{path}:f")
    arguments = model.signature.decode(b"0")
    with pytest.raises(ZeroDivisionError) as caught:
        model.run(arguments)
    lines = user_traceback(caught.value.with_traceback(caught.tb.tb_next)).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "user_model.py" in lines[1]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_working_directory_first(write: Write) -> None:
    """A module in the working directory is found without it being on the path."""
    path = write("def f(n: int) -> int: return n")
    code = "from zypher.model.loading import load; print(load('user_model:f').name)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "f\n"
    assert path == "user_model.py"
