"""How a request runs: nodes, time and memory, slow nodes, progress, waste, efficiency.

A handful of statements, whatever the size of the request; each reads at most a row per process, none a row per file.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from bookkeeper import projects
from bookkeeper.catalog import Database
from bookkeeper.operations import operation
from bookkeeper.reporting import slowness
from bookkeeper.reporting.distributions import distribution

INTERVALS: Final = 48
"""Into how many equal parts the time of a request is divided."""

NODES: Final = "SELECT * FROM node_summary WHERE request = :request ORDER BY wall_time_s DESC, processes DESC, node"

PROCESSES: Final = """
SELECT p.state, p.started_at, p.ended_at, p.delivered,
       (SELECT COUNT(*) FROM deliveries d WHERE d.process_id = p.id AND d.state = 'consumed') AS files
  FROM requests r JOIN processes p ON p.request_id = r.id WHERE r.name = :request AND p.ended_at IS NOT NULL
"""

MEASURED: Final = """
SELECT node, state, wall_s, cpu_s, peak_rss_mb, read_bytes, written_bytes, input_bytes, throughput_mbs, entries, entries_per_s
  FROM performance WHERE request = :request
"""

WASTE: Final = """
SELECT category, COUNT(*) AS processes, SUM(wall_time_s) AS waste_s
  FROM failures WHERE request = :request AND files > 0 GROUP BY category ORDER BY waste_s DESC, category
"""

LOST: Final = """
SELECT COUNT(*) AS processes FROM requests r JOIN processes p ON p.request_id = r.id
 WHERE r.name = :request AND p.state = 'rolled_back' AND p.delivered > 0
"""

COMMITTED: Final = frozenset({"committed", "revoking"})


@operation("read", slow=True)
def performance_of(database: Database, project: str) -> dict[str, Any]:
    """Return how the request of ``project`` runs, as JSON can hold it. Raises `NotFound`.

    Keys: ``request``, ``status`` (as `bookkeeper status` has it), ``at``; ``totals``; ``nodes`` (rows of `node_summary`,
    those with most wall time first); ``wall_time_s``, ``peak_rss_mb``, ``cpu_efficiency`` and ``speed`` (which has a
    ``unit``), each a `distribution` or None; ``slow_nodes``; ``progress`` (intervals of equal length); ``waste`` (by category). Times are seconds, sizes bytes.
    """
    now = projects.status(database, project)
    asked = {"request": now.request}
    nodes = database.rows(NODES, asked)
    ended = database.rows(PROCESSES, asked)
    measured = database.rows(MEASURED, asked)
    clock = database.now()
    for row in nodes:
        row["excluded"] = row["excluded_until"] is not None and row["excluded_until"] > clock
    return {
        "request": now.request,
        "project": project,
        "at": clock,
        "status": now.as_dict(),
        "totals": _totals(nodes, measured),
        "nodes": nodes,
        "wall_time_s": distribution(row["ended_at"] - row["started_at"] for row in ended if row["state"] in COMMITTED),
        "peak_rss_mb": distribution(row["peak_rss_mb"] for row in measured),
        "cpu_efficiency": distribution(_efficiency(row["cpu_s"], row["wall_s"]) for row in measured),
        "speed": _speed([row for row in measured if row["state"] in COMMITTED]),
        "slow_nodes": slowness.slow_nodes([row for row in measured if row["state"] in COMMITTED]),
        "progress": progress_of(ended, now.started_at),
        "waste": _waste(database, asked, sum(row["waste_s"] for row in nodes)),
    }


def _totals(nodes: list[dict[str, Any]], measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Return sums over all nodes, and over all measured processes; a sum of which nothing is known is None."""
    keys = ("processes", "running", "committed", "failed", "stageout_failures", "wall_time_s", "waste_s")
    sums: dict[str, Any] = {key: sum(row[key] for row in nodes) for key in keys}
    sums["waste_share"] = sums["waste_s"] / sums["wall_time_s"] if sums["wall_time_s"] else None
    sums["measured"] = len(measured)
    for key in ("cpu_s", "read_bytes", "written_bytes", "input_bytes", "entries"):
        known = [row[key] for row in measured if row[key] is not None]
        sums[key] = sum(known) if known else None
    timed = [row for row in measured if row["cpu_s"] is not None and row["wall_s"]]
    sums["cpu_efficiency"] = _efficiency(
        sum(row["cpu_s"] for row in timed) if timed else None, sum(row["wall_s"] for row in timed)
    )
    return sums


def _efficiency(cpu: float | None, wall: float | None) -> float | None:
    """Return CPU time over wall time: 1 is one busy core; None where either is not known."""
    return cpu / wall if cpu is not None and wall else None


def _speed(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return how fast processes were, in the best unit that is known of any."""
    for key, unit in slowness.MEASURES:
        found = distribution(row[key] for row in rows)
        if found is not None:
            return {"unit": unit, **found}
    return None


def progress_of(ended: list[dict[str, Any]], began: float) -> list[dict[str, Any]]:
    """Return, for equal intervals up to the last end of a process (rows with state, started_at, ended_at, delivered and
    ``files``, those that it consumed): ``begin``, ``end``, ``committed`` and ``rolled_back``
    (processes), ``files`` (of those that were committed).
    """
    if not ended:
        return []
    first = min(began, *(row["started_at"] for row in ended))
    length = max(max(row["ended_at"] for row in ended) - first, 1e-3) / INTERVALS
    parts: dict[int, dict[str, int]] = defaultdict(lambda: {"committed": 0, "rolled_back": 0, "files": 0})
    for row in ended:
        part = parts[min(INTERVALS - 1, int((row["ended_at"] - first) / length))]
        if row["state"] in COMMITTED:
            part["committed"] += 1
            part["files"] += row["files"]
        elif row["delivered"]:
            part["rolled_back"] += 1
    return [
        {"begin": first + number * length, "end": first + (number + 1) * length, **parts[number]}
        for number in range(INTERVALS)
    ]


def _waste(database: Database, asked: dict[str, Any], whole: float) -> list[dict[str, Any]]:
    """Return the wall time of rolled-back processes that had files, by category; interrupted ones have their own row."""
    rows = database.rows(WASTE, asked)
    failed = sum(row["processes"] for row in rows)
    lost = sum(row["processes"] for row in database.rows(LOST, asked))
    if lost > failed:
        rest = max(0.0, whole - sum(row["waste_s"] for row in rows))
        rows.append({"category": "interrupted", "processes": lost - failed, "waste_s": rest})
    return sorted(rows, key=lambda row: -row["waste_s"])
