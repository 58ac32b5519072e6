"""The handle of a replica: what it takes, it answers for."""

import asyncio
import os
import select
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.harness import PATIENCE
from tests.replicas.test_pool import spec
from zypher.prediction import Claim
from zypher.replicas.frames import Call
from zypher.replicas.replica import Replica, ReplicaDied

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def ready_replica() -> AsyncIterator[Replica]:
    replica = Replica(spec("echo"))
    try:
        await replica.start()
        await replica.set_up()
        yield replica
    finally:
        await replica.stop()


@pytest.mark.parametrize("cause", ["its connection closed", "its process ended"])
async def test_a_replica_takes_nothing_more_from_the_moment_that_it_is_dead(cause: str) -> None:
    async with ready_replica() as replica:
        if cause == "its connection closed":
            replica._connection.close()
        else:
            assert replica._process is not None
            replica._process.kill()
            await replica._process._process.wait()
        with pytest.raises(ReplicaDied):
            replica.run([Call(Claim("id", 1), b"1")])
        assert replica.in_flight == []


async def test_to_cancel_what_runs_in_a_replica_that_is_just_dying_is_no_fault() -> None:
    async with ready_replica() as replica:
        replica.run([Call(Claim("id", 1), b"1")])
        replica._connection.close()
        replica.cancel(Claim("id", 1))


async def test_a_replica_that_is_being_killed_takes_nothing_more() -> None:
    """Also if the run that it is killed for has ended just then."""
    async with ready_replica() as replica:
        claim = Claim("id", 1)
        assert replica.pid is not None
        os.kill(replica.pid, signal.SIGSTOP)  # it does not answer in the turn of the loop
        replica.run([Call(claim, b"1")])
        await asyncio.sleep(0)
        os.kill(replica.pid, signal.SIGCONT)
        socket = replica._connection._transport.get_extra_info("socket")
        assert select.select([socket], [], [], PATIENCE)[0]  # the outcome, which nobody has seen
        assert replica.give_up(claim, insists=True)
        while replica.in_flight:
            replica._require_alive()
            await asyncio.sleep(0)
        with pytest.raises(ReplicaDied):
            await replica.has_room()
