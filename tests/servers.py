"""A real server for tests, in this process: on a socket, with everything between, until the block ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bookkeeper.catalog import Database, create
from bookkeeper.server import Settings, make_app
from bookkeeper.server.operations import router
from bookkeeper.server.running import Place, config, listening

Reach = Callable[[Path], str]
"""See the fixture ``reach``."""


def local(path: Path) -> str:
    """Make a catalog, without a server; return its address."""
    with contextlib.closing(create(f"sqlite:///{path}")) as database:
        return database.url


@contextlib.contextmanager
def serving(database: Database, *, guard: Any = None, settings: Settings | None = None) -> Iterator[str]:
    """Serve a catalog; give the URL."""
    import uvicorn

    place = Place(port=0)
    with listening(place) as (bound, url):
        app = make_app(database, guard=guard, operations=router, settings=settings)
        server = uvicorn.Server(config(app, place))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()
