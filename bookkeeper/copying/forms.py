"""The rows of a table as both databases understand them, in the order of their keys; and whether two of them are the same.

SQLite gives a truth value as 0 or 1, PostgreSQL as false or true; JSON is text in one and may be parsed and written anew
by the other; names are ordered by their bytes. What is compared is the meaning: numbers exactly, JSON as what it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import CatalogError

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Table

Row = tuple[Any, ...]

_EMPTY: Final = type(None)


class Form:
    """One table: its columns, its statements in a dialect, and its rows as this program holds them."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        from sqlalchemy import JSON, Boolean, Float, Integer, String, collate, func, insert, select

        self.name = table.name
        columns = list(table.columns)
        self.columns = [column.name for column in columns]
        self.keys = [self.columns.index(column.name) for column in table.primary_key.columns]
        order = []
        for column in table.primary_key.columns:
            by_bytes = dialect.name == "postgresql" and not isinstance(column.type, Integer)
            order.append(collate(column, "C") if by_bytes else column)
        self.select = str(select(*columns).order_by(*order).compile(dialect=dialect))
        self.insert = str(insert(table).compile(dialect=dialect, column_keys=self.columns))
        self.count = str(select(func.count()).select_from(table).compile(dialect=dialect))
        self.counts_itself = next((c.name for c in columns if c is table.autoincrement_column), None)
        self._json = [number for number, column in enumerate(columns) if isinstance(column.type, JSON)]
        self._truth = [number for number, column in enumerate(columns) if isinstance(column.type, Boolean)]
        kinds = ((Boolean, bool), (Integer, int), (Float, float), (JSON, str), (String, str))
        self._kinds = [next((kind for sort, kind in kinds if isinstance(column.type, sort)), str) for column in columns]
        self._empty = [bool(column.nullable) for column in columns]
        self._good: set[tuple[type, ...]] = set()

    def rows(self, found: Iterable[Row]) -> Iterator[Row]:
        """Yield a database's rows with values of the declared types. Raises `CatalogError` for any other."""
        for row in found:
            if self._truth:
                row = self._with_truth(row)
            shape = tuple(map(type, row))
            if shape not in self._good:
                self._check(row)
                self._good.add(shape)
            yield row

    def _with_truth(self, row: Row) -> Row:
        values = list(row)
        for number in self._truth:
            if values[number] in (0, 1):
                values[number] = bool(values[number])
        return tuple(values)

    def _check(self, row: Row) -> None:
        for column, value, kind, empty in zip(self.columns, row, self._kinds, self._empty, strict=True):
            if type(value) is not kind and not (empty and value is None):
                raise CatalogError(
                    f"{self.which(row)}: {column} holds {value!r:.100}, which is no {_WORDS[kind]}",
                    remedy="`bookkeeper check` says what else is not as it should be; the copy was not made",
                )

    def which(self, row: Row) -> str:
        """Return which row of which table this is, in words."""
        return f"{self.name} {', '.join(f'{self.columns[key]} {row[key]!r:.100}' for key in self.keys)}"

    def differs(self, one: Row, other: Row) -> str | None:
        """Return the column in which two rows differ; None where they say the same."""
        if one == other:
            return None
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            same = _says_the_same(left, right) if number in self._json else left == right
            if not same:
                return self.columns[number]
        return None


_WORDS: Final = {bool: "truth value", int: "whole number", float: "number", str: "text"}


def forms(dialect: Dialect) -> list[Form]:
    """Return every table of a catalog, parents before children."""
    from bookkeeper_schema.tables import METADATA

    return [Form(table, dialect) for table in METADATA.sorted_tables]


def _says_the_same(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return bool(_tagged(_read(one)) == _tagged(_read(other)))


def _read(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _tagged(value: Any) -> Any:
    """Return what JSON says so that ``==`` tells all of it apart: true is not 1."""
    if isinstance(value, dict):
        return {key: _tagged(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_tagged(one) for one in value]
    return (type(value).__name__, value)
