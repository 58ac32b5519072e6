"""What of the machine a replica may use, as its process learns it: by its environment."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

# Variables that a replica does not inherit: they hold the server's settings and secrets.
_PRIVATE = ("ZYPHER_", "REDIS_")

# The numbers of threads that numeric libraries start, each by its own word.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)

# Where the kernel tells of control groups, version 2.
_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def environment(
    ours: Mapping[str, str], *, device: str | None, threads: int | None
) -> dict[str, str]:
    """The variables of a replica's process. Libraries read these once, when they are imported."""
    theirs = {name: value for name, value in ours.items() if not name.startswith(_PRIVATE)}
    if device is not None:
        visible = device.replace("+", ",")
        # By HIP for AMD, which would follow an inherited one instead; the order is nvidia-smi's.
        theirs |= {"CUDA_VISIBLE_DEVICES": visible, "HIP_VISIBLE_DEVICES": visible}
        theirs.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if threads is not None:
        theirs |= dict.fromkeys(THREADS, str(threads))
    return theirs


def fair_threads(replicas: int) -> int | None:
    """How many threads each of so many replicas gets, so that together they fit the machine.

    None where there is nothing to cap: one has it all, or somebody has set a number.
    """
    cores = usable_cores()
    if any(name in os.environ for name in THREADS):
        return None
    if replicas == 1 and cores == os.cpu_count():
        return None
    return max(1, cores // replicas)


def usable_cores(own_group: Path = _OWN_GROUP, groups: Path = _GROUPS) -> int:
    """How many cores this process may use: by its affinity, and by the quota of a container."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas(own_group, groups)]))


def resident_bytes(pid: int) -> int:
    """The memory that a process holds (its resident set); 0 where the kernel does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _quotas(own_group: Path, groups: Path) -> Iterator[int]:
    """The quotas, in cores, of the control group of this process and of those around it."""
    try:
        (path,) = [
            line.removeprefix("0::/")
            for line in own_group.read_text().splitlines()
            if line.startswith("0::/")
        ]
    except (OSError, ValueError):
        return
    group = groups / path
    for place in (group, *group.parents):
        if place.is_relative_to(groups):
            yield from _quota(place / "cpu.max")


def _quota(file: Path) -> Iterator[int]:
    try:
        quota, period = file.read_text().split()
        yield -(-int(quota) // int(period))
    except (OSError, ValueError):  # there is none here, or it is "max"
        return
