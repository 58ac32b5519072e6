"""What a compose file says of its services, read as Docker Compose reads it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

# `$$` is a dollar; `${NAME:-default}` and `${NAME}` are variables.
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-([^}]*))?\})")


@dataclass(frozen=True)
class Service:
    """One service: what it runs, and how far it is let. Times are seconds."""

    name: str
    command: list[str]
    environment: dict[str, str]
    volumes: dict[str, str]  # the path in the container of each named volume
    tmpfs: list[str]
    ports: list[str]
    read_only: bool
    drops_capabilities: bool
    gains_no_privileges: bool
    health: list[str]
    grace: float
    replicas: int
    after: list[str]  # the services that have to be healthy first


def services(file: Path, **variables: str) -> dict[str, Service]:
    """The services of a compose file, with these variables in its environment."""
    content = yaml.safe_load(_interpolated(file.read_text(), variables))
    return {name: _service(name, one) for name, one in content["services"].items()}


def variables(file: Path) -> set[str]:
    """The names of the variables that a compose file asks for."""
    return {match[2] for match in _VARIABLE.finditer(file.read_text()) if match[2]}


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Before it is parsed, and not after as Compose does it: no value here is of several lines."""
    return _VARIABLE.sub(lambda m: m[1] or variables.get(m[2]) or m[3] or "", text)


def _service(name: str, one: dict[str, Any]) -> Service:
    environment = {key: "" if value is None else str(value) for key, value in _pairs(one)}
    test = one["healthcheck"]["test"]
    assert test[0] == "CMD"
    return Service(
        name=name,
        command=["" if word is None else str(word) for word in one.get("command", [])],
        environment=environment,
        volumes={place: volume for volume, place in (v.split(":") for v in one.get("volumes", []))},
        tmpfs=one.get("tmpfs", []),
        ports=one.get("ports", []),
        read_only=one.get("read_only", False),
        drops_capabilities=one.get("cap_drop") == ["ALL"],
        gains_no_privileges="no-new-privileges:true" in one.get("security_opt", []),
        health=test[1:],
        grace=float(one["stop_grace_period"].removesuffix("s")),
        replicas=int(one.get("deploy", {}).get("replicas", 1)),
        after=[
            other
            for other, how in one.get("depends_on", {}).items()
            if how["condition"] == "service_healthy"
        ],
    )


def _pairs(one: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(one.get("environment", {}).items())
