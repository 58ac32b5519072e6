"""Every fault, by the name that the command line knows it by."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.faults import claims, hang_ups, neighbours, payloads, replicas, servers
from tests.faults.report import Report, Size

Fault = Callable[[Size, Path], Coroutine[Any, Any, Report]]

FAULTS: dict[str, Fault] = {
    "killed-replicas": replicas.killed_replicas,
    "killed-servers": servers.killed_servers,
    "restarts": servers.restarts,
    "second-server": neighbours.second_server,
    "hang-ups": hang_ups.hang_ups,
    "clock-jumps": claims.clock_jumps,
    "poison": replicas.poison,
    "held-interpreter": replicas.held_interpreter,
    "duplicates": claims.duplicates,
    "payloads": payloads.payloads,
}
