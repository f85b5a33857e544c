"""Children that are forked from a clean server, without threads or pytest, which has imported what they need."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

IMPORTED = (
    "clients", "dagging", "journaling", "ledgerfaults",
    "bookkeeper.access.guard", "bookkeeper.failures.explanation", "bookkeeper.postgres.catalogs", "bookkeeper.projects",
    "bookkeeper.sqlite.catalogs", "bookkeeper.validation.validate",
)  # fmt: skip
"""The modules whose functions run in children, and what these import late."""


def forks() -> Any:
    """Return the context whose children these are."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with patch.dict(os.environ, PYTHONPATH=path):  # the server of Python 3.11 is not told where modules are
        forkserver.ensure_running()
    return context
