"""Nodes that are slower than the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bookkeeper.reporting.distributions import median

SLOW: Final = 2.0
"""A node is slow whose median is so many times worse than the median of all processes."""

ENOUGH: Final = 3
"""Processes that the median of a node needs."""

MEASURES: Final = (("entries_per_s", "entries/s"), ("throughput_mbs", "MB/s"))
"""What speed is measured by, best first: entries are the work, bytes stand in for it."""


def slow_nodes(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the slow nodes of measured processes (rows of `performance`), the slowest first.

    Keys: ``node``, ``processes``, ``unit``, ``median``, ``whole`` (the median of all nodes) and ``times`` (how many times
    slower).
    """
    found: dict[str, dict[str, Any]] = {}
    for key, unit in MEASURES:
        speeds: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if row["node"] is not None and row[key]:
                speeds[row["node"]].append(row[key])
        if not speeds:
            continue
        whole = median(speed for some in speeds.values() for speed in some)
        for node in speeds.keys() - found.keys():
            if len(speeds[node]) >= ENOUGH:
                own = median(speeds[node])
                said = {"node": node, "processes": len(speeds[node]), "unit": unit}
                found[node] = {**said, "median": own, "whole": whole, "times": whole / own}
    slow = [row for row in found.values() if row["times"] > SLOW]
    return sorted(slow, key=lambda row: (-row["times"], row["node"]))
