"""Every setting, declared once: its name, type, default and the sentence that explains it.

The same word is the flag (`--sync-timeout`), the variable (`ZYPHER_SYNC_TIMEOUT`) and the key
in `zypher.toml` (`sync-timeout`). Flags win over the environment, that over `.env`, that over
`zypher.toml`, that over the defaults. Times are seconds, sizes bytes. Two come from elsewhere as
well: the `port` from `PORT`, and if nothing else has a `broker`, it from `redis_variables`.
"""

import binascii
import difflib
import os
import re
import tomllib
from base64 import b64decode
from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from zypher import logs
from zypher.api_keys import ApiKey, Credential, KeySettings, credential, keyring
from zypher.errors import ConfigurationError
from zypher.redis_variables import broker_of_variables

CONFIG_FILE = "zypher.toml"
ENV_PREFIX = "ZYPHER_"

# What browsers send as Origin (RFC 6454 §6.2), of pages that came over a network.
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")

# No settings of a node: where those who talk to a server find it, and the key that they show it.
_OTHER_VARIABLES = ["ZYPHER_URL", "ZYPHER_API_KEY"]

# Settings of which a wrong value is not shown.
_SECRETS = {"api_keys", "broker", "keys", "webhook_secret"}


def _items(value: Any) -> Any:
    """`a, b` as a list of its items."""
    if not isinstance(value, str):
        return value
    return [item for part in value.split(",") if (item := part.strip())]


# One device, or several that a replica has together, as in 0+1.
_DEVICE = r"(\d+|(GPU|MIG)-[\w/-]+)"
_DEVICES = re.compile(rf"{_DEVICE}(\+{_DEVICE})*")


def _devices(value: Any) -> Any:
    """`0-2, GPU-ab12` as a list of its devices; TOML may have numbers in it."""
    items = _items(value)
    if not isinstance(items, list):
        return items
    return [device for item in items for device in _counted(str(item))]


def _counted(item: str) -> list[str]:
    """The devices of a range such as `0-3`; any other item is one."""
    if not re.fullmatch(r"\d{1,3}-\d{1,3}", item):
        return [item]
    first, last = map(int, item.split("-"))
    return [str(number) for number in range(first, last + 1)] or [item]


def _real_devices(value: list[str]) -> list[str]:
    for device in value:
        if not _DEVICES.fullmatch(device):
            raise ValueError(
                f"{device!r} is no device: write numbers as nvidia-smi shows them (0,1 or 0-3), "
                "GPU-... or MIG-..., or 0+1 for a replica that has two"
            )
        if value.count(device) > 1:
            raise ValueError(f"{device} is there twice: `replicas` says how many share a device")
    return value


def _keys(value: Any) -> Any:
    """The items of a text that has one: to let everybody in is said by no text at all."""
    items = _items(value)
    if value and not items:
        raise ValueError("there is no key in it; leave it away to let everybody in")
    return items


def _signing(value: SecretStr) -> SecretStr:
    prefix, _, key = value.get_secret_value().partition("_")
    try:
        size = len(b64decode(key, validate=True)) if prefix == "whsec" else 0
    except binascii.Error:
        size = 0
    if not 24 <= size <= 64:
        raise ValueError(
            "a secret is whsec_ and 24 to 64 random bytes in base64, "
            'as from: echo "whsec_$(openssl rand -base64 32)"'
        )
    return value


def _origins(value: list[str]) -> list[str]:
    for origin in value:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin!r} is no origin; write scheme and host, and the port if it has one, "
                "without a path, as in https://app.example"
            )
    return value


def _range(value: Any) -> Any:
    """`8-15` as its two ends; a single number as both."""
    if isinstance(value, int | float):
        return value, value
    if not isinstance(value, str):
        return value
    low, _, high = value.partition("-")
    return low, high or low


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first number must not be the larger one")
    return value


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Items = Annotated[list[str], NoDecode, BeforeValidator(_items)]
Devices = Annotated[list[str], NoDecode, BeforeValidator(_devices), AfterValidator(_real_devices)]
SigningSecrets = Annotated[
    list[Annotated[SecretStr, AfterValidator(_signing)]], NoDecode, BeforeValidator(_items)
]
ApiKeys = Annotated[
    list[Annotated[Credential, BeforeValidator(credential)]],
    NoDecode,
    BeforeValidator(_keys),
]
Range = Annotated[
    tuple[Seconds, Seconds], NoDecode, BeforeValidator(_range), AfterValidator(_rising)
]


Swap = Literal["overlap", "replace"]


class ModelSettings(BaseModel):
    """One model's table in `zypher.toml`, `[models.NAME]`. What it leaves out is as for all.

    `example` is an input, which each replica runs before it is ready.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    example: Any = None
    replicas: Count | None = None
    devices: Devices | None = None
    threads: Count | None = None
    concurrency: Count | None = None
    setup_timeout: PositiveSeconds | None = None
    swap: Swap | None = None
    healthcheck_interval: PositiveSeconds | None = None
    healthcheck_timeout: PositiveSeconds | None = None
    recycle_after: Count | None = None
    recycle_memory: Size | None = None
    max_failures: Count | None = None


class Settings(BaseSettings):
    """The settings of one node."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    broker: str = Field(
        "sqlite:///zypher.db",
        description="Where predictions wait and are recorded: sqlite:///FILE (four slashes: an "
        "absolute path); redis://HOST:6379/0, for many machines; or memory:, which forgets all at "
        "its end.",
    )
    on_corrupt: Literal["degrade", "salvage"] = Field(
        "degrade",
        description="What to do at the start if the queue's file is damaged: touch nothing and "
        "serve synchronously only, or set it aside and go on with what can be read.",
    )
    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on.")
    port: Port = Field(8080, description="The port to listen on; 0 takes any.")
    metrics_port: Port | None = Field(
        None,
        description="The port at which a worker answers /metrics, /livez and /readyz; 0 takes any. "
        "Default: none. A server answers them at its own port.",
    )
    allowed_hosts: Items = Field(
        [],
        description="Names that the Host header may have, separated by commas. "
        "Default: the loopback names while listening on loopback, else any.",
    )
    cors_origins: Annotated[Items, AfterValidator(_origins)] = Field(
        [],
        description="Sites whose pages may call this server from a browser, as in "
        "https://app.example, separated by commas; * is any site. Default: none.",
    )
    api_keys: ApiKeys = Field(
        [],
        description="Who may call, as NAME=KEY or NAME=sha256:HEX, separated by commas; "
        "`zypher key NAME` makes one. Without any, everybody may.",
    )
    root_path: str = Field(
        "", pattern=r"^(/[!-~]*[^/])?$", description="The path prefix that a proxy strips."
    )
    replicas: Annotated[int, Field(ge=0)] = Field(
        1,
        description="Processes per model, or per device of a model that has `devices`; "
        "0, with Redis: all models run in workers elsewhere.",
    )
    devices: Devices = Field(
        [],
        description="GPUs, as in 0,1 or 0-3 or GPU-...: each gets replicas of its own, which see "
        "no other. 0+1 is two for one replica.",
    )
    threads: Count | None = Field(
        None,
        description="Threads of numeric libraries in each replica. Default: the cores that may be "
        "used, shared evenly by all replicas; unless OMP_NUM_THREADS or its like is set.",
    )
    concurrency: Count | None = Field(
        None,
        description="Runs that one replica has in flight at once. "
        "Default: 1 for blocking models, 1000 for async ones, 10000 for the mock.",
    )
    mock_delay: Range = Field((8.0, 15.0), description="How long the mock waits, as in 8-15.")
    compat: Literal["streams", "background"] | None = Field(
        None, description="Answer GET /predict/{id} as older clients expect it."
    )
    sync_timeout: Seconds = Field(
        50.0, description="A synchronous call that takes longer becomes a 202, and the run goes on."
    )
    queue_timeout: PositiveSeconds | None = Field(
        None, description="A prediction that has waited so long for its first run fails."
    )
    run_timeout: PositiveSeconds | None = Field(
        None, description="A run that takes longer is stopped, and its prediction fails."
    )
    cancel_grace: Seconds = Field(
        5.0, description="A run that is to stop and does not is killed after so long."
    )
    retries: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="How often a prediction runs again because the model raised."
    )
    setup_timeout: PositiveSeconds = Field(
        300.0, description="How long a replica may take to load its model."
    )
    reload: bool = Field(
        False, description="Whether models are loaded again when their files are saved."
    )
    swap: Swap | None = Field(
        None,
        description="How a replica makes room for the next: with overlap it ends once that is "
        "ready; with replace before that runs setup(), where there is memory for one only. "
        "Default: overlap, with `devices` replace.",
    )
    healthcheck_interval: PositiveSeconds = Field(
        30.0, description="How often an idle replica is asked whether it is well."
    )
    healthcheck_timeout: PositiveSeconds = Field(
        10.0, description="A replica that has not answered that for so long is replaced."
    )
    recycle_after: Count | None = Field(
        None,
        description="A replica that has finished so many predictions, or up to a tenth fewer, "
        "is replaced.",
    )
    recycle_memory: Size | None = Field(
        None, description="A replica whose process holds more bytes of memory is replaced. (Linux)"
    )
    max_failures: Count | None = Field(
        None,
        description="A model that raised or crashed in so many predictions in a row is taken out "
        "of service for a while. Default: never.",
    )
    max_queued: Count = Field(
        10_000, description="Waiting predictions per model; a tenth is for callers who wait."
    )
    max_queued_bytes: Size | None = Field(
        None,
        description="Bytes of waiting input, all models together. "
        "Default: 1000000000, with Redis 256000000.",
    )
    max_connections: Count = Field(
        10_000,
        description="Connections that are served at once; fewer where the process may not open as "
        "many files. Of more, those that ask nothing are closed, and the others get a 503.",
    )
    max_streams: Count = Field(
        1000,
        description="Event streams that are sent at once; more get a 503. One API key may have "
        "half of them.",
    )
    client_timeout: PositiveSeconds = Field(
        60.0,
        description="How long a client may ask nothing; sending a request or reading an answer, "
        "it has to come on by 500 bytes a second in any such time. Then it is disconnected.",
    )
    max_body_size: Size = Field(16_000_000, description="The largest request body, in bytes.")
    max_result_size: Size = Field(64_000_000, description="The largest result, in bytes.")
    max_crashes: Count = Field(
        3, description="A prediction that kills its process this often by itself fails."
    )
    lease: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        30.0, description="How long a claim holds without being renewed."
    )
    ttl: Seconds = Field(3600.0, description="How long a finished prediction is kept.")
    log_format: logs.Format = Field(
        "console",
        description="The log on standard error: lines for people, or a JSON object in each.",
    )
    log_level: logs.Level = Field(
        "info",
        description="What is logged: this and what is worse; debug has a line for each step of "
        "each prediction.",
    )
    drain_delay: Seconds = Field(
        0.0, description="On SIGTERM: keep serving so long while /readyz already says 503."
    )
    grace: Seconds = Field(30.0, description="On SIGTERM: how long running work may take.")
    webhook_secret: SigningSecrets = Field(
        [],
        description="What webhooks are signed with, as in whsec_...; without it none are sent. "
        "Several, separated by commas, all sign: to change from one to the next.",
    )
    webhook_allow_private: bool = Field(
        False,
        description="Whether webhooks may go to private addresses, and over http://.",
    )
    keys: dict[str, KeySettings] = Field(
        {}, description="Tables [keys.NAME] in zypher.toml: what may be done with an API key."
    )
    models: dict[str, ModelSettings] = Field(
        {}, description="Tables [models.NAME] in zypher.toml: which models to serve, and how."
    )

    def callers(self) -> list[ApiKey]:
        """Who may call; nobody in particular if there are none. Raises `ConfigurationError`."""
        return keyring(self.api_keys, self.keys)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The precedence: flags, environment, `.env`, `PORT`, `zypher.toml`, and `REDIS_HOST`.

        `PORT` is where a platform sends the requests of what it runs, which a file that came along
        from elsewhere cannot know. `REDIS_HOST` is where Redis is for any program, and not what
        somebody chose for this one.
        """
        broker = broker_of_variables()
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        _require_known_variables(name.upper() for name in dotenv_settings.env_vars)
        return (
            init_settings,
            _Environment(settings_cls),
            dotenv_settings,
            InitSettingsSource(settings_cls, _port_of_platform()),
            _ConfigFile(settings_cls),
            InitSettingsSource(settings_cls, {"broker": broker} if broker else {}),
        )


class _Environment(EnvSettingsSource):
    """The environment, without what Kubernetes puts there by itself.

    For a service named `zypher` every container gets `ZYPHER_PORT=tcp://10.0.0.1:80`.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        variables = super()._load_env_vars()
        return {k: v for k, v in variables.items() if not _is_link(v or "")}


def _port_of_platform() -> dict[str, str]:
    """`PORT`, by which Heroku, Cloud Run and their like say where they send requests."""
    port = os.environ.get("PORT", "")
    return {"port": port} if port and not _is_link(port) else {}


def _is_link(value: str) -> bool:
    return value.startswith("tcp://")


class _ConfigFile(TomlConfigSettingsSource):
    """`zypher.toml`, in whose keys words are joined by hyphens. An unknown key is an error."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, Path(CONFIG_FILE))

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        try:
            values = _with_underscores(super()._read_file(file_path))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{CONFIG_FILE} is not valid TOML: {error}.") from None
        _require_known(values, Settings.model_fields, CONFIG_FILE)
        values["models"] = _tables(values, "models", ModelSettings)
        values["keys"] = _tables(values, "keys", KeySettings)
        for name, table in values["models"].items():
            if "target" not in table:
                raise ConfigurationError(
                    f"[models.{name}] in {CONFIG_FILE} names no target. "
                    'Add target = "file.py:Name".'
                )
        return values


def _tables(values: dict[str, Any], section: str, kind: type[BaseModel]) -> dict[str, Any]:
    """The tables of a section by name, in whose keys words are joined by hyphens as well."""
    tables = values.get(section, {})
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise ConfigurationError(
            f"{CONFIG_FILE} has a value {section!r}; write tables [{section}.NAME]."
        )
    tables = {name: _with_underscores(table) for name, table in tables.items()}
    for name, table in tables.items():
        _require_known(table, kind.model_fields, f"[{section}.{name}] in {CONFIG_FILE}")
    return tables


def _require_known(names: Iterable[str], known: Iterable[str], place: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"{place} has {option(name)!r}, which is not a setting there. "
                f"{suggestion(option(name), map(option, known))}"
            )


def suggestion(word: str, known: Iterable[str]) -> str:
    """A sentence that names the known word which is most like this one, or all."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."


def option(name: str) -> str:
    """The word that a person writes for a setting: `sync_timeout` is `sync-timeout`."""
    return name.replace("_", "-")


def load_settings(**flags: Any) -> Settings:
    """The settings, from all their sources; `flags` win.

    Raises `ConfigurationError`, one sentence, for the first value that is wrong.
    """
    _require_known_variables(os.environ)
    try:
        settings = Settings(**flags)
    except (SettingsError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(
            f"The settings cannot be read from the environment, .env and {CONFIG_FILE}: {error}."
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(option(part) for part in first["loc"] if isinstance(part, str))
        problem = first["msg"].removeprefix("Value error, ")
        got = "" if _SECRETS & set(first["loc"]) else f"; got {first['input']!r}"
        raise ConfigurationError(
            f"The setting {where} is wrong: {problem[:1].lower()}{problem[1:]}{got}."
        ) from None
    settings.callers()
    return settings


def _require_known_variables(variables: Iterable[str]) -> None:
    """A typo in a variable must not pass silently; what Kubernetes sets by itself may."""
    known = [f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields] + _OTHER_VARIABLES
    for variable in variables:
        if not variable.startswith(ENV_PREFIX) or variable in known:
            continue
        if not variable.startswith((f"{ENV_PREFIX}SERVICE_", f"{ENV_PREFIX}PORT_")):
            raise ConfigurationError(f"{variable} is not a setting. {suggestion(variable, known)}")


def _with_underscores(table: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}
