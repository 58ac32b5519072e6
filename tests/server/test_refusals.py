"""New code refuses what waits: that is told while it can still be helped."""

import pytest

from tests.server.service import Service
from zypher.prediction import Failure, Outcome

pytestmark = pytest.mark.anyio


async def test_while_new_code_refuses_what_waits_readyz_and_stats_say_so(service: Service) -> None:
    for _ in range(2):
        await service.submit()
        claimed = await service.claim()
        refusal = Outcome(failure=Failure("invalid_input", "No."), signature="of the new code")
        await service.broker.finish([(claimed.claim, refusal)])
    service.clock.advance(0.1)
    ready = (await service.client.get("/readyz")).json()
    assert "m as it runs now refuses 2 of the predictions that wait" in ready["degraded"][-1]
    assert ready["oldest_queued_age"] == pytest.approx(0.1)
    stats = (await service.client.get("/stats")).json()["models"]["m"]
    assert (stats["queued"], stats["paused"], stats["refused"]) == (2, 2, 2)
    service.clock.advance(2)
    await service.broker.enforce_clocks()
    await service.run()
    await service.run()
    assert "refuses" not in str((await service.client.get("/readyz")).json()["degraded"])
