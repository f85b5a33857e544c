"""How a request wants its failures retried: the defaults, and what it says instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.catalog import Tx
from bookkeeper.errors import BookkeeperError
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
        """Return the rules to explain failures by; None where the request has none of its own, or they are no rules."""
        from bookkeeper.failures import Rules

        try:
            return Rules.from_list([dict(rule) for rule in self.rules]) if self.rules else None
        except (BookkeeperError, TypeError, ValueError):
            return None


def policies_of(said: Mapping[str, Any] | None) -> dict[FailureCategory, RetryPolicy]:
    """Return the retry policy of every category: the defaults, but for what ``said["retry"]`` says."""
    given = (said or {}).get("retry", {})
    return {
        category: replace(default, **given.get(category.value, {}))
        for category, default in DEFAULT_RETRY_POLICIES.items()
    }


def refusal(said: Any) -> str | None:
    """Return what is wrong with a policy, in words; None where nothing is."""
    if not isinstance(said, Mapping) or said.keys() - {"retry", "brake", "rules"}:
        return 'is a mapping with the keys "retry", "brake" and "rules"'
    retry, brake, rules = said.get("retry", {}), said.get("brake", {}), said.get("rules", [])
    if not isinstance(retry, Mapping) or retry.keys() - set(FailureCategory):
        return f"has retries by category: {', '.join(FailureCategory)}"
    if not all(isinstance(one, Mapping) and _fits(one, RETRY) for one in retry.values()):
        return f"says of a category nothing but {', '.join(RETRY)}, each a number of 0 or more"
    if not isinstance(brake, Mapping) or not _fits(brake, BRAKE):
        return f"says of the brake nothing but {', '.join(BRAKE)}, each a number of 0 or more"
    if not isinstance(rules, list | tuple) or (rules and Policy(rules=tuple(rules)).explaining() is None):
        return "has rules that are none"
    return None


RETRY: Final = {"max_retries": int, "base_delay": float, "backoff_factor": float, "jitter": bool}
BRAKE: Final = {"identical": int, "node_failures": int, "exclude": float}
"""What may be said, and as what; all that are numbers are 0 or more, and finite."""


def _fits(said: Mapping[str, Any], kinds: Mapping[str, type]) -> bool:
    return all(key in kinds and _is(value, kinds[key]) for key, value in said.items())


def _is(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int if kind is int else int | float) and 0 <= value < 1e9


def policy_of(tx: Tx, request: int) -> Policy:
    """Return the policy of a request."""
    row = tx.run(OF_REQUEST, {"request": request}).fetchone()
    return read(row[0] if row else None)


def read(text: str | None) -> Policy:
    """Return the policy that a request keeps as JSON; what another version wrote and this one does not know is left out."""
    try:
        said = json.loads(text) if text else {}
    except ValueError:
        said = {}
    retry = {category: one for category, one in _of(said, "retry").items() if not refusal({"retry": {category: one}})}
    brake = {key: value for key, value in _of(said, "brake").items() if not refusal({"brake": {key: value}})}
    rules = said.get("rules", ()) if isinstance(said, Mapping) else ()
    rules = () if refusal({"rules": rules}) else tuple(rules)
    return Policy(retry=policies_of({"retry": retry}), rules=rules, **brake)


def _of(said: Any, key: str) -> Mapping[str, Any]:
    part = said.get(key) if isinstance(said, Mapping) else None
    return part if isinstance(part, Mapping) else {}
