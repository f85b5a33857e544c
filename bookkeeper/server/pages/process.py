"""What the page of a process says: steps, files, measures, outputs, the failure and the end of its log."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bookkeeper import logs
from bookkeeper.catalog import Database
from bookkeeper.errors import NotFound
from bookkeeper.failures.redaction import redacted
from bookkeeper.server.pages import newest

ELSEWHERE: Final = frozenset({"step.started", "step.ended", "perf.recorded", "failure.classified", "retry.decided"})
"""Events that the page shows in a place of their own."""

FILES_SHOWN: Final = 50
COUNTED: Final = 2_000
"""Deliveries of a process that are counted by state."""

EVENTS_SHOWN: Final = 50
TAIL_BYTES: Final = 16_384
TAIL_LINES: Final = 60

PROCESS: Final = """
SELECT p.id, p.state, p.node, p.executor, p.job_id, p.partition_number, p.files_per_process, p.delivered, p.lease,
       p.lease_until, p.wall_until, p.no_output, p.started_at, p.ended_at, p.reason, j.name AS project, r.name AS request
  FROM processes p JOIN projects j ON j.id = p.project_id JOIN requests r ON r.id = p.request_id WHERE p.id = :process
"""

COUNTS: Final = """
SELECT d.state, COUNT(*) AS files, SUM(d.entries_read) AS entries, SUM(d.bytes_read) AS bytes
  FROM (SELECT state, entries_read, bytes_read FROM deliveries
         WHERE process_id = :process ORDER BY file_id LIMIT :limit) AS d
 GROUP BY d.state ORDER BY d.state
"""

FILES: Final = """
SELECT d.file_id AS id, f.name AS file, d.state, d.attempt, d.charged, d.delivered_at, d.opened_at, d.consumed_at,
       d.entries_read, d.bytes_read, d.reason
  FROM deliveries d JOIN files f ON f.id = d.file_id
 WHERE d.process_id = :process AND d.file_id > :after ORDER BY d.file_id LIMIT :limit
"""

LAST: Final = """
SELECT e.at, e.body FROM events e WHERE e.process_id = :process AND e.kind = :kind ORDER BY e.id DESC LIMIT :limit
"""

EVENTS: Final = """
SELECT e.id, e.at, e.kind, e.body FROM events e WHERE e.process_id = :process ORDER BY e.id DESC LIMIT :limit
"""

PERFORMANCE: Final = "SELECT * FROM performance WHERE process_id = :process"

NEAREST: Final = "SELECT MAX(id) AS last FROM processes"


def process(database: Database, number: int, *, after: int = 0, with_logs: bool = True) -> dict[str, Any]:
    """Return what the page of a process says. Raises `NotFound`."""
    row = database.one(PROCESS, {"process": number})
    if row is None:
        last = (database.one(NEAREST) or {"last": None})["last"]
        known = f"the newest is process {last}" if last else "no process has started yet"
        raise NotFound(f"there is no process {number}", remedy=known)
    clock = database.now()
    files = database.rows(FILES, {"process": number, "after": after, "limit": FILES_SHOWN + 1})
    counts = database.rows(COUNTS, {"process": number, "limit": COUNTED})
    until = row["ended_at"] or clock
    return {
        "process": row,
        "at": clock,
        "is_live": row["ended_at"] is None,
        "lasted": until - row["started_at"],
        "heard": row["lease_until"] - row["lease"],
        "steps": steps(_bodies(database, number, "step.started"), _bodies(database, number, "step.ended"), row, until),
        "counts": counts,
        "counted_all": row["delivered"] <= COUNTED,
        "measured": database.one(PERFORMANCE, {"process": number}),
        "slowest": _slowest(_bodies(database, number, "perf.recorded", 1)),
        "files": newest.Page(files[:FILES_SHOWN], files[FILES_SHOWN - 1]["id"] if len(files) > FILES_SHOWN else None),
        "outputs": database.rows(newest.OUTPUTS, {"process": number, "limit": FILES_SHOWN}),
        "failure": next(iter(_bodies(database, number, "failure.classified", 1)), None)
        if row["state"] == "rolled_back"
        else None,
        "decision": next(iter(_bodies(database, number, "retry.decided", 1)), None),
        "events": _events(database, number),
        "logs": tails(database, number) if with_logs else None,
        "with_logs": with_logs,
    }


def _bodies(database: Database, number: int, kind: str, limit: int = EVENTS_SHOWN) -> list[dict[str, Any]]:
    """Return the newest events of one kind, newest first."""
    rows = database.rows(LAST, {"process": number, "kind": kind, "limit": limit})
    return [{**newest.body(row["body"]), "at": row["at"]} for row in rows]


def _events(database: Database, number: int) -> list[dict[str, Any]]:
    rows = database.rows(EVENTS, {"process": number, "limit": EVENTS_SHOWN})
    return [{**row, "body": newest.body(row["body"])} for row in rows if row["kind"] not in ELSEWHERE]


def _slowest(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the files that took longest, as far as the command told."""
    files = measured[0].get("files") if measured else None
    return [one for one in files if isinstance(one, dict)][:5] if isinstance(files, list) else []


def steps(
    started: Sequence[Mapping[str, Any]], ended: Sequence[Mapping[str, Any]], row: Mapping[str, Any], until: float
) -> list[dict[str, Any]]:
    """Return the steps in their order, each with outcome, seconds, and its place in the time of the process (0 to 1).

    A step's end is known by its length, which the worker measured: the event of it comes with the next step.
    """
    length = max(until - row["started_at"], 1e-3)
    outcomes = {str(one.get("step")): one for one in reversed(ended)}
    found: dict[str, dict[str, Any]] = {}
    for one in reversed(started):
        name = str(one.get("step"))
        end = outcomes.get(name)
        under_way = end is None and row["ended_at"] is None
        known = end.get("seconds") if end else None
        seconds = float(known) if isinstance(known, int | float) else max(0.0, until - one["at"])
        begin = min(1.0, max(0.0, (one["at"] - row["started_at"]) / length))
        found[name] = {
            "step": name,
            "outcome": str(end.get("outcome")) if end else "under way" if under_way else "not ended",
            "tone": _tone(str(end.get("outcome")) if end else "", under_way=under_way),
            "reason": end.get("reason") if end else None,
            "at": one["at"],
            "seconds": seconds if end or under_way else None,
            "begin": begin,
            "width": min(1.0 - begin, seconds / length),
        }
    return list(found.values())


def _tone(outcome: str, *, under_way: bool) -> str:
    if under_way:
        return "live"
    return {"ok": "good", "failed": "bad", "nothing": "idle"}.get(outcome, "warn")


def tails(database: Database, number: int) -> list[dict[str, Any]]:
    """Return the ends of what the command of a process wrote, as far as it is kept on this host; secrets are hidden."""
    found = []
    for name, path in zip(("stdout", "stderr"), logs.paths(database, number), strict=True):
        text = _tail(path)
        if text is not None:
            found.append({"name": name, **text})
    return found


def _tail(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            data = stream.read(TAIL_BYTES)
    except OSError:
        return None  # it is on another host, or there was no command
    lines = data.decode("utf-8", "replace").splitlines()
    if size > TAIL_BYTES:
        lines = lines[1:]
    return {
        "size": size,
        "cut": size > TAIL_BYTES or len(lines) > TAIL_LINES,
        "text": redacted("\n".join(lines[-TAIL_LINES:])),
    }
