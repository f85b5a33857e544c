"""SQL through a server: one read-only query, within limits of rows and time."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bookkeeper.errors import QueryError
from bookkeeper.operations import operation

if TYPE_CHECKING:
    from bookkeeper.database import Database

MOST: Final = 200_000
"""Rows that are answered through a server at once."""

SECONDS: Final = 30.0
"""Seconds that a query may take at a server."""


class Table(NamedTuple):
    """The names of the columns, which may repeat, and the rows."""

    names: list[str]
    rows: list[list[Any]]


@operation("read", name="sql.query")
def query(database: Database, query: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> Table:
    """Answer one query, read-only whatever it says. What JSON has no word for is told by `sendable`.

    Raises `QueryError`, also for more than `MOST` rows or `SECONDS` seconds.
    """
    names, rows = database.table(query, received(parameters), most=MOST + 1, seconds=SECONDS)
    if len(rows) > MOST:
        raise QueryError(
            f"the answer has more than {MOST:,} rows, the most that a server answers",
            remedy="add a LIMIT, or ask on the host of the catalog",
        )
    return Table(names, [[sendable(cell) for cell in row] for row in rows])


@operation("read", name="sql.clock")
def clock(database: Database) -> float:
    """Return the catalog's clock: seconds since the epoch."""
    return database.now()


def sendable(cell: Any) -> Any:
    """Return a cell as JSON has it: bytes as ``{"base64": …}``, numbers that are none as ``{"float": "inf"}``."""
    if isinstance(cell, bytes):
        return {"base64": base64.b64encode(cell).decode()}
    if isinstance(cell, float) and not math.isfinite(cell):
        return {"float": str(cell)}
    return cell


def received(value: Any) -> Any:
    """Return what `sendable` made something of; in lists and mappings, too."""
    if isinstance(value, Mapping):
        if value.keys() == {"base64"} and isinstance(value["base64"], str):
            return base64.b64decode(value["base64"])
        if value.keys() == {"float"} and value["float"] in ("inf", "-inf", "nan"):
            return float(value["float"])
        return {key: received(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [received(one) for one in value]
    return value
