"""What people see of failures and of performance: counted in the catalog, told as plain data.

Nothing here changes the catalog, but `reclassify`, which appends explanations. Each name is imported when it is first
used: `bookkeeper status` needs the least of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bookkeeper.reporting.explaining import reclassify
    from bookkeeper.reporting.failures import failures_of
    from bookkeeper.reporting.page import page_of, write_page
    from bookkeeper.reporting.performance import performance_of
    from bookkeeper.reporting.process import failure_of
    from bookkeeper.reporting.recent import top_category

_HOMES = {
    "failure_of": "process",
    "failures_of": "failures",
    "page_of": "page",
    "performance_of": "performance",
    "reclassify": "explaining",
    "top_category": "recent",
    "write_page": "page",
}

__all__ = ["failure_of", "failures_of", "page_of", "performance_of", "reclassify", "top_category", "write_page"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"bookkeeper.reporting.{_HOMES[name]}"), name)
