"""What tests of replicas, which are children of the test's own process, share."""

from collections.abc import AsyncIterator

import psutil
import pytest

from tests.harness import is_replica


@pytest.fixture(autouse=True)
async def no_replica_outlives_its_test(anyio_backend: object) -> AsyncIterator[None]:
    """A test that fails leaves its replicas behind, and the event loop would wait for them."""
    yield
    for child in psutil.Process().children():
        if is_replica(child):
            child.kill()
