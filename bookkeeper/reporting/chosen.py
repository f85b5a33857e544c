"""Ask for chosen rows, so many at a time, by one statement whose text is always the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

SLOTS: Final = 200

PLACES: Final = ", ".join("?" * SLOTS)
"""What stands in the parentheses of ``IN (…)``."""


def slots(numbers: Sequence[int]) -> Iterator[tuple[int | None, ...]]:
    """Yield the numbers in portions that fill the places; the last is filled up with NULL, which matches nothing."""
    for begin in range(0, len(numbers), SLOTS):
        portion = numbers[begin : begin + SLOTS]
        yield (*portion, *[None] * (SLOTS - len(portion)))
