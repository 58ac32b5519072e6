"""Applications of others that include the endpoints in their own."""

import httpx2
import pytest
from fastapi import Depends, FastAPI, HTTPException

from tests.harness import ASYNC
from tests.server.service import Service

pytestmark = pytest.mark.anyio


def refuse() -> None:
    """What a host asks before each request: here, it lets nobody in."""
    raise HTTPException(status_code=402)


async def test_what_a_host_makes_the_endpoints_depend_on_is_asked_first(service: Service) -> None:
    host = FastAPI()
    host.include_router(service.app.router, prefix="/open")
    host.include_router(service.app.router, prefix="/closed", dependencies=[Depends(refuse)])
    transport = httpx2.ASGITransport(app=host)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for prefix, status in (("/open", 202), ("/closed", 402)):
            answer = await client.post(f"{prefix}/predict", json={"input": "x"}, headers=ASYNC)
            assert answer.status_code == status
