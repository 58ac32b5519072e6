"""What all tests share."""

import pytest
from hypothesis import settings

NO_SKIPS = "--no-skips"

# `--hypothesis-profile=nightly --timeout=0` looks longer for what the quick one does not find.
settings.register_profile(
    "quick", max_examples=200, stateful_step_count=50, deadline=None, database=None
)
settings.register_profile(
    "nightly", max_examples=5000, stateful_step_count=100, deadline=None, database=None
)
settings.load_profile("quick")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop of the product."""
    return "asyncio", {"use_uvloop": True}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(NO_SKIPS, action="store_true", help="fail if anything had to be skipped")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is a promise that was not checked; where all must be, that is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption(NO_SKIPS) and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
