"""A catalog as commands reach it: on this host, or behind a server. The fixture ``reach`` gives both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bookkeeper.catalog import Database, create
from bookkeeper.server import Settings
from bookkeeper.server.operations import router
from bookkeeper.server.running import Parts
from services.servers import serving

Reach = Callable[[Path], str]
"""Makes the catalog at a path, where there is none; returns its address."""

BUSY = Settings(tick=0.2, rate=1e9, burst=1e9)
"""A server that looks after its catalog often, so that tests need not wait."""


def local(path: Path) -> str:
    """Make a catalog, without a server; return its address."""
    with contextlib.closing(create(f"sqlite:///{path}")) as database:
        return database.url


@contextlib.contextmanager
def served(database: Database, *, guard: Any = None, settings: Settings = BUSY) -> Iterator[str]:
    """Serve a catalog, with its operations; give the URL."""
    with serving(database, Parts(guard=guard, operations=router, settings=settings)) as url:
        yield url
