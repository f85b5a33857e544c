"""exclude and admit: nodes that are given nothing for a while.

Each is one statement; repeated, it prolongs an exclusion or changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from bookkeeper.catalog import NOW, Tx, storable
from bookkeeper.events import record

EXCLUDE: Final = f"""
INSERT INTO excluded_nodes (node, since, until, reason, by) VALUES (:node, {NOW}, {NOW} + :seconds, :reason, :by)
    ON CONFLICT (node) DO UPDATE SET
       until = CASE WHEN excluded_nodes.until > excluded.until THEN excluded_nodes.until ELSE excluded.until END,
       since = CASE WHEN excluded_nodes.until > {NOW} THEN excluded_nodes.since ELSE excluded.since END,
       times = excluded_nodes.times + CASE WHEN excluded_nodes.until > {NOW} THEN 0 ELSE 1 END,
       reason = excluded.reason, by = excluded.by
RETURNING until, times
"""

ADMIT: Final = f"UPDATE excluded_nodes SET until = {NOW} WHERE node = :node AND until > {NOW}"

EXCLUSION: Final = f"SELECT until, reason FROM excluded_nodes WHERE node = :node AND until > {NOW}"


def exclude(
    tx: Tx,
    node: str,
    seconds: float,
    reason: str,
    *,
    by: str,
    project: int | None = None,
    process: int | None = None,
) -> float:
    """Give a node nothing for some seconds from now; return until when (epoch seconds). What it holds it may commit."""
    asked = {"node": storable(node), "seconds": seconds, "reason": storable(reason), "by": by}
    until, times = tx.run(EXCLUDE, asked).fetchone()
    body = {"node": node, "until": until, "reason": reason, "by": by, "times": times}
    record(tx, "node.excluded", body, project=project, process=process)
    return float(until)


def admit(tx: Tx, node: str, *, by: str) -> bool:
    """Let a node take files again; tell whether it was excluded. What failed there before is forgotten."""
    admitted = tx.run(ADMIT, {"node": node}).rowcount > 0
    if admitted:
        record(tx, "node.admitted", {"node": node, "by": by})
    return admitted


def exclusion(tx: Tx, node: str) -> tuple[float, str] | None:
    """Return until when a node is excluded, and why; None where it is not."""
    row = tx.run(EXCLUSION, {"node": node}).fetchone()
    return None if row is None else (float(row[0]), str(row[1]))


def until_words(until: float) -> str:
    """Return a time in words, in the zone of this host: ``until 2026-11-21 14:05:00``."""
    return f"until {datetime.fromtimestamp(until).astimezone():%Y-%m-%d %H:%M:%S}"
