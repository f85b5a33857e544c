"""Keep what failed in one run, and tell it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bookkeeper.failures.categories import FailureCategory

TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"


def _now() -> str:
    return datetime.now(UTC).strftime(TIME_FORMAT)


@dataclass
class FailureRecord:
    """One failed attempt: ``attempt`` 1 is the first try; ``timestamp`` is UTC, as ``2024-03-15T10:31:02Z``."""

    branch_num: int
    attempt: int
    category: FailureCategory
    message: str
    traceback_text: str = ""
    timestamp: str = field(default_factory=_now)


class DiagnosticSummary:
    """The failures of a run. Any thread may add to it at any time."""

    def __init__(self) -> None:
        self._records: list[FailureRecord] = []
        self._lock = threading.Lock()

    def add(self, record: FailureRecord) -> None:
        """Keep a failure."""
        with self._lock:
            self._records.append(record)

    @property
    def records(self) -> list[FailureRecord]:
        """A copy of everything that was added, in order."""
        with self._lock:
            return list(self._records)

    def by_category(self) -> dict[FailureCategory, list[FailureRecord]]:
        """Return the failures of every category that has some."""
        found: dict[FailureCategory, list[FailureRecord]] = {}
        for record in self.records:
            found.setdefault(record.category, []).append(record)
        return found

    def failed_branches(self) -> set[int]:
        """Return the branches that failed at least once."""
        return {record.branch_num for record in self.records}

    def total_failures(self) -> int:
        """Return how many failures there were."""
        with self._lock:
            return len(self._records)

    def report(self) -> str:
        """Return all of it in lines for a person, the most frequent category first."""
        records = self.records
        branches = len({record.branch_num for record in records})
        lines = [f"DiagnosticSummary: {len(records)} failure event(s) across {branches} branch(es)."]
        if not records:
            return lines[0]
        counts: dict[FailureCategory, int] = {}
        for record in records:
            counts[record.category] = counts.get(record.category, 0) + 1
        lines += ["", "Failures by category:"]
        for category, count in sorted(counts.items(), key=lambda pair: -pair[1]):
            lines.append(f"  {category.value:<20}: {count:>4} event(s)")
        lines += ["", "Individual failure events:"]
        for record in records:
            lines.append(
                f"  [{record.timestamp}] branch={record.branch_num} attempt={record.attempt}"
                f" category={record.category.value}"
            )
            lines.append(f"    {record.message}")
        return "\n".join(lines)
