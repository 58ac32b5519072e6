"""NumPy arrays as inputs, without importing NumPy: who annotates with it has imported it."""

import json
import sys
from typing import Any, get_args, get_origin

from zypher.model.annotations import unwrap_alias

# A schema cannot nest without end except by reference; these are what the references name.
_DEFINITIONS: dict[str, dict[str, Any]] = {
    name: {
        "title": name,
        "type": [kind, "array"],
        "items": {"$ref": f"#/$defs/{name}"},
    }
    for name, kind in (
        ("NestedNumbers", "number"),
        ("NestedIntegers", "integer"),
        ("NestedBooleans", "boolean"),
    )
}
# Stands for "$ref" until the definitions are there: pydantic would look them up at once.
_LATER = "$array-ref"
_NAMES = {"f": "NestedNumbers", "i": "NestedIntegers", "u": "NestedIntegers", "b": "NestedBooleans"}
_ACCEPTED = {"f": "iuf", "i": "iuf", "u": "iuf", "b": "b"}


def is_array(annotation: Any) -> bool:
    """True for `np.ndarray` and for `npt.NDArray[...]`."""
    numpy: Any = sys.modules.get("numpy")
    annotation = unwrap_alias(annotation)  # as NDArray is one in newer versions
    ndarray = getattr(numpy, "ndarray", None)  # a file of the user's may have that name
    return ndarray is not None and ndarray in (annotation, get_origin(annotation))


def array_schema(annotation: Any) -> dict[str, Any]:
    """A JSON array, nested to any depth, of what the annotated dtype holds.

    Complete after `resolved`. Raises TypeError for a dtype that JSON cannot carry.
    """
    dtype = _dtype(annotation)
    name = "NestedNumbers" if dtype is None else _NAMES.get(dtype.kind)
    if name is None:
        raise TypeError(f"an array of {dtype} has no JSON form")
    return {"type": "array", "items": {_LATER: f"#/$defs/{name}"}}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with the definitions that its arrays refer to."""
    text = json.dumps(schema)
    if _LATER not in text:
        return schema
    complete: dict[str, Any] = json.loads(text.replace(_LATER, "$ref"))
    used = {name: _DEFINITIONS[name] for name in _DEFINITIONS if f'"#/$defs/{name}"' in text}
    return {**complete, "$defs": {**complete.get("$defs", {}), **used}}


def to_array(annotation: Any, value: Any) -> Any:
    """The nested list `value` as an array of the annotated dtype (as NumPy chooses without one).

    Raises ValueError when the list is ragged, holds other things than numbers, or a number
    that the dtype cannot hold.
    """
    numpy: Any = sys.modules["numpy"]
    if not isinstance(value, list):
        raise ValueError("Expected an array of numbers")  # noqa: TRY004 - decoders want ValueError
    dtype = _dtype(annotation)
    try:
        array = numpy.array(value)
    except ValueError:
        raise ValueError("Expected an array whose rows have the same length") from None
    if array.size and array.dtype.kind not in _ACCEPTED[dtype.kind if dtype else "f"]:
        raise ValueError(f"Expected an array of {dtype or 'numbers'}")
    return array if dtype is None else _cast(numpy, array, dtype)


def _cast(numpy: Any, array: Any, dtype: Any) -> Any:
    """`array` as `dtype`, with rounding of fractions alone: never wrapped, cut off or infinite."""
    with numpy.errstate(all="ignore"):
        result = array.astype(dtype)
    held = numpy.isfinite(result) if dtype.kind == "f" else result == array
    if not held.all():
        raise ValueError(f"Expected numbers that fit {dtype}")
    return result


def _dtype(annotation: Any) -> Any:
    """The NumPy dtype in `npt.NDArray[np.float32]`; None when it leaves that open."""
    numpy: Any = sys.modules["numpy"]
    for part in get_args(unwrap_alias(annotation))[1:]:
        for scalar in get_args(part):
            if isinstance(scalar, type) and not scalar.__subclasses__():
                return numpy.dtype(scalar)
    return None
