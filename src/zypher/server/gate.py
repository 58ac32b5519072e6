"""The gate: who may call, how often, and whose predictions they see.

It stands in front of the endpoints and not of the application, so that they are behind it in the
router of a host as well, by whatever path a request has come to them.
"""

import math
from collections.abc import Awaitable, Callable, Sequence

from fastapi import Request, Response
from starlette.datastructures import Headers

from zypher.api_keys import ApiKey, digest_of
from zypher.brokers.base import Broker
from zypher.clock import Clock
from zypher.errors import NotFound, PredictionError, RateLimited, Unauthorized
from zypher.prediction import Prediction
from zypher.server.rendering import UNKNOWN

Handler = Callable[[Request], Awaitable[Response]]

# What needs no key: the probes; and files that are the same wherever Zypher is installed, because a
# browser has to have them before anybody can give it a key. The root asks for one by itself, unless
# it answers with such a file. All else needs one.
OPEN = frozenset({"/livez", "/readyz", "/favicon.ico", "/", "/ui", "/ui/", "/ui/{name}", "/docs"})

CALLER = "zypher.caller"  # in the scope of a request that was let in


class Caller:
    """Who makes a request, by the name of their API key; nobody in particular without keys."""

    def __init__(self, name: str | None, *, sees_all: bool, bucket: "Bucket | None" = None) -> None:
        self.name = name
        self.only = None if sees_all else name  # whose predictions alone they see
        self._bucket = bucket

    def sees(self, record: Prediction) -> bool:
        """True if what is known of this prediction may be told to them."""
        return self.only is None or self.only == record.owner

    def count(self) -> None:
        """They make one more request. Raises `RateLimited` if that is too many."""
        wait = 0.0 if self._bucket is None else self._bucket.take()
        if wait:
            assert self._bucket is not None
            raise RateLimited(
                f"The API key {self.name!r} may make {self._bucket.rate:g} requests a second, and "
                "makes more. Try again later.",
                retry_after=max(1, math.ceil(wait)),
            )


_ANYBODY = Caller(None, sees_all=True)


def caller_of(request: Request) -> Caller:
    """Who makes this request."""
    caller: Caller = request.scope.get(CALLER, _ANYBODY)
    return caller


async def require_visible(broker: Broker, request: Request, id: str) -> None:
    """Raise `NotFound` unless the caller sees this prediction: ids are not to be probed."""
    caller = caller_of(request)
    if caller.only is not None:
        record = await broker.get(id)
        if record is None or not caller.sees(record):
            raise NotFound(UNKNOWN)


class Gate:
    """Lets requests in that have one of these keys; `note_refusal` hears why one is not."""

    def __init__(
        self, keys: Sequence[ApiKey], clock: Clock, note_refusal: Callable[[str], None]
    ) -> None:
        self._note_refusal = note_refusal
        # By digest, so that a look-up compares digests and not keys. How long that takes may tell a
        # caller how much of a digest is right, but not how to find a key with such a digest.
        self._callers: dict[bytes, Caller] = {}
        for key in keys:
            bucket = None if key.rate is None else Bucket(key.rate, key.burst, clock)
            caller = Caller(key.name, sees_all=key.sees_all, bucket=bucket)
            self._callers |= dict.fromkeys(key.digests, caller)

    async def let_in(self, handle: Handler, request: Request) -> Response:
        """What a handler answers to a request that may be made. Nothing of its body is read yet."""
        self.admit(request)
        return await handle(request)

    def admit(self, request: Request) -> None:
        """Find out who makes a request. Raises `Unauthorized` or `RateLimited`."""
        if CALLER in request.scope:
            return  # on the direct way, which it could not go to its end
        try:
            caller = self.caller(request.headers)
            caller.count()
        except PredictionError as error:
            self._note_refusal(error.code)
            raise
        request.scope[CALLER] = caller

    def knows(self, headers: Headers) -> bool:
        """True if these have a key, where none is needed."""
        try:
            self.caller(headers)
        except Unauthorized:
            return False
        return True

    def caller(self, headers: Headers) -> Caller:
        """Who has the key in these. Raises `Unauthorized`."""
        caller = self._callers.get(digest_of(_key_in(headers)))
        if caller is None:
            raise Unauthorized("The API key is none that this server knows.")
        return caller


class Bucket:
    """Lets `rate` through per second, and up to `burst` at once after a pause (a token bucket)."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self.rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._counted = clock.steady()

    def take(self) -> float:
        """Take a token; if there is none, how many seconds it is until there is."""
        now = self._clock.steady()
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self.rate)
        self._counted = now
        if self._tokens < 1:
            return (1 - self._tokens) / self.rate
        self._tokens -= 1
        return 0.0


def _key_in(headers: Headers) -> bytes:
    """The one key that a request has. Raises `Unauthorized` for none, and for several.

    An `Authorization` of another scheme may be for a proxy on the way, where `X-API-Key` is given.
    """
    schemes = [value.partition(" ") for value in headers.getlist("authorization")]
    bearers = [key.strip() for scheme, _, key in schemes if scheme.lower() == "bearer"]
    keys = [*bearers, *headers.getlist("x-api-key")]
    if len(keys) > 1 or len(schemes) > 1:
        raise Unauthorized("The request has more than one API key, or Authorization: send one.")
    if not keys or not keys[0]:
        raise Unauthorized(
            "An API key is needed here: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
        )
    return keys[0].encode("latin-1")
