"""`InvalidInput` in one form, whichever engine refused the input."""

import re
from typing import Any

import msgspec

from zypher.errors import InvalidInput

_PLACED = re.compile(r"(?P<msg>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>[^\]]*)\]")
_MEMBER = re.compile(r"Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`")
_TYPES = {"missing required": "missing", "contains unknown": "extra_forbidden"}


def invalid_input(errors: list[dict[str, Any]]) -> InvalidInput:
    """The refusal for these `{"loc", "msg", "type"}`; its sentence tells of the first."""
    first = errors[0]
    return InvalidInput(
        f"The input is wrong at {_path(first['loc'])}: {first['msg']}.", errors=errors
    )


def from_msgspec(error: Exception, *within: str) -> InvalidInput:
    """The refusal for an error of msgspec, whose text ends like "- at `$.scores[3]`".

    `within`: the members of the input that lead to what was decoded.
    """
    if not isinstance(error, msgspec.ValidationError):
        return invalid_input([{"loc": ["input"], "msg": str(error), "type": "json_invalid"}])
    placed = _PLACED.fullmatch(str(error))
    assert placed is not None  # every text matches
    loc, msg, kind = ["input", *within, *_steps(placed["path"] or "")], placed["msg"], "invalid"
    if member := _MEMBER.fullmatch(msg):
        loc, kind = [*loc, member["name"]], _TYPES[member["fault"]]
    return invalid_input([{"loc": loc, "msg": msg, "type": kind}])


def _steps(path: str) -> list[str | int]:
    """The members and indices in a path; `...` stands for any member of a dict."""
    return [
        step["name"] or (int(step["index"]) if step["index"].isdigit() else step["index"])
        for step in _STEP.finditer(path)
    ]


def _path(loc: list[str | int]) -> str:
    head, *steps = loc
    return f"{head}" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)
