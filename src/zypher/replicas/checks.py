"""Whether a replica is well: it is asked when nothing runs there."""

import asyncio
import contextlib

from zypher.replicas.replica import Replica


async def check(replica: Replica, patience: float) -> str | None:
    """What is wrong with a replica, as the end of a sentence; None if nothing is.

    It is held meanwhile. One that is not well, or has not answered within `patience` seconds,
    stays held. Raises `ReplicaDied`.
    """
    # Under load one that has a single run at a time would hardly ever be found idle.
    replica.hold(replica.described.concurrency == 1)
    await replica.is_idle()
    while replica.is_busy:  # it was idle when this was woken
        await replica.is_idle()
    replica.hold(True)
    complaint = await _complaint(replica, patience)
    replica.hold(complaint is not None)
    return complaint


async def _complaint(replica: Replica, patience: float) -> str | None:
    asking = asyncio.create_task(replica.ask())
    try:
        # In two halves: after a machine that stood still, all of the time may be over at once.
        for _ in range(2):
            await asyncio.wait([asking], timeout=patience / 2)
            if asking.done():
                return asking.result()
        return f"it has not answered for {patience:g} s (healthcheck-timeout)"
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await asking
