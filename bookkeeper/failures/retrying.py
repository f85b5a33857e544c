"""Call a function again while its failures are worth it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bookkeeper.failures.categories import FailureCategory
from bookkeeper.failures.evidence import STDERR_MARK, text_of
from bookkeeper.failures.explanation import classify_failure
from bookkeeper.failures.policies import DEFAULT_RETRY_POLICIES, RetryPolicy
from bookkeeper.failures.records import DiagnosticSummary, FailureRecord

T = TypeVar("T")


def run_with_retries(
    fn: Callable[..., T],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    branch_num: int = -1,
    summary: DiagnosticSummary | None = None,
    policies: Mapping[FailureCategory, RetryPolicy] | None = None,
    sleep_fn: Callable[[float], object] = time.sleep,
) -> T:
    """Return what ``fn(*args, **kwargs)`` returns, calling it again after failures as the policies allow.

    Every failure is classified and added to ``summary``. The policy of the newest failure's category says whether as
    many retries as were made are still below its ``max_retries``, and how long to wait (``sleep_fn``, seconds).
    Categories that ``policies`` leaves out have those of `DEFAULT_RETRY_POLICIES`. When no retry is left, the last
    exception is raised as it came. What is no `Exception` (`KeyboardInterrupt`, `SystemExit`) goes through at once.
    """
    summary = DiagnosticSummary() if summary is None else summary
    allowed = {**DEFAULT_RETRY_POLICIES, **(policies or {})}
    attempt = 1
    while True:
        try:
            return fn(*args, **(kwargs or {}))
        except Exception as error:
            message = text_of(error)
            category = classify_failure(error, stderr=stderr_in(message))
            told = "".join(traceback.format_exception(error))
            summary.add(FailureRecord(branch_num, attempt, category, message, told))
            policy = allowed[category]
            if attempt > policy.max_retries:
                raise
        sleep_fn(policy.delay(attempt))
        attempt += 1


def stderr_in(message: str) -> str:
    r"""Return the standard error inside a message of the form ``"…\nstderr:\n<text>"``; empty where there is none."""
    return message.partition(STDERR_MARK)[2]
