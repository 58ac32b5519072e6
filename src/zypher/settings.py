"""Every setting, declared once: its name, type, default and the sentence that explains it.

The same word is the flag (`--sync-timeout`), the variable (`ZYPHER_SYNC_TIMEOUT`) and the key
in `zypher.toml` (`sync-timeout`). Flags win over the environment, that over `.env`, that over
`zypher.toml`, that over the defaults. Times are seconds, sizes bytes. If none of them has a
`broker`, the variables of `redis_variables` may.
"""

import binascii
import difflib
import os
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

from zypher.api_keys import ApiKey, Credential, KeySettings, credential, keyring
from zypher.errors import ConfigurationError
from zypher.redis_variables import broker_of_variables

CONFIG_FILE = "zypher.toml"
ENV_PREFIX = "ZYPHER_"

# No settings of a node: where those who talk to a server find it, and the key that they show it.
_OTHER_VARIABLES = ["ZYPHER_URL", "ZYPHER_API_KEY"]

# Settings of which a wrong value is not shown.
_SECRETS = {"api_keys", "broker", "keys", "webhook_secret"}


def _items(value: Any) -> Any:
    """`a, b` as a list of its items."""
    if not isinstance(value, str):
        return value
    return [item for part in value.split(",") if (item := part.strip())]


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
Items = Annotated[list[str], NoDecode, BeforeValidator(_items)]
SigningSecrets = Annotated[
    list[Annotated[SecretStr, AfterValidator(_signing)]], NoDecode, BeforeValidator(_items)
]
ApiKeys = Annotated[
    list[Annotated[Credential, BeforeValidator(credential)]], NoDecode, BeforeValidator(_items)
]
Range = Annotated[
    tuple[Seconds, Seconds], NoDecode, BeforeValidator(_range), AfterValidator(_rising)
]


Swap = Literal["overlap", "replace"]


class ModelSettings(BaseModel):
    """One model's table in `zypher.toml`, `[models.NAME]`. What it leaves out is as for all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    replicas: Count | None = None
    concurrency: Count | None = None
    setup_timeout: PositiveSeconds | None = None
    swap: Swap | None = None


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
    port: int = Field(8080, ge=0, le=65535, description="The port to listen on; 0 takes any.")
    allowed_hosts: Items = Field(
        [],
        description="Names that the Host header may have, separated by commas. "
        "Default: the loopback names while listening on loopback, else any.",
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
        1, description="Processes per model; 0, with Redis: all models run in workers elsewhere."
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
    swap: Swap = Field(
        "overlap",
        description="How a replica makes room for one with new code: it ends once that is ready, "
        "or, with replace, before that runs setup(), where there is memory for one only.",
    )
    max_queued: Count = Field(
        10_000, description="Waiting predictions per model; a tenth is for callers who wait."
    )
    max_queued_bytes: Size | None = Field(
        None,
        description="Bytes of waiting input, all models together. "
        "Default: 1000000000, with Redis 256000000.",
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
        """The precedence: flags, environment, `.env`, `zypher.toml`, and `REDIS_HOST`.

        The last is where Redis is for any program, and not what somebody chose for this one.
        """
        broker = broker_of_variables()
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        _require_known_variables(name.upper() for name in dotenv_settings.env_vars)
        return (
            init_settings,
            _Environment(settings_cls),
            dotenv_settings,
            _ConfigFile(settings_cls),
            InitSettingsSource(settings_cls, {"broker": broker} if broker else {}),
        )


class _Environment(EnvSettingsSource):
    """The environment, without what Kubernetes puts there by itself.

    For a service named `zypher` every container gets `ZYPHER_PORT=tcp://10.0.0.1:80`.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        variables = super()._load_env_vars()
        return {k: v for k, v in variables.items() if not (v or "").startswith("tcp://")}


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
