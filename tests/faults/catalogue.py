"""Every fault, by the name that the command line knows it by."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.faults import (
    broken_disk,
    cancels,
    claims,
    damage,
    full_disk,
    hang_ups,
    neighbours,
    payloads,
    power,
    replicas,
    servers,
)
from tests.faults.redis import cancels as redis_cancels
from tests.faults.redis import claims as redis_claims
from tests.faults.redis import failover, marathon, memory, network, outages, rolling, workers
from tests.faults.report import Report, Size

Fault = Callable[[Size, Path], Coroutine[Any, Any, Report]]

FAULTS: dict[str, Fault] = {
    "killed-replicas": replicas.killed_replicas,
    "killed-between-runs": replicas.killed_between_runs,
    "killed-servers": servers.killed_servers,
    "restarts": servers.restarts,
    "power-cuts": power.power_cuts,
    "full-disk": full_disk.full_disk,
    "broken-disk": broken_disk.broken_disk,
    "damaged-files": damage.damaged_files,
    "second-server": neighbours.second_server,
    "poison": replicas.poison,
    "held-interpreter": replicas.held_interpreter,
    "cancels": cancels.cancels,
    "duplicates": claims.duplicates,
    "clock-jumps": claims.clock_jumps,
    "hang-ups": hang_ups.hang_ups,
    "payloads": payloads.payloads,
    "redis-killed-workers": workers.killed_workers,
    "redis-marathon": marathon.marathon,
    "redis-frozen-workers": workers.frozen_workers,
    "redis-restarts": rolling.rolling_restarts,
    "redis-held-interpreter": workers.held_interpreter,
    "redis-killed": outages.killed_redis,
    "redis-power-cut": outages.power_cut_everysec,
    "redis-away": outages.away,
    "redis-emptied": outages.flushed,
    "redis-partitions": network.partitions,
    "redis-lost-news": network.deaf,
    "redis-failover": failover.failover,
    "redis-overload": memory.overload,
    "redis-full-memory": memory.full_memory,
    "redis-cancels": redis_cancels.cancels,
    "redis-duplicates": redis_claims.duplicates,
    "redis-clock-jumps": redis_claims.clock_jumps,
}
