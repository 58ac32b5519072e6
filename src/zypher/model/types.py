"""From type annotations to a JSON Schema and a decoder of inputs.

Two engines: msgspec, which is fast and small, for plain types; pydantic, imported only then,
where a pydantic model, a constraint or anything else occurs that msgspec cannot express.
Both refuse bad input with `InvalidInput` and give JSON Schema 2020-12 that stands alone.
"""

from collections.abc import Mapping, Set
from typing import Any, Protocol

from zypher.model.plain import NotPlain, Plain, PlainObject


class InputType(Protocol):
    """A type that inputs have: its JSON Schema, and its values from JSON text."""

    schema: dict[str, Any]

    def decode(self, raw: bytes) -> Any:
        """The value that the JSON text `raw` stands for. Raises InvalidInput."""


def input_type(annotation: Any) -> InputType:
    """The type that `annotation` describes.

    Raises TypeError when it has no JSON form, NameError when it refers to an undefined name.
    """
    return _type(annotation)


def object_type(members: Mapping[str, Any], optional: Set[str]) -> InputType:
    """An object of exactly these members, decoded to a dict of those that are present.

    Those in `optional` may be absent. Raises as `input_type` does.
    """
    try:
        return PlainObject(members, optional)
    except NotPlain:
        from zypher.model.constrained import Constrained, closed_object

        return Constrained(closed_object(members, optional))


def output_schema(annotation: Any) -> dict[str, Any] | None:
    """The JSON Schema of results of type `annotation`; None when none can be made."""
    try:
        return _type(annotation, output=True).schema
    except (TypeError, NameError):
        return None


def _type(annotation: Any, *, output: bool = False) -> InputType:
    try:
        return Plain(annotation)
    except NotPlain:
        from zypher.model.constrained import Constrained

        return Constrained(annotation, output=output)
