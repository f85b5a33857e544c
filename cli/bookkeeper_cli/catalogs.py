"""Which catalog a command works on: opened when it is needed, closed when the command ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from bookkeeper.errors import CatalogError
from bookkeeper_cli import render

if TYPE_CHECKING:
    from bookkeeper.catalog import Database

VARIABLE: Final = "BOOKKEEPER_CATALOG"

_asked: list[str] = []


def use(url: str | None) -> None:
    """Take the catalog that the command line names, if it does."""
    _asked[:] = [] if url is None else [url]


def url() -> str:
    """Return the address of the catalog: the option, else the variable, else the default."""
    from bookkeeper.catalog import DEFAULT_URL

    return _asked[0] if _asked else os.environ.get(VARIABLE) or DEFAULT_URL


@contextlib.contextmanager
def reading() -> Iterator[Database]:
    """Open the catalog to look at it."""
    from bookkeeper.catalog import open_existing

    with contextlib.closing(_opened(open_existing)) as database:
        yield database


def _opened(door: Callable[[str], Database]) -> Database:
    from bookkeeper.catalog import is_remote

    if is_remote(url()) and render.on_terminal(errors=True):
        from bookkeeper.client import catalog

        catalog.on_greeting = lambda why: render.note(f"waiting for {url()} ({why})")
    try:
        return door(url())
    except OSError as error:  # a name that no file system takes
        raise CatalogError(f"{url()[:200]} cannot be opened: {error.strerror}") from error


@contextlib.contextmanager
def writing() -> Iterator[Database]:
    """Open the catalog to change it. A backup becomes a catalog of its own time line."""
    from bookkeeper.ledger.restore import put_to_use

    with reading() as database:
        put_to_use(database)
        yield database


@contextlib.contextmanager
def creating() -> Iterator[tuple[Database, bool]]:
    """Create the catalog, or upgrade the one that is there; give it and whether it is new."""
    from bookkeeper.catalog import create, exists
    from bookkeeper.ledger.restore import put_to_use

    fresh = False

    def made(address: str) -> Database:
        nonlocal fresh
        fresh = not exists(address)
        return create(address)

    with contextlib.closing(_opened(made)) as database:
        put_to_use(database)
        yield database, fresh
