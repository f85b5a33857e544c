"""What the pages say of a file, and of nodes; and what is near to a name that does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

from bookkeeper import files, nodes
from bookkeeper.catalog import Database
from bookkeeper.server.pages import newest
from bookkeeper.server.pages.requests import by_node, new_node
from bookkeeper.server.pages.retried import Retried

REQUESTS_SHOWN: Final = 50
DELIVERIES_SHOWN: Final = 50
WINDOW: Final = 10_000
"""Processes of the catalog, the newest, that the page of nodes is made of."""

LOOKED_AT: Final = 1_000
NEAR: Final = 5

STANDS: Final = """
SELECT r.name AS request, j.name AS project, l.state, l.attempts, l.reason, l.process_id, l.version, l.partition_number,
       l.not_before, p.node, p.state AS process_state, p.reason AS process_reason
  FROM (SELECT id, name FROM requests ORDER BY id DESC LIMIT :limit) AS r
  JOIN ledger l ON l.request_id = r.id AND l.file_id = :file
  JOIN projects j ON j.id = l.project_id LEFT JOIN processes p ON p.id = l.process_id
 ORDER BY r.id DESC
"""

DELIVERIES: Final = """
SELECT d.process_id AS id, j.name AS project, p.state AS process_state, p.node, d.state, d.attempt, d.charged,
       d.delivered_at, d.opened_at, d.consumed_at, d.entries_read, d.bytes_read, d.reason
  FROM deliveries d JOIN processes p ON p.id = d.process_id JOIN projects j ON j.id = p.project_id
 WHERE d.file_id = :file AND d.process_id < :before ORDER BY d.process_id DESC LIMIT :limit
"""

OUTPUTS: Final = """
SELECT o.id, o.key, o.state, o.final_url AS url, o.size, o.entries, o.process_id, o.published_at
  FROM (SELECT process_id FROM deliveries WHERE file_id = :file AND state = 'consumed'
         ORDER BY process_id DESC LIMIT :limit) AS d
  JOIN outputs o ON o.process_id = d.process_id ORDER BY o.id DESC LIMIT :limit
"""

LOCATIONS: Final = "SELECT url FROM locations WHERE file_id = :file ORDER BY url LIMIT :limit"

VERSIONS: Final = """
SELECT version, size, checksum, entries, until FROM file_versions WHERE file_id = :file ORDER BY version DESC LIMIT :limit
"""

RETIRED: Final = """
SELECT e.at, e.body FROM (SELECT at, body, file_id FROM events
 WHERE process_id IS NULL AND kind = 'file.retired' ORDER BY id DESC LIMIT :looked) AS e WHERE e.file_id = :file
"""

ALL: Final = """
SELECT p.id, p.node, p.state, p.delivered, p.started_at, p.ended_at FROM processes p ORDER BY p.id DESC LIMIT :limit
"""

NAMES: Final = "SELECT name FROM projects ORDER BY id DESC LIMIT :limit"

BEGINNING: Final = """
SELECT name FROM files WHERE name >= :begin AND name < :end ORDER BY name LIMIT :limit
"""

EXISTS: Final = "SELECT name FROM files WHERE name = :name"


def file(database: Database, name: str, *, before: int = newest.TOP) -> dict[str, Any]:
    """Return what the page of a file says. Raises `NotFound`."""
    found = files.get(database, name)
    asked = {"file": found["id"], "limit": REQUESTS_SHOWN}
    rows = database.rows(DELIVERIES, {"file": found["id"], "before": before, "limit": DELIVERIES_SHOWN + 1})
    retired = database.rows(RETIRED, {"file": found["id"], "looked": LOOKED_AT}) if found["state"] == "retired" else []
    return {
        "file": found,
        "at": database.now(),
        "locations": [row["url"] for row in database.rows(LOCATIONS, asked)],
        "versions": database.rows(VERSIONS, asked),
        "stands": database.rows(STANDS, asked),
        "deliveries": newest.Page(
            rows[:DELIVERIES_SHOWN], rows[DELIVERIES_SHOWN - 1]["id"] if len(rows) > DELIVERIES_SHOWN else None
        ),
        "outputs": database.rows(OUTPUTS, asked),
        "retired": [{**newest.body(row["body"]), "at": row["at"]} for row in retired],
    }


def all_nodes(database: Database) -> dict[str, Any]:
    """Return how the newest processes of all requests fared on every node, and which nodes are excluded."""
    rows = database.rows(ALL, {"limit": WINDOW})
    excluded = {row["node"]: row for row in nodes.excluded(database)}
    retried = Retried(database, (row["id"] for row in rows if row["state"] == "rolled_back" and row["delivered"]))
    found = by_node(rows, excluded, retried)
    known = {row["node"] for row in found}
    found += [new_node(node, excluded) for node in sorted(excluded.keys() - known)]
    return {
        "rows": found,
        "at": database.now(),
        "processes": len(rows),
        "whole": len(rows) < WINDOW,
        "retried_whole": retried.whole,
    }


def near_projects(database: Database, name: str) -> list[str]:
    """Return the names of projects that are near to one, of the newest thousand."""
    names = [row["name"] for row in database.rows(NAMES, {"limit": LOOKED_AT})]
    begin = [one for one in names if name and one.startswith(name)]
    inside = [one for one in names if name and name.lower() in one.lower()]
    return list(dict.fromkeys([*begin, *get_close_matches(name[:200], names, n=NEAR), *inside]))[:NEAR]


def near_files(database: Database, name: str) -> list[str]:
    """Return the names of files that begin with a name, or look like it."""
    asked = {"begin": name, "end": f"{name}\U0010ffff", "limit": NEAR}
    begin = [row["name"] for row in database.rows(BEGINNING, asked)] if name else []
    return list(dict.fromkeys([*begin, *files.alike(database, name)]))[:NEAR]


def exists(database: Database, name: str) -> bool:
    """Tell whether a file has this name."""
    return database.one(EXISTS, {"name": name}) is not None
