"""The failures of a request: by category, by rule, by message, by node; what was decided, and whom to suspect.

The failures are read once, already counted by (category, rule, message, node); everything else is sums of these cells, but
for files: one may be in several cells, so another statement counts different ones.
The number of statements does not depend on how many failures, files or nodes there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bookkeeper import projects
from bookkeeper.catalog import Database
from bookkeeper.operations import operation
from bookkeeper.reporting import decisions, retried, suspects
from bookkeeper.reporting.chosen import PLACES, slots

LIMIT: Final = 10
"""Entries of every list, unless more are asked for."""

NAMED: Final = ("category", "rule", "confidence", "remedy")
COUNTED: Final = ("processes", *retried.KEYS, "waste_s", "last_at", "examples")

EXAMPLES: Final = 3
LOOKED_AT: Final = 20
"""Processes of a message whose files are looked at, the newest; where there are more, counts are lower bounds."""

CELLS: Final = f"""
SELECT f.category, f.rule, {retried.FINGERPRINT} AS fingerprint, f.node,
       COUNT(*) AS processes, SUM(CASE WHEN f.files > 0 THEN f.wall_time_s ELSE 0.0 END) AS waste_s,
       MAX(f.at) AS last_at, MAX(f.message) AS message, MAX(f.remedy) AS remedy, MAX(f.confidence) AS confidence,
       json_group_array(f.process_id) AS ids
  FROM failures f
 WHERE {retried.CHOSEN}
 GROUP BY f.category, f.rule, {retried.FINGERPRINT}, f.node
"""

FILES_OF: Final = f"""
SELECT d.process_id, f.name AS file FROM deliveries d JOIN files f ON f.id = d.file_id
 WHERE d.process_id IN ({PLACES}) ORDER BY d.process_id DESC, f.name
"""


@dataclass(slots=True)
class Cell:
    """Failures that are alike: same category, rule, message and node. ``waste_s`` is wall time of processes that had files."""

    category: str
    rule: str
    fingerprint: str
    node: str | None
    processes: int
    waste_s: float
    last_at: float
    message: str | None
    remedy: str | None
    confidence: float | None
    ids: list[int]


@operation("read", slow=True)
def failures_of(
    database: Database,
    project: str,
    *,
    category: str | None = None,
    node: str | None = None,
    rule: str | None = None,
    limit: int = LIMIT,
) -> dict[str, Any]:
    """Return the failures of the request that ``project`` belongs to, as JSON can hold it.

    Keys: ``request``, ``processes`` (failed ones), ``files`` (different ones of these), ``waste_s``, and lists of at most
    ``limit``, worst first: ``categories``, ``rules``, ``messages``, ``nodes``, whose rows say what became of their files
    (`retried.KEYS`); ``decisions``, ``suspects``, ``parked``, ``excluded``, ``next`` (what to type). The filters narrow the
    counts, not the suspects. Raises `NotFound`.
    """
    now = projects.status(database, project)
    asked = {"category": category, "node": node, "rule": rule}
    cells = _cells(database, {"request": now.request, **asked})
    files = retried.counted(database, {"request": now.request, **asked}) if cells else {}
    messages = _grouped(cells, "message", files, limit)
    _name_files(database, messages)
    found = {
        "request": now.request,
        "project": project,
        "filters": {name: value for name, value in asked.items() if value is not None},
        "processes": sum(cell.processes for cell in cells),
        "files": files["all"][()]["files"] if files else 0,
        "waste_s": sum(cell.waste_s for cell in cells),
        "categories": [_only(row, "category", *COUNTED, "nodes") for row in _grouped(cells, "category", files, None)],
        "rules": [_only(row, *NAMED, *COUNTED, "nodes") for row in _grouped(cells, "rule", files, limit)],
        "messages": [_only(row, "message", *NAMED, *COUNTED, "nodes", "concerned") for row in messages],
        "nodes": [_only(row, "node", *COUNTED) for row in _grouped(cells, "node", files, limit)],
        "decisions": decisions.made(database, now.request, limit),
        "suspects": suspects.found(database, now.request, limit),
        "parked": {"count": now.parked, "files": suspects.parked(database, now.request, limit) if now.parked else []},
        "excluded": suspects.excluded(database),
    }
    return {**found, "next": _next(found, now.open_project or project, now.open_state)}


def _cells(database: Database, parameters: Mapping[str, Any]) -> list[Cell]:
    return [
        Cell(**{**row, "ids": sorted(json.loads(row["ids"]), reverse=True)}) for row in database.rows(CELLS, parameters)
    ]


def _grouped(
    cells: Iterable[Cell], by: str, files: Mapping[str, retried.Counts], limit: int | None
) -> list[dict[str, Any]]:
    """Return the sums of the cells of every group of `retried.GROUPS`, with what became of their files; those with most
    processes first."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(getattr(cell, name) for name in retried.GROUPS[by]), []).append(cell)
    rows = [{**_sum(group), **(files[by].get(key) or retried.none())} for key, group in groups.items()]
    return sorted(rows, key=lambda row: (-row["processes"], -row["last_at"]))[:limit]


def _sum(cells: list[Cell]) -> dict[str, Any]:
    """Return one row for cells that belong together; what names them is taken from the commonest."""
    first = max(cells, key=lambda cell: cell.processes)
    newest = sorted((one for cell in cells for one in cell.ids[:LOOKED_AT]), reverse=True)
    nodes: dict[str | None, int] = {}
    for cell in cells:
        nodes[cell.node] = nodes.get(cell.node, 0) + cell.processes
    return {
        "category": first.category,
        "rule": first.rule,
        "node": first.node,
        "message": first.fingerprint or first.message or "",
        "remedy": first.remedy,
        "confidence": first.confidence,
        "processes": sum(cell.processes for cell in cells),
        "waste_s": sum(cell.waste_s for cell in cells),
        "last_at": max(cell.last_at for cell in cells),
        "nodes": some(sorted(nodes, key=lambda name: (-nodes[name], name or "")), len(nodes)),
        "examples": newest[:EXAMPLES],
        "newest": newest[:LOOKED_AT],
    }


def _only(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: row[key] for key in keys}


def _name_files(database: Database, messages: list[dict[str, Any]]) -> None:
    """Say of every message which files were concerned."""
    chosen = [process for row in messages for process in row["newest"]]
    files: dict[int, list[str]] = {}
    for portion in slots(chosen):
        for row in database.rows(FILES_OF, portion):
            files.setdefault(row["process_id"], []).append(row["file"])
    for row in messages:
        looked_at = row["newest"]
        names = list(dict.fromkeys(name for process in looked_at for name in files.get(process, ())))
        row["concerned"] = some(names, len(names), at_least=row["processes"] > len(looked_at))


def some(names: Iterable[Any], count: int, *, at_least: bool = False) -> dict[str, Any]:
    """Return the first names of a list and how many it has; ``at_least`` where not all were looked at."""
    return {"names": list(names)[:EXAMPLES], "count": count, "at_least": at_least}


def _next(found: Mapping[str, Any], project: str, state: str | None) -> list[str]:
    """Return what to type next."""
    steps = []
    if found["messages"]:
        steps.append(f"bookkeeper failures process {found['messages'][0]['examples'][0]}   (one of them, in full)")
    if found["parked"]["count"]:
        steps.append(f"bookkeeper project unpark {project} --all   (when the files are mended)")
    if found["excluded"]:
        steps.append(f"bookkeeper node admit {found['excluded'][0]['node']}   (when the node is mended)")
    if state == "paused":
        steps.append(f"bookkeeper project resume {project}   (when the cause is mended)")
    return steps or [f"bookkeeper status {project}"]
