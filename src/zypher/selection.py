"""Which models a node serves: what the command line and `zypher.toml` name."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from zypher.brokers import is_shared, without_password
from zypher.errors import ConfigurationError
from zypher.model.loading import MOCK, default_name
from zypher.replicas.hardware import fair_threads
from zypher.replicas.spec import ReplicaSpec
from zypher.settings import CONFIG_FILE, ModelSettings, Settings, suggestion

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def with_models(settings: Settings, arguments: Sequence[str]) -> Settings:
    """The settings with the models that the command line names; without any, the mock.

    An argument is `TARGET`, `NAME=TARGET`, or the NAME of a table in `zypher.toml`; what such
    a table says beside its target holds for a model of that name in any case.
    Raises `ConfigurationError`.
    """
    if not settings.replicas:
        return _without_models(settings)
    if not arguments and not settings.models:
        arguments = ["mock"]
    models: dict[str, ModelSettings] = {}
    for argument in arguments or settings.models:
        name, table = _named(argument, settings)
        if name in models:
            raise ConfigurationError(
                f"Two models have the name {name!r}. Give one another: OTHER={table.target}"
            )
        models[name] = table
    return settings.model_copy(update={"models": models})


def _without_models(settings: Settings) -> Settings:
    """The settings of a server that runs nothing itself: it serves what workers have registered."""
    if not is_shared(settings.broker):
        raise ConfigurationError(
            "With replicas 0 nobody would run a model: that needs workers elsewhere and a broker "
            "which they share, as in --broker redis://HOST."
        )
    return settings.model_copy(update={"models": {}})


def require_for_worker(settings: Settings) -> None:
    """Raise `ConfigurationError` if a worker by itself would have nothing to do."""
    if not is_shared(settings.broker):
        raise ConfigurationError(
            f"A worker needs a broker that it shares with servers, as in --broker redis://HOST; "
            f"{without_password(settings.broker)} belongs to one server, which runs its models "
            "itself."
        )
    if not settings.replicas:
        raise ConfigurationError("A worker with replicas 0 runs nothing: give it --replicas 1.")


def _named(argument: str, settings: Settings) -> tuple[str, ModelSettings]:
    """The name and the table of one model argument."""
    if argument in settings.models:
        name, target = argument, settings.models[argument].target
    else:
        name, separator, target = argument.partition("=")
        if not separator:
            _require_target(argument, settings)
            name, target = default_name(argument), argument
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"A model cannot have the name {name!r}: "
            "use letters, digits, dots, hyphens and underscores."
        )
    table = settings.models.get(name)
    if table is None:
        return name, ModelSettings(target=target)
    return name, table.model_copy(update={"target": target})


def _require_target(argument: str, settings: Settings) -> None:
    """Raise `ConfigurationError` for what was meant as the name of a table, and is none."""
    if settings.models and ":" not in argument and argument != MOCK:
        raise ConfigurationError(
            f"{CONFIG_FILE} has no model {argument!r}. {suggestion(argument, settings.models)}"
        )


# What both all models and one of them may have set, and what a replica has to know of it.
_SHARED = ModelSettings.model_fields.keys() & Settings.model_fields.keys()
_OF_REPLICAS = _SHARED & set(ReplicaSpec.__struct_fields__)


def replicas_of(settings: Settings) -> list[tuple[ReplicaSpec, int]]:
    """What a worker needs to know of each model: how to start a replica, and how many."""
    sizes = {name: _size(name, settings) for name in settings.models}
    threads = fair_threads(sum(sizes.values()))
    return [(_spec(name, settings, threads), size) for name, size in sizes.items()]


def _spec(name: str, settings: Settings, threads: int | None) -> ReplicaSpec:
    table = settings.models[name]
    given = {field: _setting(field, name, settings) for field in _OF_REPLICAS}
    return ReplicaSpec(
        **given
        | {
            "threads": given["threads"] or threads,
            "swap": given["swap"] or ("replace" if given["devices"] else "overlap"),
        },
        name=name,
        target=table.target,
        example=None if table.example is None else msgspec.json.encode(table.example),
        mock_delay=settings.mock_delay,
        max_result_size=settings.max_result_size,
    )


def _size(name: str, settings: Settings) -> int:
    replicas: int = _setting("replicas", name, settings)
    return replicas * max(1, len(_setting("devices", name, settings)))


def _setting(field: str, name: str, settings: Settings) -> Any:
    """What holds for one model: what its table says, else what is set for all."""
    own = getattr(settings.models[name], field)
    return getattr(settings, field) if own is None else own
