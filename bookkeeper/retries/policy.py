"""How a request wants its failures retried: the defaults, and what it says instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.catalog import Tx
from bookkeeper.failures import DEFAULT_RETRY_POLICIES, FailureCategory, RetryPolicy

if TYPE_CHECKING:
    from bookkeeper.failures import Rules

OF_REQUEST: Final = "SELECT policy FROM requests WHERE id = :request"

OF_PROCESS: Final = "SELECT r.policy FROM processes p JOIN requests r ON r.id = p.request_id WHERE p.id = :process"

LONGEST: Final = 3600.0
"""Seconds: no back-off and no rest is longer."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one request.

    ``identical`` failures of different files brake the project; ``node_failures`` in a row on one node exclude it for
    ``exclude`` seconds. 0 means never. ``rules`` are the user's own failure rules, as data.
    """

    retry: Mapping[FailureCategory, RetryPolicy] = field(default_factory=lambda: DEFAULT_RETRY_POLICIES)
    identical: int = 3
    node_failures: int = 3
    exclude: float = LONGEST
    rules: tuple[Mapping[str, Any], ...] = ()

    def delay(self, category: FailureCategory, retry: int) -> float:
        """Return the seconds to wait before a retry, counted from 1."""
        return min(LONGEST, self.retry[category].delay(min(retry, 64)))

    def explaining(self) -> Rules | None:
        """Return the rules to explain failures by; None where the request has none of its own."""
        if not self.rules:
            return None
        from bookkeeper.failures import Rules

        return Rules.from_list([dict(rule) for rule in self.rules])


def policies_of(said: Mapping[str, Any] | None) -> dict[FailureCategory, RetryPolicy]:
    """Return the retry policy of every category: the defaults, but for what ``said["retry"]`` says."""
    given = (said or {}).get("retry", {})
    return {
        category: RetryPolicy(**{**_fields(default), **given.get(category.value, {})})
        for category, default in DEFAULT_RETRY_POLICIES.items()
    }


def policy_of(tx: Tx, request: int) -> Policy:
    """Return the policy of a request."""
    row = tx.run(OF_REQUEST, {"request": request}).fetchone()
    return read(row[0] if row else None)


def read(text: str | None) -> Policy:
    """Return the policy that a request keeps as JSON; the default where it says nothing."""
    said = json.loads(text) if text else {}
    return Policy(retry=policies_of(said), rules=tuple(said.get("rules", ())), **said.get("brake", {}))


def _fields(policy: RetryPolicy) -> dict[str, Any]:
    return {
        "max_retries": policy.max_retries,
        "base_delay": policy.base_delay,
        "backoff_factor": policy.backoff_factor,
        "jitter": policy.jitter,
    }
