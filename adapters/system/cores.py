"""How many processors this process may use: those of its affinity, and no more than its container's quota allows."""

import math
import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUP: Final = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """Return how many processors can be kept busy by this process and its children, at least 1.

    A container with ``--cpus 2`` on a machine of 64 has 2: the quota is that of cgroup v2 (``cpu.max``, of the group of
    this process and of those above it).
    """
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(found, _quota(cgroups, own) or found))


def _quota(cgroups: Path, own: Path) -> int | None:
    """Return the smallest quota of processors, rounded up; None where there is none."""
    quotas = []
    for group in _groups(own):
        with suppress(OSError, ValueError):
            quota, period = (cgroups / group / "cpu.max").read_text(encoding="ascii").split()
            quotas.append(math.ceil(int(quota) / int(period)))  # "max" is no number, and no quota
    return min(quotas, default=None)


def _groups(own: Path) -> list[PurePosixPath]:
    """Return the group of this process and those above it, relative to the root of all groups."""
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" and not controllers:
                group = PurePosixPath(path.lstrip("/"))
                return [group, *group.parents]
    return [PurePosixPath()]
