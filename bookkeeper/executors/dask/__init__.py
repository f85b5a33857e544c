"""Dask: a scheduler that runs somewhere, a cluster in this process, or one that dask-jobqueue makes of batch jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bookkeeper.executors.batch import BatchSystem

__all__ = ["make"]


def make(folder: Path, options: Mapping[str, Any]) -> BatchSystem:
    """Return Dask, as ``[executor.dask]`` describes it. Raises `UsageError` for what the table must not say.

    ``folder`` is where a cluster in a process of ours says that it is there.
    """
    from bookkeeper.executors.dask.system import DaskSystem

    return DaskSystem(folder, options)
