import dataclasses
import enum
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict

import jsonschema_rs
import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from typing_extensions import TypeAliasType, TypeVar

from zypher.errors import InvalidInput
from zypher.model.types import InputType, input_type, object_type, output_schema

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Options(TypedDict):
    size: int
    mode: NotRequired[Literal["fast", "good"]]


class Picture(TypedDict):
    pixels: bytes


@dataclass
class Point:
    x: float
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Path:
    points: list[Point]
    image: bytes = b""
    weights: npt.NDArray[np.float32] | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class Tree:
    children: "list[Tree]"


@dataclass
class Sloppy:
    n: int = None  # type: ignore[assignment]


@dataclass
class Bounded:
    n: Annotated[int, pydantic.Field(ge=1)]
    image: bytes = b""


@dataclass
class Positive:
    n: int

    def __post_init__(self) -> None:
        if self.n <= 0:
            raise ValueError("n must be above 0")


@dataclass
class Derived:
    n: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        self.twice = 2 * self.n


class Pair(NamedTuple):
    left: int
    right: str


class Item(pydantic.BaseModel):
    name: str
    count: int = 1


class Strict(pydantic.BaseModel, extra="forbid"):
    name: str


Word = NewType("Word", str)
Image = NewType("Image", bytes)
Json: TypeAliasType = TypeAliasType("Json", "list[Json] | None")
Pairs = TypeAliasType("Pairs", list[tuple[T, T]], type_params=(T,))
Floats = npt.NDArray[np.float32]


def accepts(type_: InputType, raw: str) -> bool:
    try:
        type_.decode(raw.encode())
    except InvalidInput as refused:
        check_errors(refused.errors)
        return False
    return True


def check_errors(errors: list[dict[str, Any]] | None) -> None:
    assert errors
    assert json.loads(json.dumps(errors)) == errors
    assert all(error.keys() == {"loc", "msg", "type"} for error in errors)
    assert all(error["loc"][0] == "input" for error in errors)


VALUES = """
null true false 0 1 -1 5.0 5.5 1e3 "" "red" "fast" "eA==" [] [1] [1.5] [[1,2],[3,4]] ["a"]
[null] [1,"a"] {} {"size":1} {"size":1.0,"mode":"good"} {"size":1,"mode":"bad"} {"size":"1"}
{"x":1} {"x":1,"y":2.5} {"x":1,"z":2} {"x":null} {"points":[{"x":1}]} {"points":[{"x":"1"}]}
{"points":[],"tags":["a"],"image":"eA==","weights":[[1,2]]} {"points":[],"weights":["a"]}
{"children":[{"children":[]}]} {"children":[{}]} {"n":3} {"n":0} {"n":3,"m":4} {"name":"a"}
{"name":"a","extra":1} {"a":{"b":[1]}} {"a":1} {"1":"x"}
""".split()  # noqa: SIM905 - read as a table

TYPES = [
    Any,
    object,
    None,
    bool,
    int,
    float,
    str,
    Word,
    list,
    dict,
    list[float],
    list[int],
    Sequence[str],
    tuple[int, str],
    dict[str, int],
    dict[str, dict[str, list[int]]],
    int | None,
    int | str,
    Optional[list[int]],  # noqa: UP045 - the old spelling is in use, too
    Literal["fast", 1],
    Color,
    Options,
    Point,
    list[Point],
    Point | None,
    Path,
    Tree,
    Bounded,
    Derived,
    Point | Options,
    Point | Bounded,
    Point | int,
    Annotated[list[float], pydantic.Field(min_length=1)],
    Annotated[list[Options], "a note"],
    Strict,
    list[Strict],
    Strict | Point,
    np.ndarray,
    Floats,
    npt.NDArray[np.int64],
    list[Floats],
    Floats | None,
    Json,
    Pairs[int],
    dict[str, Floats] | Strict,
]
# pydantic takes "1" for a number and 1 for true; the schema, which is asked first, does not.
LAX = {'{"size":"1"}', '{"x":"1"}', '{"points":[{"x":"1"}]}'}


@pytest.mark.parametrize("annotation", TYPES, ids=str)
def test_agreement(annotation: Any) -> None:
    """A type's schema is valid JSON Schema 2020-12 and accepts exactly what decoding accepts."""
    type_ = input_type(annotation)
    jsonschema_rs.meta.validate(type_.schema)
    validator = jsonschema_rs.Draft202012Validator(type_.schema)
    for raw in VALUES:
        if raw not in LAX:
            assert validator.is_valid(json.loads(raw)) == accepts(type_, raw), raw
        if validator.is_valid(json.loads(raw)):
            assert accepts(type_, raw), raw


@pytest.mark.parametrize(
    ("annotation", "raw", "expected"),
    [
        (int, "5.0", 5),
        (float, "5", 5.0),
        (dict[int, float], '{"1": 5.0}', {1: 5.0}),
        (Options, '{"size": 5.0}', {"size": 5}),
        (Color, '"red"', Color.RED),
        (Pair, '[1, "a"]', Pair(1, "a")),
        (Sloppy, "{}", Sloppy()),
        (Tree, '{"children": [{"children": []}]}', Tree([Tree([])])),
        (Derived, '{"n": 2}', Derived(2)),
        (Path, '{"points": [{"x": 1}]}', Path([Point(1.0)])),
        (Path, '{"points": [], "image": "data:;base64,eA=="}', Path([], b"x")),
        (Bounded, '{"n": 2, "image": "eA=="}', Bounded(2, b"x")),
        (Picture, '{"pixels": "data:image/png;base64,eA=="}', {"pixels": b"x"}),
        (list[Item], '[{"name": "a"}]', [Item(name="a")]),
        (bytes, '"eHg="', b"xx"),
        (bytes, '"eH\\ng="', b"xx"),
        (bytes, '"data:text/plain,a%20b"', b"a b"),
        (bytes | int, '"eHg="', b"xx"),
        (list[bytes], '["eHg="]', [b"xx"]),
        (Image, '"eHg="', b"xx"),
        (Image | int, '"eHg="', b"xx"),
    ],
)
def test_values(annotation: Any, raw: str, expected: Any) -> None:
    """Decoding gives values of the annotated types, exactly."""
    value = input_type(annotation).decode(raw.encode())
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "raw", "dtype", "shape"),
    [
        (np.ndarray, "[1, 2]", np.int64, (2,)),
        (np.ndarray, "[1, 2.5]", np.float64, (2,)),
        (Floats, "[[1, 2, 3], [4, 5, 6]]", np.float32, (2, 3)),
        (Floats, "[]", np.float32, (0,)),
        (npt.NDArray[np.uint8], "[0, 255.0]", np.uint8, (2,)),
        (npt.NDArray[np.bool_], "[true]", np.bool_, (1,)),
        (npt.NDArray[np.floating[Any]], "[1.5]", np.float64, (1,)),
        (Annotated[Floats, pydantic.Field(description="x")], "[1]", np.float32, (1,)),
    ],
)
def test_arrays(annotation: Any, raw: str, dtype: Any, shape: tuple[int, ...]) -> None:
    """Nested lists become arrays of the annotated dtype, and of NumPy's choice without one."""
    array = input_type(annotation).decode(raw.encode())
    assert (array.dtype, array.shape) == (dtype, shape)


def test_array_in_dataclass() -> None:
    """An array inside a dataclass has its dtype, too, whichever engine decodes."""
    for annotation in (Path, Path | Point):
        path = input_type(annotation).decode(b'{"points": [], "weights": [[1, 2]]}')
        assert path.weights.dtype == np.float32


@pytest.mark.parametrize(
    ("annotation", "raw", "loc"),
    [
        (int, '"a"', ["input"]),
        (int, "1e400", ["input"]),
        (Any, "[1", ["input"]),
        (list[int], '["a", 1', ["input"]),
        (list[Any], "[" * 200_000 + "]" * 200_000, ["input"]),
        (Any, '"\\ud800"', ["input"]),
        (list[int], '[1, "a"]', ["input", 1]),
        (Path, '{"points": [{"x": "a"}]}', ["input", "points", 0, "x"]),
        (Path, '{"points": [{}]}', ["input", "points", 0, "x"]),
        (Path, '{"points": [{"x": 1, "z": 2}]}', ["input", "points", 0, "z"]),
        (Path, '{"points": [], "image": "!"}', ["input", "image"]),
        (list[Positive], '[{"n": 1}, {"n": 0}]', ["input", 1]),
        (Bounded, '{"n": 0}', ["input", "n"]),
        (list[Item], '[{"name": 1}]', ["input", 0, "name"]),
        (bytes, "1", ["input"]),
        (bytes, '"data:nothing"', ["input"]),
        (np.ndarray, "1", ["input"]),
        (np.ndarray, "[[1], [1, 2]]", ["input"]),
        (np.ndarray, "[[1], 2]", ["input"]),
        (np.ndarray, '[{"a": 1}]', ["input"]),
        (Floats, '["1.5"]', ["input"]),
        (Floats, "[1e300]", ["input"]),
        (Floats, "[true]", ["input"]),
        (list[Floats], "[[1], [null]]", ["input", 1]),
        (npt.NDArray[np.uint8], "[256]", ["input"]),
        (npt.NDArray[np.uint8], "[1.5]", ["input"]),
        (Annotated[Floats, pydantic.Field()], "[null]", ["input"]),
    ],
)
def test_refusals(annotation: Any, raw: str, loc: list[str | int]) -> None:
    """Bad input is refused as such, with its place, and never as another error."""
    with pytest.raises(InvalidInput) as caught:
        input_type(annotation).decode(raw.encode())
    assert caught.value.errors is not None
    assert caught.value.errors[0]["loc"] == loc
    assert str(caught.value).startswith("The input is wrong at input")


def test_open_models() -> None:
    """Unknown members of a pydantic model are as its own config says, in schema and value."""
    raw = '{"name": "a", "extra": 1}'
    for annotation, taken in ((Item, True), (Strict, False), (list[Item] | Item, True)):
        type_ = input_type(annotation)
        assert accepts(type_, raw) is taken
        assert jsonschema_rs.is_valid(type_.schema, json.loads(raw)) is taken


@pytest.mark.parametrize("of_n", [int, Annotated[int, pydantic.Field(ge=1)]])
def test_objects(of_n: Any) -> None:
    """An object has the required members, may have the optional ones, and no others."""
    type_ = object_type({"n": of_n, "json": list[Point], "image": bytes}, {"json", "image"})
    assert type_.decode(b'{"n": 1}') == {"n": 1}
    assert type_.decode(b'{"n": 1, "json": [{"x": 1}]}') == {"n": 1, "json": [Point(1.0)]}
    assert type_.decode(b'{"n": 1, "image": "eA=="}') == {"n": 1, "image": b"x"}
    validator = jsonschema_rs.Draft202012Validator(type_.schema)
    for raw in ("{}", '{"n": 1, "m": 2}', '{"json": []}', "1", '{"n": 1, "json": [{"q": 1}]}'):
        assert not accepts(type_, raw)
        assert not validator.is_valid(json.loads(raw))


def test_post_init_of_a_member() -> None:
    """What a dataclass in an object refuses is reported at its member."""
    type_ = object_type({"a": Positive, "b": int}, frozenset())
    with pytest.raises(InvalidInput) as caught:
        type_.decode(b'{"a": {"n": 0}, "b": 1}')
    assert caught.value.errors == [
        {"loc": ["input", "a"], "msg": "n must be above 0", "type": "invalid"}
    ]


def test_no_schema() -> None:
    """A type without a JSON form is a TypeError for inputs and no schema for results."""

    class Opaque:
        pass

    for annotation in (Opaque, list[Opaque], npt.NDArray[np.complex128]):
        with pytest.raises(TypeError):
            input_type(annotation)
        assert output_schema(annotation) is None


def test_output_schemas() -> None:
    """Results have schemas as inputs do."""
    assert output_schema(list[float]) == {"type": "array", "items": {"type": "number"}}
    assert output_schema(None) == {"type": "null"}
    schema = output_schema(Item)
    assert schema is not None
    assert schema["properties"].keys() == {"name", "count"}
    assert output_schema(Floats) == input_type(Floats).schema


def test_schemas_do_not_share() -> None:
    """What one schema says of a type does not leak into another's."""
    before = json.dumps(input_type(bytes).schema)
    input_type(Path)
    assert json.dumps(input_type(bytes).schema) == before


def test_users_classes_are_left_alone() -> None:
    """Making a schema changes nothing in the user's dataclass."""

    @dataclass
    class Mine:
        n: int

    before = set(vars(Mine))
    input_type(Mine)
    assert set(vars(Mine)) == before
    assert dataclasses.asdict(input_type(Mine).decode(b'{"n": 1}')) == {"n": 1}


def test_light() -> None:
    """Importing the package, and plain types, bring in no heavy library."""
    code = """
import sys
from zypher.model import author, loading, mock, signature, types
loading.load("mock")
types.input_type(dict[str, list[float]])
print([m for m in ("fastapi", "pydantic", "pydantic_settings", "numpy") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
