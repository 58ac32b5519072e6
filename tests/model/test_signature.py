from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import pytest

from zypher.errors import InvalidInput, ModelLoadError
from zypher.model.author import BatchOptions, ItemError, batch, batch_options
from zypher.model.signature import Arguments, Signature

if TYPE_CHECKING:
    from decimal import Decimal


def signature(predict: Callable[..., Any]) -> Signature:
    return Signature.of(predict, target="m.py:f")


def call(predict: Callable[..., Any], raw: bytes) -> Any:
    arguments = signature(predict).decode(raw)
    assert isinstance(arguments, Arguments)
    return predict(*arguments.args, **arguments.kwargs)


@dataclass
class Point:
    x: float


class Model:
    def predict(self, text: str) -> str:
        return text.upper()

    @batch(max_size=4, max_wait=0.1)
    def many(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]


def test_one_parameter() -> None:
    """With one parameter the input is its value, and `self` is none."""
    found = signature(Model().predict)
    assert found.input_schema == {"type": "string"}
    assert found.output_schema == {"type": "string"}
    assert call(Model().predict, b'"hi"') == "HI"


def test_one_parameter_with_a_default() -> None:
    """A single parameter takes the input's value also when it has a default."""

    def f(text: str = "a") -> str:
        return text

    assert call(f, b'"b"') == "b"


def test_several_parameters() -> None:
    """With several the input is a closed object of them, in which defaults may be left out."""
    sentinel = object()

    def f(text: str, size: int = 3, any: Any = sentinel) -> Any:
        return text, size, any

    assert call(f, b'{"text": "a"}') == ("a", 3, sentinel)
    assert call(f, b'{"any": null, "text": "a", "size": 4}') == ("a", 4, None)
    schema = signature(f).input_schema
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "text": {"type": "string"},
        "size": {"type": "integer", "default": 3},
        "any": {},
    }
    with pytest.raises(InvalidInput) as caught:
        signature(f).decode(b'{"text": "a", "sise": 4}')
    assert caught.value.errors is not None
    assert caught.value.errors[0]["loc"] == ["input", "sise"]


def test_no_parameters() -> None:
    """With none the input is the empty object."""

    def f() -> int:
        return 1

    assert call(f, b"{}") == 1
    with pytest.raises(InvalidInput):
        signature(f).decode(b'{"a": 1}')


def test_kinds_of_parameters() -> None:
    """Positional-only and keyword-only parameters get their values, and keep their defaults."""

    def f(a: int, b: int = 2, /, c: int = 3, *, d: Point) -> Any:
        return a, b, c, d

    assert call(f, b'{"a": 1, "d": {"x": 1}}') == (1, 2, 3, Point(1.0))
    assert call(f, b'{"a": 1, "c": 5, "d": {"x": 1}}') == (1, 2, 5, Point(1.0))

    def one(a: int, /) -> int:
        return a

    assert call(one, b"1") == 1


def test_wrapped_functions() -> None:
    """Decorated functions and partials have the signature of what they wrap."""

    def f(text: str, size: int) -> str:
        return text * size

    @wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    assert call(decorated, b'{"text": "a", "size": 2}') == "aa"
    assert call(partial(f, "b"), b"2") == "bb"


def test_batch() -> None:
    """A batched predict's input and result are one item of its lists."""
    found = signature(Model().many)
    assert found.batched
    assert (found.input_schema, found.output_schema) == ({"type": "string"}, {"type": "integer"})
    assert found.decode(b'"a"') == "a"

    @batch
    def f(inputs: Sequence[Point]) -> Any:
        return inputs

    assert signature(f).decode(b'{"x": 1}') == Point(1.0)
    assert batch_options(f) == BatchOptions(32, 0.005)
    assert batch_options(Model().many) == BatchOptions(4, 0.1)
    assert batch_options(batch(8)(f)) == BatchOptions(8, 0.005)
    assert batch_options(Model().predict) is None


@pytest.mark.parametrize("options", [{"max_size": 0}, {"max_size": 1.5}, {"max_wait": -1}])
def test_bad_batch_options(options: dict[str, Any]) -> None:
    """A batch size below 1 or a negative wait is refused where it is written."""
    with pytest.raises(ValueError, match="of a batch is"):
        batch(**options)


def test_item_error() -> None:
    """An ItemError carries its sentence."""
    assert str(ItemError("too long")) == "too long"


def test_generators() -> None:
    """A generator's result is the list of its parts."""

    def f(n: int) -> Iterator[str]:
        yield "a"

    async def g(n: int) -> AsyncIterator[int]:
        yield 1

    def bare(n: int):  # type: ignore[no-untyped-def]
        yield 1

    assert signature(f).output_schema == {"type": "array", "items": {"type": "string"}}
    assert signature(g).output_schema == {"type": "array", "items": {"type": "integer"}}
    assert signature(bare).output_schema is None


def test_results_without_a_schema() -> None:
    """A result type that has no schema is no reason to refuse a model."""

    class Opaque:
        pass

    def f(n: int) -> Opaque:
        return Opaque()

    assert signature(f).output_schema is None


class Opaque:
    pass


def untyped(self, text):  # type: ignore[no-untyped-def]
    pass


def several(*texts: str) -> None:
    pass


def keywords(a: int, **more: int) -> None:
    pass


def opaque(a: int, image: Opaque) -> None:
    pass


def undefined(n: "Decimal") -> None:
    pass


def undefined_result(n: int) -> "Decimal | None":
    pass


@batch
def no_list(inputs: str) -> None:
    pass


@batch
def bare_list(inputs: list) -> None:  # type: ignore[type-arg]
    pass


@batch
def two(inputs: list[str], size: int) -> None:
    pass


@batch
def yields(inputs: list[str]) -> Iterator[str]:
    yield ""


@pytest.mark.parametrize(
    ("predict", "sentence"),
    [
        (
            untyped,
            "untyped(self, text) of m.py:f has no type hint for 'self'. Add one, for example "
            "`self: str`: the types are the schema of the input.",
        ),
        (several, "takes any number of arguments ('texts')"),
        (keywords, "takes any number of arguments ('more')"),
        (opaque, "opaque(a, image) of m.py:f takes 'image' of a type that has no JSON Schema: "),
        (undefined, "A type hint of undefined() of m.py:f names 'Decimal', which is not defined"),
        (undefined_result, "names 'Decimal', which is not defined"),
        (no_list, "no_list(inputs) of m.py:f is batched; it must take exactly one parameter"),
        (bare_list, "it must take exactly one parameter, a list of the inputs"),
        (two, "it must take exactly one parameter"),
        (yields, "it must return a list, not yield"),
    ],
)
def test_refusals(predict: Callable[..., Any], sentence: str) -> None:
    """A signature that makes no schema is refused in a sentence that says what to do."""
    with pytest.raises(ModelLoadError) as caught:
        signature(predict)
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
