"""What a check found out of a file that passed it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Found:
    """Entries by tree, what was proved, and what could not be, in words."""

    entries: dict[str, int] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
