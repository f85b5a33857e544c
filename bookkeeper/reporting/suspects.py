"""Whom the evidence of several processes points at: files that failed on several nodes, nodes where several files failed.

A file counts only as far as failures were charged to it: a network that was down says nothing about the file.
"""

from __future__ import annotations

import json
from typing import Any, Final

from bookkeeper import nodes
from bookkeeper.catalog import Database

SAMPLE: Final = 1000
"""Failures, the newest, and parked files, that are looked at for suspects."""

NEWEST: Final = 20
"""Failed processes of a node whose files are told apart."""

FILES: Final = """
SELECT f.name AS file, l.state, l.reason, COUNT(*) AS failures, COUNT(DISTINCT p.node) AS on_nodes,
       json_group_array(DISTINCT p.node) AS nodes, MAX(p.id) AS process_id
  FROM (SELECT d.file_id
          FROM (SELECT e.process_id
                  FROM requests r CROSS JOIN projects j CROSS JOIN events e
                 WHERE r.name = :request AND j.request_id = r.id
                   AND e.project_id = j.id AND e.kind = 'failure.classified'
                 ORDER BY e.id DESC LIMIT :sample) AS failed
         CROSS JOIN deliveries d WHERE d.process_id = failed.process_id AND d.charged
        UNION
        SELECT * FROM (SELECT l.file_id
                         FROM requests r CROSS JOIN projects j CROSS JOIN ledger l
                        WHERE r.name = :request AND j.request_id = r.id
                          AND l.project_id = j.id AND l.state = 'parked' LIMIT :sample) AS parked) AS chosen
 CROSS JOIN deliveries d CROSS JOIN processes p CROSS JOIN ledger l
  JOIN files f ON f.id = chosen.file_id
 WHERE d.file_id = chosen.file_id AND d.charged AND p.id = d.process_id
   AND p.request_id = (SELECT id FROM requests WHERE name = :request)
   AND l.request_id = p.request_id AND l.file_id = chosen.file_id AND l.state <> 'committed'
 GROUP BY f.name, l.state, l.reason HAVING COUNT(DISTINCT p.node) >= 2
 ORDER BY on_nodes DESC, failures DESC, f.name LIMIT :limit
"""

NODES: Final = """
SELECT s.node, s.processes, s.committed, s.failed + s.stageout_failures AS failures, s.waste_s, s.excluded_until,
       CASE WHEN s.node IS NULL OR s.failed + s.stageout_failures < 2 THEN 0 ELSE
       (SELECT COUNT(DISTINCT d.file_id)
          FROM (SELECT p.id FROM requests r JOIN processes p ON p.request_id = r.id
                 WHERE r.name = :request AND p.node = s.node AND p.state = 'rolled_back' AND p.delivered > 0
                 ORDER BY p.ended_at DESC LIMIT :newest) AS last JOIN deliveries d ON d.process_id = last.id) END AS files
  FROM node_summary s WHERE s.request = :request ORDER BY failures DESC, s.node
"""

PARKED: Final = """
SELECT f.name AS file, l.reason, l.attempts, l.process_id, p.node
  FROM requests r CROSS JOIN projects j CROSS JOIN ledger l
  JOIN files f ON f.id = l.file_id LEFT JOIN processes p ON p.id = l.process_id
 WHERE r.name = :request AND j.request_id = r.id AND l.project_id = j.id AND l.state = 'parked' LIMIT :limit
"""


def found(database: Database, request: str, limit: int) -> dict[str, list[dict[str, Any]]]:
    """Return the suspects of a request: ``files`` (uncommitted, failed on two nodes or more) and ``nodes``.

    A node is suspect where two files or more failed, and its share of failures is twice that of the other nodes.
    """
    files = database.rows(FILES, {"request": request, "sample": SAMPLE, "limit": limit})
    for row in files:
        row["nodes"] = [node for node in json.loads(row["nodes"]) if node is not None]
    rows = database.rows(NODES, {"request": request, "newest": NEWEST})
    totals = {key: sum(row[key] for row in rows) for key in ("failures", "committed")}
    return {"files": files, "nodes": [row for row in rows if _is_odd(row, totals)][:limit]}


def _is_odd(row: dict[str, Any], totals: dict[str, int]) -> bool:
    """Tell whether a node fails more than twice as often as the others. Alone in the world, no node is odd."""
    if row["files"] < 2:
        return False
    failures = totals["failures"] - row["failures"]
    ended = failures + totals["committed"] - row["committed"]
    own = row["failures"] / (row["failures"] + row["committed"])
    return bool(ended > 0 and own > 2 * failures / ended)


def parked(database: Database, request: str, limit: int) -> list[dict[str, Any]]:
    """Return the first parked files of a request, with the reason, the attempts and who had them last."""
    return database.rows(PARKED, {"request": request, "limit": limit})


def excluded(database: Database) -> list[dict[str, Any]]:
    """Return the nodes that are given nothing now, with the end and the reason."""
    return nodes.excluded(database)
