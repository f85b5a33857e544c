"""Make the tables of an export: typed and keyed as the catalog's are, and findable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from bookkeeper.export.contents import FAILURES, FAILURES_TYPES, LEFT_OUT, Exported

if TYPE_CHECKING:
    from sqlite_utils import Database as Target

DATED: Final = 'ALTER TABLE "{table}" ADD COLUMN "{column}_utc" TEXT AS (strftime({form}, "{column}", {epoch})) VIRTUAL'
"""A column that shows a time as a date. It is computed when it is read and takes no room."""


def types_of(table: Exported) -> dict[str, tuple[type, bool]]:
    """Return the type of every column of an exported table, and whether it may be empty."""
    if table.name == FAILURES.name:
        return {name: (kind, name not in table.key) for name, kind in FAILURES_TYPES.items()}
    from sqlalchemy import Boolean, Float, Integer

    from bookkeeper_schema.tables import METADATA

    hidden = LEFT_OUT.get(table.name) or ()
    kinds: tuple[tuple[type, type], ...] = ((Integer, int), (Boolean, int), (Float, float))
    return {
        column.name: (
            next((kind for declared, kind in kinds if isinstance(column.type, declared)), str),
            bool(column.nullable),
        )
        for column in METADATA.tables[table.name].columns
        if column.name not in hidden
    }


def create(target: Target, table: Exported, columns: Iterable[str]) -> None:
    """Create an empty table with the columns that its query answers."""
    known = types_of(table)
    types = {name: known[name] for name in columns}
    target.table(table.name).create(
        {name: kind for name, (kind, _) in types.items()},
        pk=table.key[0] if len(table.key) == 1 else table.key,
        foreign_keys=table.refers,
        not_null={name for name, (_, empty) in types.items() if not empty and name not in table.key},
    )


def make_findable(target: Target, table: Exported) -> None:
    """Give a filled table its indexes, its full-text index and its dates."""
    made = target.table(table.name)
    for columns in table.sort:
        made.create_index(columns)
    if table.search:
        made.enable_fts(table.search)
    for column in table.times:
        target.execute(DATED.format(table=table.name, column=column, form="'%Y-%m-%dT%H:%M:%SZ'", epoch="'unixepoch'"))
