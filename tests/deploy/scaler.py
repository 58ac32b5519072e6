"""What KEDA 2.21 makes of a ScaledObject's triggers and a Redis."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import redis
import yaml  # type: ignore[import-untyped]

KEDA = Path(__file__).parents[2] / "deploy" / "kubernetes" / "keda"


def documents(file: Path) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all(file.read_text()))


def triggers(file: Path) -> list[dict[str, Any]]:
    """The triggers of the one ScaledObject in a file."""
    (scaled,) = (one for one in documents(file) if one["kind"] == "ScaledObject")
    found: list[dict[str, Any]] = scaled["spec"]["triggers"]
    return found


def values(file: Path, client: redis.Redis) -> list[int]:
    """The number that each trigger has now. It keeps a replica if it is above 0.

    Raises `redis.ResponseError` where KEDA's scaler has an error: then nothing is scaled to zero.
    """
    return [_value(one["type"], one["metadata"], client) for one in triggers(file)]


def _value(kind: str, metadata: Mapping[str, str], client: redis.Redis) -> int:
    command, *keys = _commands(kind, metadata)
    answer: Any = client.execute_command(command, *keys)  # type: ignore[no-untyped-call]
    if command == "XPENDING":
        return int(answer["pending"])
    if command == "XINFO GROUPS":
        (lag,) = (g["lag"] for g in answer if g["name"] == metadata["consumerGroup"].encode())
        assert lag is not None, "lag is not known"
        return int(lag)
    return int(answer)


def _commands(kind: str, metadata: Mapping[str, str]) -> Iterator[str]:
    """What it asks: a list's length is also that of a sorted set, and 0 of what is not there."""
    if kind == "redis":
        assert metadata["activationListLength"] == "0"
        return iter(("ZCARD", metadata["listName"]))
    assert kind == "redis-streams"
    if "lagCount" in metadata:
        assert metadata["activationLagCount"] == "0"
        return iter(("XINFO GROUPS", metadata["stream"]))
    assert "pendingEntriesCount" in metadata
    return iter(("XPENDING", metadata["stream"], metadata["consumerGroup"]))
