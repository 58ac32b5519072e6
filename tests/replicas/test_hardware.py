"""What of the machine a replica may use: its device, and threads that fit."""

import json
import os
from pathlib import Path

import pytest

from tests.replicas.test_pool import spec
from tests.worker.test_worker import outcomes
from tests.worker.work import at_work
from zypher.brokers.memory import MemoryBroker
from zypher.clock import SystemClock
from zypher.errors import ConfigurationError
from zypher.replicas.hardware import THREADS, environment, fair_threads, usable_cores
from zypher.selection import replicas_of, with_models
from zypher.settings import load_settings
from zypher.testing.contract.base import LIMITS

MODELS = Path(__file__).with_name("models.py")
DEVICES = ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*THREADS, *DEVICES]:
        monkeypatch.delenv(name, raising=False)


# As it is set.


@pytest.mark.parametrize(
    ("written", "devices"),
    [
        ("0", ["0"]),
        ("0,2", ["0", "2"]),
        ("0-2, 7", ["0", "1", "2", "7"]),
        ("0+1,2+3", ["0+1", "2+3"]),
        ("GPU-8f0d-12,MIG-5c/1/0", ["GPU-8f0d-12", "MIG-5c/1/0"]),
        ([0, 1], ["0", "1"]),
    ],
)
def test_devices_are_written_as_numbers_ranges_and_names(
    written: object, devices: list[str]
) -> None:
    assert load_settings(devices=written).devices == devices


@pytest.mark.parametrize("written", ["cuda:0", "0,0", "3-1", "0+", "-1"])
def test_what_is_no_device_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match="devices"):
        load_settings(devices=written)


def test_each_device_gets_all_replicas_and_has_no_room_for_two_versions_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zypher.toml").write_text(
        'devices = [0, 1]\n[models.large]\ntarget = "x.py:Large"\n'
        '[models.small]\ntarget = "x.py:Small"\nreplicas = 2\nswap = "overlap"\n'
        '[models.plain]\ntarget = "x.py:Plain"\ndevices = []\nexample = {width = 3.0}\n'
    )
    found = replicas_of(with_models(load_settings(), []))
    assert [(each.name, size, each.swap) for each, size in found] == [
        ("large", 2, "replace"),
        ("small", 4, "overlap"),
        ("plain", 1, "overlap"),
    ]
    assert [each.example for each, _ in found] == [None, None, b'{"width":3.0}']


# Threads.


def test_all_replicas_together_start_no_more_threads_than_there_are_cores() -> None:
    cores = usable_cores()
    assert fair_threads(2) == max(1, cores // 2)
    assert fair_threads(1_000) == 1
    ((each, _),) = replicas_of(with_models(load_settings(replicas=1_000), ["mock"]))
    assert each.threads == 1


def test_who_set_the_number_of_threads_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert fair_threads(1_000) is None
    ours = {"OMP_NUM_THREADS": "7"}
    assert environment(ours, device=None, threads=None) == ours
    assert environment(ours, device=None, threads=3)["OMP_NUM_THREADS"] == "3"


def test_a_quota_of_a_container_or_of_what_is_around_it_counts(tmp_path: Path) -> None:
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    inner = groups / "outer" / "inner"
    inner.mkdir(parents=True)
    own.write_text("0::/outer/inner\n")
    assert usable_cores(own, groups) == len(os.sched_getaffinity(0))
    (inner / "cpu.max").write_text("max 100000\n")
    (groups / "outer" / "cpu.max").write_text("100000 100000\n")
    assert usable_cores(own, groups) == 1
    own.write_text("0::/\n")  # as it is seen in a container
    (groups / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(own, groups) == 1
    own.write_text("4:cpu:/\n")
    assert usable_cores(own, groups) == len(os.sched_getaffinity(0))


# As a model finds it.


@pytest.mark.anyio
async def test_each_place_has_its_device_for_life_and_libraries_their_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "9")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "9")
    runs = spec("Surroundings", MODELS, devices=["3", "GPU-a+GPU-b"], threads=1, recycle_after=1)
    names = f'["{DEVICES[0]}", "{DEVICES[1]}", "{DEVICES[2]}", "{THREADS[0]}"]'.encode()
    broker = MemoryBroker(LIMITS, SystemClock())
    async with at_work(broker, runs, 2) as (worker, _):
        seen: set[tuple[object, ...]] = set()
        pids: set[int] = set()
        while len(pids) < 4:  # more than there are places: some were filled again
            for record in await outcomes(broker, "Surroundings", [names] * 2):
                assert record.result, record.failure
                variables, threads, pid = json.loads(record.result)
                assert threads == [1]
                seen.add(tuple(variables.values()))
                pids.add(pid)
        assert seen == {(device, device, "PCI_BUS_ID", "1") for device in ("3", "GPU-a,GPU-b")}
        assert {p._device for p in worker._pools[0]._places} == {"3", "GPU-a+GPU-b"}
