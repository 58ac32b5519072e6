"""Checking inputs by JSON Schema, at a cost that a hostile input cannot choose."""

import json
from itertools import islice
from typing import Any

import jsonschema_rs

from zypher.brokers.base import ModelInfo
from zypher.errors import ModelLoadError

_MAX_ERRORS = 20

# To list all that is wrong costs as much again for each wrong item, so it is done for inputs of
# everyday size; of a larger one the first place is told, and where even that needs all to be
# looked at (alternatives), none.
_EVERYDAY = 16_384
_ALTERNATIVES = ("anyOf", "oneOf")

# What these do not take is not understood by the keyword alone: what the author says helps.
_CRYPTIC = (*_ALTERNATIVES, "pattern")


class Validator:
    """The compiled schema of one model's input. What it says never repeats the input."""

    def __init__(self, model: ModelInfo) -> None:
        self.model = model
        try:
            self._schema = jsonschema_rs.validator_for(
                model.input_schema, mask="the value", offline=True
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelLoadError(
                f"The input of {model.name!r} cannot be checked by its JSON Schema: {reason}."
            ) from None
        text = json.dumps(model.input_schema)
        self._has_alternatives = any(f'"{word}"' in text for word in _ALTERNATIVES)
        self.takes = self._schema.is_valid

    def errors(self, value: Any, size: int) -> list[dict[str, Any]]:
        """What is wrong with a value, of `size` bytes, that the schema does not take."""
        if size <= _EVERYDAY:
            found = list(islice(self._schema.iter_errors(value), _MAX_ERRORS))
        elif self._has_alternatives:
            return [fault(["input"], "it does not fit the schema", "schema")]
        else:
            found = [self._first(value)]
        return [self._fault(error) for error in found]

    def _fault(self, error: jsonschema_rs.ValidationError) -> dict[str, Any]:
        *place, keyword = error.schema_path or ["schema"]
        message = error.message
        if keyword in _CRYPTIC and (description := self._description(place)):
            message += f"; it is described as {description!r}"
        return fault(["input", *error.instance_path], message, str(keyword))

    def _description(self, place: list[str | int]) -> str | None:
        """What the schema says in words at a place; nothing behind a reference."""
        schema: Any = self.model.input_schema
        for step in place:
            known = step in schema if isinstance(schema, dict) else isinstance(schema, list)
            if not known:
                return None
            schema = schema[step]
        return schema.get("description") if isinstance(schema, dict) else None

    def _first(self, value: Any) -> jsonschema_rs.ValidationError:
        try:
            self._schema.validate(value)
        except jsonschema_rs.ValidationError as error:
            return error
        raise AssertionError("the value is valid")


def fault(loc: list[str | int], message: object, kind: str) -> dict[str, Any]:
    """One entry of `errors` in a problem."""
    return {"loc": loc, "msg": str(message), "type": kind}
