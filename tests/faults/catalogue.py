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
from tests.faults.report import Report, Size

Fault = Callable[[Size, Path], Coroutine[Any, Any, Report]]

FAULTS: dict[str, Fault] = {
    "killed-replicas": replicas.killed_replicas,
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
}
