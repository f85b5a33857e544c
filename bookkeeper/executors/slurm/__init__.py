"""Slurm, by its commands: ``sbatch``, ``squeue``, ``sacct``, ``scontrol`` and ``scancel``. No plug-in, no accounting needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bookkeeper.executors.batch import BatchSystem

__all__ = ["make"]


def make(folder: Path, options: Mapping[str, Any]) -> BatchSystem:
    """Return Slurm, as ``[executor.slurm]`` describes it. Raises `UsageError` for what the table must not say."""
    from bookkeeper.executors.slurm.system import SlurmSystem

    return SlurmSystem(options)
