"""Put together what a server has: the guard of its catalog, the operations of people, the pages; and run it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bookkeeper.errors import NotAllowed
from bookkeeper.operations import refuse
from bookkeeper.server.app import MakeRouter, Settings
from bookkeeper.server.guarding import Guard
from bookkeeper.server.running import Parts, Place, serve_one

if TYPE_CHECKING:
    from bookkeeper.catalog import Database


def serve(
    database: Database,
    place: Place,
    on_ready: Callable[[str], object] = lambda url: None,
    *,
    open_to_all: bool = False,
    workers: int = 1,
    settings: Settings | None = None,
) -> None:
    """Serve a catalog until SIGTERM or SIGINT, with everything that belongs to a server.

    Raises `UsageError`, and `NotAllowed` where the server would be open to other hosts, or several processes would
    write to SQLite.
    """
    refuse(database, "a catalog is not served", remedy="serve it on its own host, and name the database with --catalog")
    if workers > 1:
        from bookkeeper.server.several import serve_several

        if database.url.startswith("sqlite:"):
            raise NotAllowed(
                "SQLite has one writer at a time: a second process would only wait for the first",
                remedy="leave out --workers, or move the catalog to PostgreSQL with `bookkeeper copy`",
            )
        serve_several(database, place, workers, on_ready, open_to_all=open_to_all, settings=settings)
    else:
        serve_one(database, place, parts_of(database, open_to_all=open_to_all, settings=settings), on_ready)


def parts_of(database: Database, *, open_to_all: bool, settings: Settings | None = None) -> Parts:
    """Return what a server of this catalog is put together from."""
    from bookkeeper.server import operations

    return Parts(
        guard=None if open_to_all else _guard(database),
        operations=operations.router,
        pages=_pages(settings or Settings()),
        settings=settings or Settings(),
    )


def _guard(database: Database) -> Guard:
    from bookkeeper.access import gate

    return gate(database)


def _pages(settings: Settings) -> MakeRouter:
    from bookkeeper.server import pages

    return partial(pages.router, logs=settings.logs)
