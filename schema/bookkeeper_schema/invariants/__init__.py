"""What holds in every sound catalog at every moment, as queries that find what breaks it.

A file is one invariant: its name is its code, its first line says in words what must hold, and its query answers with
one column ``thing``: in words, every thing of which that is not true. Statements are the same on every dialect.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Invariant:
    """``code`` in kebab case, ``words`` what must hold, ``query`` a SELECT with a row for each thing that breaks it."""

    code: str
    words: str
    query: str


def load() -> tuple[Invariant, ...]:
    """Return every invariant, by code."""
    folder = files("bookkeeper_schema") / "invariants"
    entries = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    found = []
    for entry in entries:
        comment, _, query = entry.read_text(encoding="utf-8").partition("\n")
        found.append(Invariant(entry.name.removesuffix(".sql"), comment.removeprefix("-- "), query.strip()))
    return tuple(found)
