"""What a batch system tells of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bookkeeper_schema.states import JobState

HELD_ITSELF: Final = 0
"""HTCondor's code for "unspecified"."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that happened to a job: ``kind`` is what the batch system calls it, ``state`` what it is from then on.

    ``at`` is in epoch seconds by the batch system's clock. ``died`` says that what ran of it runs no more (it was
    evicted, its node vanished, it ended): a process that it had opened is over. ``hold_code`` is HTCondor's, `HELD_ITSELF`
    where another batch system holds the job without a person's wish. ``reason`` is in words: of a job that waits, and of
    which nothing else is told, why it does, "" where nothing special keeps it any more; ``detail`` is what else is
    known (usage, codes), as JSON.
    """

    number: int
    kind: str
    at: float
    state: JobState | None = None
    died: bool = False
    node: str | None = None
    hold_code: int | None = None
    hold_subcode: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
