"""The five steps of a job as events: ``step.started`` and ``step.ended`` with outcome and seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bookkeeper.errors import CatalogError
from bookkeeper.protocol import EventRecord, Ledger, ProcessKey
from bookkeeper_schema.states import Step

OnEvent = Callable[[str, Mapping[str, Any]], None]
"""Called with the kind and the body of every event of a worker."""


class Steps:
    """Where a process is. ``current`` is the step under way, or the one that failed.

    Events are history: a catalog that is away for a moment gets them with the next ones, and stops no job.
    """

    def __init__(self, ledger: Ledger, key: ProcessKey, on_event: OnEvent) -> None:
        self._ledger, self._key, self._on_event = ledger, key, on_event
        self._began = 0.0
        self._under_way = False
        self._unsent: list[EventRecord] = []
        self.current: Step | None = None

    def begin(self, step: Step) -> None:
        """Go to the next step: the one before ended well."""
        if self._under_way:
            self._note(self._ended("ok"))
        self.current, self._began, self._under_way = step, time.monotonic(), True
        self._note(EventRecord("step.started", {"step": step.value}))
        self._send()

    def end(self, outcome: str, reason: str | None = None) -> None:
        """End the step under way, if one is: ``ok``, ``failed``, ``interrupted``, ``fenced`` or ``nothing``."""
        if self._under_way:
            self._under_way = False
            self._note(self._ended(outcome, reason))
        self._send()

    def tell(self, kind: str, body: Mapping[str, Any]) -> None:
        """Record anything else that happened, together with the end of the step under way."""
        self._note(EventRecord(kind, body))

    def _ended(self, outcome: str, reason: str | None = None) -> EventRecord:
        body = {
            "step": self.current.value if self.current else None,
            "outcome": outcome,
            "seconds": round(time.monotonic() - self._began, 3),
        }
        return EventRecord("step.ended", body | ({"reason": reason[:1000]} if reason else {}))

    def _note(self, event: EventRecord) -> None:
        self._unsent.append(event)
        self._on_event(event.kind, event.body)

    def _send(self) -> None:
        if not self._unsent:
            return
        try:
            self._ledger.record(self._key, self._unsent)
        except CatalogError:
            return  # they go with the next ones
        self._unsent = []
