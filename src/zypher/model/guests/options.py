"""What a guest does otherwise than a model that was written for Zypher."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MARK = "__zypher_guest__"


@dataclass(frozen=True, slots=True)
class GuestOptions:
    """`concurrency`: how many runs go on at once unless a setting says so.

    The input of a guest is an object of its parameters in any case, also of a single one.
    """

    concurrency: int


def mark_guest(predict: Callable[..., Any], options: GuestOptions) -> None:
    """Note on `predict` that it is a guest's."""
    setattr(predict, _MARK, options)


def guest_options(predict: Callable[..., Any]) -> GuestOptions | None:
    """What `mark_guest` noted on `predict`; None for any other."""
    return getattr(predict, _MARK, None)
