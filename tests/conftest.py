"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.redis_servers import Program, RedisServer

NO_SKIPS = "--no-skips"

# Otherwise pydantic looks through all that is installed for plugins, of which there are none, in
# each of the many processes that tests start.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"

# The quick one tries the same examples in every run. `--hypothesis-profile=nightly --timeout=0`
# looks longer, and at others each time.
settings.register_profile(
    "quick",
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=True,
)
settings.register_profile(
    "nightly", max_examples=5000, stateful_step_count=100, deadline=None, database=None
)
settings.load_profile("quick")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop of the product."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session", params=Program)
def shared_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """A Redis, and then a Valkey, for all tests that leave them as they were."""
    directory = tmp_path_factory.mktemp(request.param)
    with RedisServer(directory, program=request.param) as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The shared server, empty."""
    shared_redis.call("FLUSHALL")
    return shared_redis


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(NO_SKIPS, action="store_true", help="fail if anything had to be skipped")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is a promise that was not checked; where all must be, that is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption(NO_SKIPS) and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
