"""Failures: what they were, why, and how soon to try again. Rules are data; see `load_rules`."""

from bookkeeper.failures.categories import FailureCategory
from bookkeeper.failures.evidence import Evidence
from bookkeeper.failures.explanation import Explanation, classify_failure, explain, explain_failure
from bookkeeper.failures.normalising import normalise
from bookkeeper.failures.policies import DEFAULT_RETRY_POLICIES, RetryPolicy
from bookkeeper.failures.records import DiagnosticSummary, FailureRecord
from bookkeeper.failures.retrying import run_with_retries
from bookkeeper.failures.rules import Rules, default_rules, load_rules

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
