"""The copy itself: load every table, compare every row, and only then let the copy count.

A copy is stamped as a backup is: its first writable opening raises its epoch and fences the processes that were live, so that a
job which began at the one end never commits at the other. A move seals the original before anything is read: no moment
has two catalogs that can be written to.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from typing import Any

from bookkeeper import catalog
from bookkeeper.copying.doors import sealed, source_of, target_at
from bookkeeper.copying.ends import BATCH, Source, Target
from bookkeeper.copying.forms import Form, Row
from bookkeeper.errors import CatalogError

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class CopyInfo:
    """A copy that was made: from where to where, of which catalog, and the rows that were compared, by table.

    ``live`` counts the processes that were at work at that moment: in the copy they will be fenced. ``moved``: the original
    refuses to be written to from now on.
    """

    source: str
    target: str
    catalog_id: str
    epoch: int
    live: int
    moved: bool
    rows: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return asdict(self)


def copy(source: str, target: str, *, move: bool = False, on_progress: Progress = lambda *_: None) -> CopyInfo:
    """Copy the catalog at the address ``source`` to ``target``, where there must be none; say what was compared.

    ``move`` seals the source: it is read as before, and never written to again. ``on_progress(doing, done, total)`` counts
    rows. Raises `CatalogError` and its kin, `Conflict` where something is at ``target``, and `NotAllowed` for a move while
    processes are live: then there is no copy, and the source is as it was.
    """
    with contextlib.closing(catalog.open_existing(source)) as database, target_at(target) as made:
        with sealed(database, made) if move else contextlib.nullcontext(), source_of(database) as original:
            live = _live(original)
            rows = _fill(original, made, on_progress)
            made.finish()
        return CopyInfo(database.name, made.name, database.id, database.epoch, live, move, rows)


def _fill(source: Source, target: Target, on_progress: Progress) -> dict[str, int]:
    """Load every table, then compare every row; return how many, by table."""
    target.prepare()
    total = 2 * sum(source.count(form) for form in source.forms)
    done = 0
    stamp = time.time()

    def told(doing: str, many: int) -> None:
        nonlocal done
        done += many
        on_progress(doing, done, total)

    pairs = list(zip(source.forms, target.forms, strict=True))
    for here, there in pairs:
        found = _stamped(here, source.rows(here), stamp)
        while batch := list(islice(found, BATCH)):
            target.write(there, batch)
            told(f"copying {here.name}", len(batch))
    return {
        here.name: _compare(here, _stamped(here, source.rows(here), stamp), target.rows(there), told)
        for here, there in pairs
    }


def _live(source: Source) -> int:
    (form,) = (one for one in source.forms if one.name == "processes")
    state = form.columns.index("state")
    return sum(row[state] in ("active", "staged") for row in source.rows(form))


def _stamped(form: Form, rows: Iterator[Row], stamp: float) -> Iterator[Row]:
    """Yield rows as they are to be in the copy, which is stamped: so it is put to use as a backup is."""
    if form.name != "catalog":
        return rows
    at = form.columns.index("stamped_at")
    return ((*row[:at], stamp, *row[at + 1 :]) for row in rows)


def _compare(form: Form, rows: Iterator[Row], copied: Iterator[Row], told: Callable[[str, int], None]) -> int:
    """Compare a table's rows one by one; return how many. Raises `CatalogError` at the first that differs."""
    count = 0
    for one, other in zip_longest(rows, copied):
        problem = None
        if one is None or other is None:
            there, where = (one, "the source") if other is None else (other, "the copy")
            problem = f"{form.which(there)} is only in {where}"
        elif column := form.differs(one, other):
            at = form.columns.index(column)
            problem = f"{form.which(one)}: {column} is {one[at]!r:.100}, in the copy {other[at]!r:.100}"
        if problem is not None:
            raise CatalogError(f"the copy is not the same: {problem}", remedy="no copy was made; please report this")
        count += 1
        if count % BATCH == 0:
            told(f"comparing {form.name}", BATCH)
    told(f"comparing {form.name}", count % BATCH)
    return count
