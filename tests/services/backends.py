"""The implementations of the `Ledger` protocol, over the databases there are: what the contract suite runs on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bookkeeper.api import Catalog
from bookkeeper.ledger import SqlLedger
from bookkeeper.protocol import Ledger
from ledgers import new_catalog
from services.servers import http_ledger


@dataclass(frozen=True)
class Backend:
    """``catalog`` makes an empty one, from a path that only SQLite takes as it is; ``ledger`` opens a way to speak to it."""

    catalog: Callable[[Path], Catalog]
    ledger: Callable[[Catalog], AbstractContextManager[Ledger]]


def direct(catalog: Catalog) -> AbstractContextManager[Ledger]:
    """A ledger over the database itself."""
    return contextlib.closing(SqlLedger(catalog.database))


def over_http(catalog: Catalog) -> AbstractContextManager[Ledger]:
    """A ledger that speaks to a real server."""
    return http_ledger(catalog.database)


BACKENDS: dict[str, Backend] = {
    "sqlite": Backend(new_catalog, direct),
    "http-sqlite": Backend(new_catalog, over_http),
}
