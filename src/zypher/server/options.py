"""What a client may ask for beside an input, and how far the settings let it go."""

import hashlib
from math import inf
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from zypher.errors import InvalidInput
from zypher.prediction import NO_OPTIONS, Options, Priority
from zypher.server.validation import fault
from zypher.settings import Settings, option

_Positive = Annotated[float, msgspec.Meta(gt=0)]
_NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_Retries = Annotated[int, msgspec.Meta(ge=0, le=100)]

_LANES = {priority.name.lower(): priority for priority in Priority} | {None: Priority.NORMAL}


class Body(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The body of a prediction request. An unknown member is an error, never ignored.

    A member that is named as one in `Options` becomes that option; None is as if it were not there.
    """

    input: msgspec.Raw
    priority: Literal["high", "normal", "low"] | None = "normal"
    queue_timeout: _Positive | None = None
    run_timeout: _Positive | None = None
    deadline: _Positive | None = None
    ttl: _NotNegative | None = None
    retries: _Retries | None = None
    webhook: str | None = None

    @property
    def lane(self) -> Priority:
        """The priority that it asks for."""
        return _LANES[self.priority]

    @property
    def asked(self) -> dict[str, Any]:
        """The options that it asks for."""
        if _GIVEN(self) == _NONE:  # as most do
            return {}
        return {name: value for name in _OPTIONS if (value := getattr(self, name)) is not None}


_OPTIONS = [name for name in Options.__struct_fields__ if name in Body.__struct_fields__]
_GIVEN = attrgetter(*_OPTIONS)
_NONE = (None,) * len(_OPTIONS)

# Of these, a client may ask for less than the setting of the same name, and not for more.
_BOUNDED = ("queue_timeout", "run_timeout", "ttl")


class Allowance:
    """What the settings give to every prediction, and the most that one may ask for."""

    def __init__(self, settings: Settings) -> None:
        self._defaults = _shared(
            Options(
                queue_timeout=settings.queue_timeout,
                run_timeout=settings.run_timeout,
                retries=settings.retries,
            )
        )
        bounds = {name: getattr(settings, name) for name in _BOUNDED}
        self._bounds = {name: most for name, most in bounds.items() if most is not None}

    def options(self, body: Body, cancel_after: float | None) -> Options:
        """The options of a request; `cancel_after` is a deadline that its header asks for.

        Raises `InvalidInput` for what the settings do not allow.
        """
        asked = body.asked
        if cancel_after is not None:
            asked["deadline"] = min(cancel_after, asked.get("deadline", inf))
        if not asked:
            return self._defaults
        for name, most in self._bounds.items():
            if asked.get(name, 0) > most:
                raise _too_much(name, most)
        return _shared(replace(self._defaults, **asked))


def fingerprint(model: str, body: Body) -> bytes:
    """What two requests with one idempotency key must have in common: model, input and options.

    Of the input it is the value that counts, not how it was written.
    """
    value = msgspec.json.decode(body.input)
    input = msgspec.Raw(msgspec.json.encode(value, order="sorted"))
    body = replace(body, input=input, priority=body.priority or "normal")
    return hashlib.sha256(msgspec.json.encode([model, body])).digest()


def _shared(options: Options) -> Options:
    """The one object for no options at all, by which brokers know the common case."""
    return NO_OPTIONS if options == NO_OPTIONS else options


def _too_much(name: str, most: float) -> InvalidInput:
    sentence = f"{name} can be {most:g} s at most: the setting {option(name)} allows no more"
    return InvalidInput(f"{sentence}.", errors=[fault(["body", name], sentence, "bounds")])
