"""Failures: what they were, why, and how soon to try again. Rules are data; see `load_rules`.

What explains is imported when it is first used: most processes never fail.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bookkeeper.failures.categories import FailureCategory
from bookkeeper.failures.evidence import Evidence
from bookkeeper.failures.policies import DEFAULT_RETRY_POLICIES, RetryPolicy

if TYPE_CHECKING:
    from bookkeeper.failures.explanation import Explanation, classify_failure, explain, explain_failure
    from bookkeeper.failures.normalising import normalise
    from bookkeeper.failures.records import DiagnosticSummary, FailureRecord
    from bookkeeper.failures.retrying import run_with_retries
    from bookkeeper.failures.rules import Rules, default_rules, load_rules

_HOMES = {
    "explanation": ("Explanation", "classify_failure", "explain", "explain_failure"),
    "normalising": ("normalise",),
    "records": ("DiagnosticSummary", "FailureRecord"),
    "retrying": ("run_with_retries",),
    "rules": ("Rules", "default_rules", "load_rules"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DEFAULT_RETRY_POLICIES",
    "DiagnosticSummary",
    "Evidence",
    "Explanation",
    "FailureCategory",
    "FailureRecord",
    "RetryPolicy",
    "Rules",
    "classify_failure",
    "default_rules",
    "explain",
    "explain_failure",
    "load_rules",
    "normalise",
    "run_with_retries",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
