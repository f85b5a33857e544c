"""How much memory this host has left for more jobs. MB are 2^20 bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

MB: Final = 1 << 20

CGROUP: Final = Path("/sys/fs/cgroup")
"""Where a container sees its own limits (https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files)."""


def available_mb(cgroup: Path = CGROUP) -> float:
    """Return the memory that programs can get without swapping: of the host, or of the container where that has less."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        if limit != "max":
            free = min(free, int(limit) - int(used))
    except (OSError, ValueError):
        pass  # no such limit, or an older kernel that tells it elsewhere
    return max(0, free) / MB


def unpromised_mb(promised: Iterable[tuple[int, float | None]]) -> float:
    """Return what is available less what running jobs, each (its process, its memory in MB), may still take."""
    return available_mb() - sum(max(0.0, memory - used_mb(pid)) for pid, memory in promised if memory is not None)


def used_mb(pid: int) -> float:
    """Return the resident memory of a process and all below it; what is gone uses none."""
    import psutil

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    used = 0
    for one in family:
        try:
            used += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return used / MB
