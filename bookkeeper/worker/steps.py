"""The five steps of a job as events: ``step.started`` and ``step.ended`` with outcome and seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bookkeeper.protocol import EventRecord, Ledger, ProcessKey
from bookkeeper_schema.states import Step

OnEvent = Callable[[str, Mapping[str, Any]], None]
"""Called with the kind and the body of every event of a worker."""


class Steps:
    """Where a process is. ``current`` is the step under way, or the one that failed."""

    def __init__(self, ledger: Ledger, key: ProcessKey, on_event: OnEvent) -> None:
        self._ledger, self._key, self._on_event = ledger, key, on_event
        self._began = 0.0
        self._under_way = False
        self.current: Step | None = None

    def begin(self, step: Step) -> None:
        """Go to the next step: the one before ended well."""
        ended = [self._ended("ok")] if self._under_way else []
        self.current, self._began, self._under_way = step, time.monotonic(), True
        self._record(*ended, EventRecord("step.started", {"step": step.value}))

    def end(self, outcome: str, reason: str | None = None) -> None:
        """End the step under way, if one is: ``ok``, ``failed``, ``interrupted``, ``fenced`` or ``nothing``."""
        if self._under_way:
            self._under_way = False
            self._record(self._ended(outcome, reason))

    def tell(self, kind: str, body: Mapping[str, Any]) -> None:
        """Record anything else that happened."""
        self._record(EventRecord(kind, body))

    def _ended(self, outcome: str, reason: str | None = None) -> EventRecord:
        body = {
            "step": self.current.value if self.current else None,
            "outcome": outcome,
            "seconds": round(time.monotonic() - self._began, 3),
        }
        return EventRecord("step.ended", body | ({"reason": reason[:1000]} if reason else {}))

    def _record(self, *events: EventRecord) -> None:
        self._ledger.record(self._key, events)
        for event in events:
            self._on_event(event.kind, event.body)
