"""Lists in CSV and TSV: a header, a row a file; columns that no file has are metadata.

The list is read twice: what kind a column of metadata is, only its last value tells.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

from bookkeeper.errors import UsageError
from bookkeeper.filelists.text import absolute, decoded, raw_lines, unreadable

_TEXTS: Final = ("name", "checksum", "tree")
_COUNTS: Final = ("size", "entries")
_OTHERS: Final = ("trees", "path", "location", "url", "locations")
_OWN: Final = frozenset((*_TEXTS, *_COUNTS, *_OTHERS))

_WHOLE: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"[+-]?(?=\.?[0-9])(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")

Cells = Mapping[str, str | None]
Kind = Literal["boolean", "whole", "number", "text"]


def table(path: Path, name: str, kind: Literal["csv", "tsv"]) -> Iterator[dict[str, Any]]:
    """Yield the records of a list. Raises `UsageError` naming list, record (the first after the header is 1), field."""
    own, extra = _columns(path, name, kind)
    kinds = _kinds(path, name, kind, extra)
    for number, cells in _rows(path, name, kind):
        where = f"{name}, record {number}"
        record = _own_fields({column: cells[column] for column in own}, where)
        metadata = {column: _typed(cells[column], kinds[column]) for column in extra if cells[column]}
        if metadata:
            record["metadata"] = metadata
        yield record


def _columns(path: Path, name: str, kind: str) -> tuple[list[str], list[str]]:
    """Return the columns that a file has, and those that are metadata."""
    header = next((decoded(raw, f"{name}, line 1") for _, raw in raw_lines(path, name)), "")
    columns = next(csv.reader([header], delimiter="\t" if kind == "tsv" else ","), [])
    if not {"name", "path"} & set(columns):
        raise UsageError(
            f"{name}: the header has no column `name` or `path`", remedy="the first line names the columns: name,size,…"
        )
    for column in columns:
        if not column or columns.count(column) > 1:
            raise UsageError(
                f"{name}: the header has {'an empty column' if not column else f'the column {column!r} twice'}",
                remedy="give each column a name of its own",
            )
    return [column for column in columns if column in _OWN], [column for column in columns if column not in _OWN]


def _rows(path: Path, name: str, kind: str) -> Iterator[tuple[int, Cells]]:
    from sqlite_utils.utils import Format, RowError, rows_from_file

    number = 0
    try:
        with path.open("rb") as stream:
            rows, _ = rows_from_file(stream, format=Format.TSV if kind == "tsv" else Format.CSV)
            for number, row in enumerate(rows, start=1):
                yield number, cast(Cells, row)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: this is not UTF-8 ({error.reason})", remedy="convert the list to UTF-8") from None
    except RowError:
        raise UsageError(f"{name}, record {number + 1}: it has more values than the header has columns") from None
    except csv.Error as error:
        raise UsageError(f"{name}, record {number + 1}: this is no {kind.upper()} ({error})") from None
    except OSError as error:
        raise unreadable(name, error) from error


def _kinds(path: Path, name: str, kind: str, columns: list[str]) -> dict[str, Kind]:
    """Return the narrowest kind that every value of each column is."""
    possible: dict[str, list[Kind]] = {column: ["boolean", "whole", "number"] for column in columns}
    for _, cells in _rows(path, name, kind) if columns else ():
        for column, kinds in possible.items():
            if kinds and (value := cells[column]):
                possible[column] = [kind for kind in kinds if _is(value, kind)]
        if not any(possible.values()):
            break
    return {column: kinds[0] if kinds else "text" for column, kinds in possible.items()}


def _is(value: str, kind: Kind) -> bool:
    if kind == "boolean":
        return value.lower() in {"true", "false"}
    if kind == "whole":
        return _WHOLE.fullmatch(value) is not None
    return _NUMBER.fullmatch(value) is not None and math.isfinite(float(value))


def _typed(value: str | None, kind: Kind) -> str | int | float | bool | None:
    if not value or kind == "text":
        return value
    if kind == "boolean":
        return value.lower() == "true"
    return int(value) if kind == "whole" else float(value)


def _own_fields(cells: Cells, where: str) -> dict[str, Any]:
    """Return what the record says of the file itself; an empty cell says nothing."""
    record: dict[str, Any] = {}
    locations: list[str] = []
    for column, text in cells.items():
        if not text:
            continue
        if column in _TEXTS:
            record[column] = text
        elif column in _COUNTS:
            record[column] = _count(column, text, where)
        elif column == "trees":
            record[column] = _trees(text, where)
        elif column == "path":
            record[column] = absolute(text)
        else:
            locations += text.split() if column == "locations" else [text]
    if locations:
        record["locations"] = tuple(absolute(location) for location in locations)
    return record


def _count(column: str, text: str, where: str) -> int:
    if re.fullmatch(r"\s*[0-9]{1,18}\s*", text):
        return int(text)
    raise UsageError(
        f"{where}: {column} is {text[:40]!r}", remedy=f"write {column} as a whole number, 0 or more, without a unit"
    )


def _trees(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(
            f"{where}: trees is {text[:40]!r}", remedy='write the entries of each tree as {"events": 500}'
        ) from None
