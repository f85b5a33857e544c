"""Nodes as people speak of them: list, exclude, admit."""

from __future__ import annotations

import getpass
from typing import Any, Final

from bookkeeper.catalog import NOW, Database
from bookkeeper.errors import NotFound, UsageError
from bookkeeper.ledger import nodes
from bookkeeper.operations import operation

EXCLUDED: Final = f"""
SELECT node, since, until, reason, by, times FROM excluded_nodes WHERE until > {NOW} ORDER BY node
"""

KNOWN: Final = """
SELECT 1 FROM processes WHERE node = :node UNION ALL SELECT 1 FROM excluded_nodes WHERE node = :node LIMIT 1
"""

SUMMARY: Final = """
SELECT node, sum(processes) AS processes, sum(running) AS running, sum(committed) AS committed, sum(failed) AS failed,
       sum(stageout_failures) AS stageout_failures, sum(wall_time_s) AS wall_time_s, sum(waste_s) AS waste_s,
       max(last_failure) AS last_failure, sum(failed_files) AS failed_files, sum(retried) AS retried, sum(recovered) AS recovered
  FROM node_summary WHERE node IS NOT NULL GROUP BY node ORDER BY node
"""

NUMBERS: Final = (
    *("processes", "running", "committed", "failed", "stageout_failures", "wall_time_s", "waste_s"),
    *("failed_files", "retried", "recovered"),
)


@operation("read")
def list_all(database: Database) -> list[dict[str, Any]]:
    """Return every node that ran a process or is excluded: its numbers over all requests, and its exclusion.

    Keys: node, processes, running, committed, failed, stageout_failures, wall_time_s, waste_s (seconds), last_failure;
    failed_files, retried, recovered (a file counts once in each request); excluded_until and excluded_since (epoch seconds,
    or None), reason, by, times.
    """
    exclusions = {row["node"]: row for row in excluded(database)}
    found = {row["node"]: row for row in database.rows(SUMMARY)}
    for node in exclusions.keys() - found.keys():
        found[node] = {"node": node, **dict.fromkeys(NUMBERS, 0), "last_failure": None}
    return [{**row, **_exclusion(exclusions.get(node, {}))} for node, row in sorted(found.items())]


def _exclusion(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "excluded_until": row.get("until"),
        "excluded_since": row.get("since"),
        "reason": row.get("reason"),
        "by": row.get("by"),
        "times": row.get("times", 0),
    }


@operation("read")
def excluded(database: Database) -> list[dict[str, Any]]:
    """Return the nodes that are excluded now: node, since, until (epoch seconds), reason, by, times."""
    return database.rows(EXCLUDED)


@operation("operate", here={"by": getpass.getuser}, again=True)
def exclude(database: Database, node: str, *, reason: str, seconds: float = 3600.0, by: str | None = None) -> float:
    """Give a node nothing for some seconds from now; return until when. Live processes there may still commit."""
    if not node.strip():
        raise UsageError("a node has a name", remedy="`bookkeeper node list` names those that ran something")
    if not reason.strip():
        raise UsageError("excluding a node needs a reason", remedy="--reason tells those who come later why")
    if not seconds > 0:
        raise UsageError(f"a node is excluded for some time, not {seconds} s", remedy='for example "2h"')
    who = by or getpass.getuser()
    return database.run(lambda tx: nodes.exclude(tx, node, seconds, reason.strip(), by=who), durable=True)


@operation("operate", here={"by": getpass.getuser})
def admit(database: Database, node: str, *, by: str | None = None) -> bool:
    """Let a node take files again; tell whether it was excluded. Raises `NotFound` for a node nobody heard of."""
    if database.one(KNOWN, {"node": node}) is None:
        raise NotFound(f"there is no node {node!r}", remedy="`bookkeeper node list` names them")
    who = by or getpass.getuser()
    return database.run(lambda tx: nodes.admit(tx, node, by=who), durable=True)
