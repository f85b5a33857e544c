"""How often, and how soon, a failure is tried again."""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bookkeeper.failures.categories import FailureCategory

JITTER: Final = 0.25
"""The share of a delay that chance may add, so that many that failed together do not come back together."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try again, and after how many seconds.

    ``max_retries`` attempts after the first one; ``base_delay`` seconds before the first of them, ``backoff_factor``
    times more before each next; with ``jitter`` up to a quarter more, by chance.
    """

    max_retries: int
    base_delay: float
    backoff_factor: float = 2.0
    jitter: bool = True

    def delay(self, retry: int, *, random: Callable[[], float] = _random.random) -> float:
        """Return the seconds to wait before retry number ``retry`` (from 1). ``random`` gives numbers from 0 to 1."""
        seconds = self.base_delay * self.backoff_factor ** (retry - 1)
        return seconds * (1.0 + JITTER * random()) if self.jitter else seconds


DEFAULT_RETRY_POLICIES: Final[dict[FailureCategory, RetryPolicy]] = {
    FailureCategory.TRANSIENT_IO: RetryPolicy(max_retries=5, base_delay=10.0, backoff_factor=2.0, jitter=True),
    FailureCategory.EXECUTOR: RetryPolicy(max_retries=3, base_delay=30.0, backoff_factor=2.0, jitter=True),
    FailureCategory.CONFIGURATION: RetryPolicy(max_retries=1, base_delay=5.0, backoff_factor=1.0, jitter=True),
    FailureCategory.CORRUPTED_INPUT: RetryPolicy(max_retries=1, base_delay=5.0, backoff_factor=1.0, jitter=True),
    FailureCategory.ANALYSIS_CRASH: RetryPolicy(max_retries=1, base_delay=5.0, backoff_factor=1.0, jitter=True),
    FailureCategory.UNKNOWN: RetryPolicy(max_retries=2, base_delay=15.0, backoff_factor=2.0, jitter=True),
}
"""What is done where nothing else was said."""
