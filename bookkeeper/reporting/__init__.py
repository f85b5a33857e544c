"""What people see of failures and of performance: counted in the catalog, told as plain data.

Nothing here changes the catalog, but `reclassify`, which appends explanations.
"""

from __future__ import annotations

from bookkeeper.reporting.failures import failures_of
from bookkeeper.reporting.page import page_of, write_page
from bookkeeper.reporting.performance import performance_of
from bookkeeper.reporting.process import failure_of
from bookkeeper.reporting.recent import top_category
from bookkeeper.reporting.reclassify import reclassify

__all__ = ["failure_of", "failures_of", "page_of", "performance_of", "reclassify", "top_category", "write_page"]
