"""What the server tells Prometheus: calls, their times, refusals, the queue, the groups of the writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bookkeeper.errors import BookkeeperError

_TIMES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_GROUPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = registry = CollectorRegistry()
        self._calls = Counter(
            "bookkeeper_calls", "Calls by verb and HTTP status.", ["verb", "status"], registry=registry
        )
        self._times = Histogram(
            "bookkeeper_call_seconds", "Time to answer a call.", ["verb"], buckets=_TIMES, registry=registry
        )
        self._refused = Counter(
            "bookkeeper_refused", "Calls refused, by error and cause.", ["error", "cause"], registry=registry
        )
        self._groups = Histogram(
            "bookkeeper_group_jobs", "Moves made in one transaction.", ["durable"], buckets=_GROUPS, registry=registry
        )
        Gauge("bookkeeper_waiting", "Moves that wait for the writer.", registry=registry).set_function(waiting)
        self._swept = Counter(
            "bookkeeper_expired", "Processes rolled back because their time ran out.", registry=registry
        )
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._group_children = {
            durable: self._groups.labels(durable=str(durable).lower()).observe for durable in (False, True)
        }

    def call(self, verb: str, status: int, seconds: float) -> None:
        """Count one call."""
        found = self._children.get((verb, status))
        if found is None:
            found = (self._calls.labels(verb=verb, status=str(status)).inc, self._times.labels(verb=verb).observe)
            self._children[(verb, status)] = found
        found[0]()
        found[1](seconds)

    def refused(self, error: BookkeeperError) -> None:
        """Count one refusal."""
        self._refused.labels(error=type(error).__name__, cause=str(getattr(error, "cause", ""))).inc()

    def group(self, jobs: int, durable: bool) -> None:
        """Count one transaction of the writer."""
        self._group_children[durable](jobs)

    def expired(self, processes: int) -> None:
        """Count processes whose time ran out."""
        self._swept.inc(processes)

    def page(self) -> tuple[bytes, str]:
        """Return what Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
