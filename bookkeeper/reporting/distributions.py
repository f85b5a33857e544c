"""Many numbers in few: quantiles, and counts in equal bins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

BINS: Final = 24

QUANTILES: Final = (("min", 0.0), ("median", 0.5), ("p95", 0.95), ("max", 1.0))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of numbers in ascending order, at least one, interpolated between neighbours.

    The method is the default of R and NumPy (type 7 of Hyndman and Fan, The American Statistician 50 (1996) 361).
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Iterable[float]) -> float:
    """Return the median of numbers, at least one."""
    return quantile(sorted(values), 0.5)


def distribution(values: Iterable[float | None], bins: int = BINS) -> dict[str, Any] | None:
    """Return how numbers are distributed; None where there are none. What is not known does not count.

    Keys: ``count``, ``min``, ``median``, ``p95``, ``max``, ``mean``, ``edges`` (bins + 1, from 0 or below) and ``counts``.
    """
    ordered = sorted(value for value in values if value is not None and math.isfinite(value))
    if not ordered:
        return None
    low, high = min(0.0, ordered[0]), ordered[-1]
    if high <= low:
        high = low + 1.0
    width = (high - low) / bins
    counts = [0] * bins
    for value in ordered:
        counts[min(bins - 1, int((value - low) / width))] += 1
    found = {name: quantile(ordered, share) for name, share in QUANTILES}
    edges = [low + number * width for number in range(bins + 1)]
    return {"count": len(ordered), **found, "mean": math.fsum(ordered) / len(ordered), "edges": edges, "counts": counts}
