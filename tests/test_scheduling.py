"""Who has to wait for a processor, and who not."""

import os
import shutil
import sys

import pytest

from tests.harness import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such policies")


def policy(pid: int) -> int:
    return os.sched_getscheduler(pid)


def test_a_server_that_wakes_up_does_not_interrupt_its_replicas() -> None:
    with Server("--replicas", "2", "--mock-delay", "0") as server:
        server.wait_said("a replica is ready", times=2)
        assert policy(server.process.pid) == os.SCHED_BATCH
        assert [policy(replica.pid) for replica in server.replicas()] == [os.SCHED_OTHER] * 2


def test_who_has_chosen_another_way_to_share_the_processors_keeps_it() -> None:
    chrt = shutil.which("chrt")
    if chrt is None:
        pytest.skip("chrt is not installed: apt-get install util-linux")
    with Server("--mock-delay", "0", prefix=(chrt, "--idle", "0")) as server:
        server.predict("x")
        (replica,) = server.replicas()
        assert policy(server.process.pid) == policy(replica.pid) == os.SCHED_IDLE
