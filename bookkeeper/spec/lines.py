"""In which line of a TOML file each key stands, for error messages: `tomllib` does not tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

Place = tuple[str | int, ...]

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED: Final = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE: Final = re.compile(rf"\s*\[\s*({_DOTTED})\s*\]")
_ARRAY: Final = re.compile(rf"\s*\[\[\s*({_DOTTED})\s*\]\]")
_ASSIGNMENT: Final = re.compile(rf"\s*({_DOTTED})\s*=")
_PART: Final = re.compile(_KEY)


def lines_of(text: str) -> dict[Place, int]:
    """Return the line (from 1) of every table and key that begins a line; of what is repeated, the first.

    What stands in an inline table or in a value over several lines is not found; its table or key is.
    """
    found: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _ARRAY.match(line):
            name = _parts(match.group(1))
            table = (*name, counts.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
            found.setdefault(name, number)
            found.setdefault(table, number)
        elif match := _TABLE.match(line):
            table = _parts(match.group(1))
            found.setdefault(table, number)
        elif match := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_parts(match.group(1))), number)
    return found


def line_of(place: Place, lines: Mapping[Place, int]) -> int | None:
    """Return the line of a key, else of the nearest thing around it; None where nothing of it is there."""
    for end in range(len(place), 0, -1):
        part = place[:end]
        for candidate in (part, tuple(step for step in part if isinstance(step, str))):
            if candidate in lines:
                return lines[candidate]
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
