"""Classes that were written for others, and need no more than their names."""

import pytest

import zypher.testing
from tests.model.conftest import Write
from zypher.errors import ModelLoadError
from zypher.model.loading import load


def predicted(write: Write, code: str, input: object = 1) -> object:
    return zypher.testing.predict(f"{write(code)}:Model", input)


def test_load_is_called_where_there_is_no_setup(write: Write) -> None:
    code = """
    class Model:
        def load(self): self.n = 2
        def predict(self, n: int) -> int: return n + self.n
    """
    assert predicted(write, code) == 3


def test_setup_comes_before_load(write: Write) -> None:
    code = """
    class Model:
        loaded = []
        def setup(self): self.loaded.append("setup")
        def load(self): self.loaded.append("load")
        def predict(self, n: int) -> list[str]: return self.loaded
    """
    assert predicted(write, code) == ["setup"]


@pytest.mark.parametrize(
    "load",
    [
        "def load(self, path): raise AssertionError",
        "@classmethod\n        def load(cls): raise AssertionError",
        "load = 'not a method'",
    ],
)
def test_a_load_that_prepares_something_else_is_left_alone(write: Write, load: str) -> None:
    code = f"""
    class Model:
        {load}
        def predict(self, n: int) -> int: return n
    """
    assert predicted(write, code) == 1


def test_a_class_with_call_alone_is_a_model(write: Write) -> None:
    code = """
    class Model:
        def __init__(self, path=""): self.n = 2
        def __call__(self, data: dict[str, int]) -> int: return data["inputs"] + self.n
    """
    assert predicted(write, code, {"inputs": 1}) == 3


def test_a_setup_that_wants_something_is_told_of_when_the_model_is_loaded(write: Write) -> None:
    path = write(
        """
        class Model:
            def setup(self, device): ...
            def decode_request(self, request): return request["input"]
            def predict(self, x: float) -> float: return x
            def encode_response(self, output): return {"output": output}
        """
    )
    with pytest.raises(ModelLoadError) as caught:
        load(f"{path}:Model")
    assert str(caught.value) == (
        "setup(device) of user_model.py:Model cannot be called: a replica calls setup() with "
        "nothing. Give 'device' a default, or do without it."
    )
