"""How deep a value is nested, which is bounded, told at little cost for a large one."""

from collections.abc import Collection
from typing import Any

_NESTED = frozenset({list, dict})


def opens_more(text: bytes, most: int) -> bool:
    """True if more than `most` lists and objects begin in JSON text, or seem to, inside of text."""
    for bracket in (b"[", b"{"):
        place = text.find(bracket)
        while place >= 0:
            if most == 0:
                return True
            most -= 1
            place = text.find(bracket, place + 1)
    return False


def is_deeper(value: Any, depth: int) -> bool:
    """True if lists and objects are nested in `value`, from JSON text, more than `depth` deep."""
    level = [value] if type(value) in _NESTED else []
    for _ in range(depth):
        level = [child for parent in level for child in _nested(_members(parent))]
    return bool(level)


def _members(parent: Any) -> Collection[Any]:
    return parent.values() if type(parent) is dict else parent


def _nested(members: Collection[Any]) -> list[Any]:
    """The lists and objects among these."""
    if _NESTED.isdisjoint(map(type, members)):  # as in long rows of numbers
        return []
    return [member for member in members if type(member) in _NESTED]
