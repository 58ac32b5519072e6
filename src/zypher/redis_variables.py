"""`REDIS_HOST` and its like: where many set-ups say already that there is a Redis.

They are read from the environment and from `.env`, and choose the broker if nothing else does.
"""

from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from zypher.errors import ConfigurationError

_PREFIX = "REDIS_"


class _Variables(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    host: str = ""
    port: str = ""
    username: str = ""
    password: SecretStr = SecretStr("")
    db: int = Field(default=0, ge=0)


def broker_of_variables() -> str | None:
    """The URL of the broker that they name, if they do. Raises `ConfigurationError`."""
    try:
        variables = _Variables()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = f"{_PREFIX}{str(first['loc'][0]).upper()}"
        raise ConfigurationError(f"{name} is wrong: {first['msg']}.") from None
    if not variables.host and not variables.port:
        return None
    host, port = _place(variables.host, variables.port)
    user, password = variables.username, variables.password.get_secret_value()
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    return f"redis://{credentials}{host}:{port}/{variables.db}"


def _place(host: str, port: str) -> tuple[str, int]:
    """The host and the port.

    For a service named `redis`, Kubernetes gives every container `REDIS_PORT=tcp://10.0.0.1:6379`.
    """
    try:
        link = urlsplit(port if "://" in port else f"tcp://:{port}")
        number, linked_host = link.port or 6379, link.hostname or "localhost"
    except ValueError:
        raise ConfigurationError(
            f"{_PREFIX}PORT is wrong: {port!r} is not the number of a port."
        ) from None
    host = host or linked_host
    return (f"[{host}]" if ":" in host and not host.startswith("[") else host), number
