"""Rows: as a table where it fits, else as plain lines; as JSON; as CSV."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

from bookkeeper_cli.render import words
from bookkeeper_cli.render.streams import console, line, on_terminal, visible, width

Row = Mapping[str, Any]

_LOOK_AHEAD: Final = 1000
"""The rows that the widths of columns are taken from: no list, however long, is held whole."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the key of its values, its title, how values are shown.

    A ``spare`` column is left out where no row has a value.
    """

    key: str
    title: str = ""
    show: Callable[[Any], str] = words.plain
    right: bool = False
    spare: bool = False

    @property
    def name(self) -> str:
        """What stands above the column."""
        return self.title or self.key.replace("_", " ")

    def cell(self, row: Row) -> str:
        """Return the value of a row as it is shown."""
        return visible(self.show(row.get(self.key))).replace("\n", " ").replace("\t", " ")


def table(
    rows: Iterable[Row],
    columns: Sequence[Column],
    *,
    as_json: bool = False,
    as_csv: bool = False,
    empty: str = "",
    indent: str = "",
) -> None:
    """Print rows. JSON and CSV have every key of the rows, a table only its columns; ``empty`` is said of no rows."""
    if as_json:
        _json_array(rows)
    elif as_csv:
        _csv(rows)
    else:
        _lines(rows, columns, empty, indent)


def record(row: Row, columns: Sequence[Column], *, as_json: bool = False) -> None:
    """Print one thing: a line for each of its values."""
    if as_json:
        json_object(row)
        return
    longest = max(len(column.name) for column in columns)
    for column in columns:
        if row.get(column.key) not in (None, "", (), [], {}):
            line(f"{column.name:{longest}}  {column.cell(row)}")


def json_object(row: Row) -> None:
    """Print one thing as JSON."""
    sys.stdout.write(words.as_json(row, indent=2) + "\n")


def _json_array(rows: Iterable[Row]) -> None:
    between = "[\n"
    for row in rows:
        sys.stdout.write(f"{between}  {words.as_json(row)}")
        between = ",\n"
    sys.stdout.write("[]\n" if between == "[\n" else "\n]\n")


def _csv(rows: Iterable[Row]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row.keys())
        writer.writerow("" if value is None else words.plain(value) for value in row.values())


def _lines(rows: Iterable[Row], columns: Sequence[Column], empty: str, indent: str) -> None:
    remaining = iter(rows)
    first = list(islice(remaining, _LOOK_AHEAD))
    if not first:
        if empty:
            line(f"{indent}{empty}")
        return
    columns = [
        column
        for column in columns
        if not column.spare or any(row.get(column.key) not in (None, "", (), [], {}) for row in first)
    ]
    cells = [[column.cell(row) for column in columns] for row in first]
    widths = [max(len(column.name), *(len(row[place]) for row in cells)) for place, column in enumerate(columns)]
    fits = len(indent) + sum(widths) + 2 * (len(widths) - 1) <= width()
    if on_terminal() and fits and len(first) < _LOOK_AHEAD:
        _draw(cells, columns, indent)
        return
    line(_plain([column.name for column in columns], columns, widths, indent))
    for row in chain(cells, ([column.cell(row) for column in columns] for row in remaining)):
        line(_plain(row, columns, widths, indent))


def _plain(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], indent: str) -> str:
    padded = (
        f"{cell:>{wide}}" if column.right else f"{cell:{wide}}"
        for cell, column, wide in zip(cells, columns, widths, strict=True)
    )
    return f"{indent}{'  '.join(padded)}".rstrip()


def _draw(cells: Sequence[Sequence[str]], columns: Sequence[Column], indent: str) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(column.name, justify="right" if column.right else "left", no_wrap=True)
    for row in cells:
        drawn.add_row(*(Text(cell, style=words.state_style(cell)) for cell in row))
    console().print(Padding(drawn, (0, 0, 0, len(indent)), expand=False))
