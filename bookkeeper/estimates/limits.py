"""Which failures say that a job was given too little: memory, or time."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Limit(StrEnum):
    """What a job ran out of."""

    MEMORY = "memory"  # killed for its memory, or refused more
    TIME = "time"  # ended because it took too long


MEMORY_RULES: Final = frozenset(
    {
        "bad-alloc",
        "cms-code-memory",
        "condor-memory",
        "dask-memory",
        "memory-limit",
        "oom-killer",
        "python-memory",
        "state-memory",
    }
)
"""The failure rules that know memory by its name."""

TIME_RULES: Final = frozenset({"cms-code-time", "cpu-time-signal", "max-wall", "state-time", "time-limit"})
"""The failure rules that know a limit of time."""

VAGUE_RULES: Final = frozenset({"batch-sigkill", "condor-startd-hold", "killed"})
"""Rules of a kill that says not why: it was for memory if the job had come near to what it asked for."""

NEAR: Final = 0.9
"""The share of the memory asked for from which on a kill that says nothing is taken for one."""

OTHER_CODES: Final = frozenset({8033, 50662, 50665, 50666, 50669})
"""Exit codes of CMS among the above that are of disk space, or of anything (WMCore/WMExceptions.py)."""

DURATION_HOLDS: Final = frozenset({46, 47})
"""Hold codes of HTCondor for ``allowed_job_duration`` and ``allowed_execute_duration``, of the rule ``condor-node``."""


def limit_of(
    rule: str | None,
    *,
    exit_code: int | None = None,
    hold_code: int | None = None,
    peak_mb: float | None = None,
    asked_mb: float | None = None,
) -> Limit | None:
    """Return what a failed job ran out of, by the id of the rule that explained it; None where it was neither.

    ``peak_mb`` of memory were seen in use, ``asked_mb`` asked for: they settle a kill that says not why.
    """
    if exit_code in OTHER_CODES:
        return None
    if rule in MEMORY_RULES:
        return Limit.MEMORY
    if rule in TIME_RULES or (rule == "condor-node" and hold_code in DURATION_HOLDS):
        return Limit.TIME
    if rule in VAGUE_RULES and peak_mb is not None and asked_mb is not None and peak_mb >= NEAR * asked_mb:
        return Limit.MEMORY
    return None
