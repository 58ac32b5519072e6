"""What tests of workers, whose replicas live in the test's own process, share."""

from collections.abc import AsyncIterator

import psutil
import pytest


@pytest.fixture(autouse=True)
async def no_process_outlives_its_test(anyio_backend: object) -> AsyncIterator[None]:
    """A test that fails leaves its replicas behind, and the event loop would wait for them."""
    yield
    for child in psutil.Process().children():
        child.kill()
