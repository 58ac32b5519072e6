"""API keys: how they are written in settings, what is kept of them, and how one is made.

Only the SHA-256 of a key is kept. That is enough, and a slow hash (bcrypt, argon2) would add
nothing: those protect words that people choose, which can be guessed one after the other. A key is
made at random, with 256 bits from `new_key`, and nobody finds one again by trying, however fast.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from zypher.errors import ConfigurationError

_PREFIX = "zy_"
_HASHED = "sha256:"
_SHORTEST = 16

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VISIBLE = re.compile(r"[!-~]+")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Credential:
    """A key as it is kept: whose it is, and its SHA-256."""

    name: str
    digest: bytes = field(repr=False)


class KeySettings(BaseModel):
    """One key's table in `zypher.toml`, `[keys.NAME]`. The key itself may be in `api-keys`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[list[bytes], BeforeValidator(lambda given: _digests(given))] = Field(
        [], repr=False
    )
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    burst: Annotated[int, Field(ge=1)] | None = None
    max_queued: Annotated[int, Field(ge=1)] | None = None
    sees: Literal["own", "all"] = "own"

    @model_validator(mode="after")
    def _has_a_rate_to_burst(self) -> Self:
        if self.burst is not None and self.rate is None:
            raise ValueError("burst is how much of a rate may come at once: give it a rate, too")
        return self


@dataclass(frozen=True)
class ApiKey:
    """What a server knows of a name: its keys, and what may be done with them.

    `rate` is in requests per second, of which `burst` may come at once. `sees_all`: also what
    came with other keys.
    """

    name: str
    digests: frozenset[bytes] = field(repr=False)
    rate: float | None = None
    burst: int = 1
    max_queued: int | None = None
    sees_all: bool = False


def new_key() -> str:
    """A key that nobody has."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest_of(key: bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key).digest()


def hashed(name: str, key: str) -> str:
    """What stands in settings for a key. Raises `ValueError` if the name can be none."""
    _require_name(name)
    return f"{name}={_HASHED}{digest_of(key.encode()).hex()}"


def credential(item: Any) -> Any:
    """`NAME=KEY` or `NAME=sha256:HEX`, as it is kept. Raises `ValueError`, without the key."""
    if isinstance(item, Credential):
        return item
    name, is_there, key = item.partition("=") if isinstance(item, str) else ("", "", "")
    if not is_there:
        raise ValueError("each API key is NAME=KEY or NAME=sha256:HEX; `zypher key NAME` makes one")
    _require_name(name)
    return Credential(name, _digest(key, f"the key of {name!r}"))


def keyring(credentials: Iterable[Credential], tables: Mapping[str, KeySettings]) -> list[ApiKey]:
    """All keys by their names. Several of one name are all right: one takes over from the other.

    Raises `ConfigurationError` for a table without a key, and for a key of two names.
    """
    owners: dict[bytes, str] = {}
    digests: dict[str, set[bytes]] = {}
    given = [Credential(name, one) for name, table in tables.items() for one in table.key]
    for one in (*credentials, *given):
        if owners.setdefault(one.digest, one.name) != one.name:
            raise ConfigurationError(
                f"{owners[one.digest]!r} and {one.name!r} have the same API key. "
                "Give each a key of its own."
            )
        digests.setdefault(one.name, set()).add(one.digest)
    for name in tables:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"[keys.{name}] in zypher.toml: {_NAME_RULE}.")
        if name not in digests:
            raise ConfigurationError(
                f"[keys.{name}] in zypher.toml has no key. `zypher key {name}` makes one, "
                f"for key = there or for api-keys."
            )
    return [_api_key(name, found, tables.get(name)) for name, found in digests.items()]


def _api_key(name: str, digests: set[bytes], table: KeySettings | None) -> ApiKey:
    if table is None:
        return ApiKey(name, frozenset(digests))
    return ApiKey(
        name,
        frozenset(digests),
        rate=table.rate,
        burst=table.burst or max(1, round(table.rate or 1)),
        max_queued=table.max_queued,
        sees_all=table.sees == "all",
    )


_NAME_RULE = "the name of a key has letters, digits, dots, hyphens and underscores, 64 at most"


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(_NAME_RULE)
    if name.startswith(_PREFIX):  # which would be shown
        raise ValueError("the name of a key comes before the key, as in NAME=KEY")


def _digests(given: Any) -> list[bytes]:
    """One key or several, as they are kept."""
    keys = [given] if isinstance(given, str) else given
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("a key is a text, or a list of texts")
    return [_digest(key, "the key") for key in keys]


def _digest(key: str, what: str) -> bytes:
    """What is kept of a key that is written as it is, or as its hash."""
    if key.startswith(_HASHED):
        hex = key.removeprefix(_HASHED)
        if not _DIGEST.fullmatch(hex):
            raise ValueError(f"{what} is no hash: after {_HASHED} come 64 hexadecimal digits")
        return bytes.fromhex(hex)
    if not _VISIBLE.fullmatch(key):
        raise ValueError(f"{what} must be visible ASCII characters: it goes into a header")
    if len(key) < _SHORTEST:
        raise ValueError(
            f"{what} has {len(key)} characters, so that it could be guessed; "
            f"it needs {_SHORTEST}, at random, as those that `zypher key NAME` makes"
        )
    return digest_of(key.encode())
