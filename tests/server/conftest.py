"""A server in this process."""

from collections.abc import AsyncIterator

import pytest

from tests.server.service import Service


@pytest.fixture
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """With the settings that `@pytest.mark.parametrize("service", [...], indirect=True)` says."""
    service = Service(**getattr(request, "param", {}))
    await service.start()
    yield service
    await service.stop()
