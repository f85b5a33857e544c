"""What is known of a request at one moment: what `status` and `submit` show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import Incomplete, Paused

if TYPE_CHECKING:
    from bookkeeper.catalog import Database
    from bookkeeper.projects import RequestStatus

REASONS: Final = 5
LIVE: Final = 8
RECENT: Final = 50
SAMPLE: Final = 1000

_LIVE: Final = """
SELECT p.process_id, p.project, p.state, p.node, p.job_id, p.delivered, p.consumed, p.started_at
  FROM process_summary p
 WHERE p.state IN ('active', 'staged') AND p.project IN (SELECT project FROM project_summary WHERE request = :request)
 ORDER BY p.process_id LIMIT :limit
"""
_RECENT: Final = """
SELECT sum(consumed) AS files, sum(entries_read) AS entries, min(started_at) AS since, max(ended_at) AS until
  FROM (SELECT p.consumed, p.entries_read, p.started_at, p.ended_at FROM process_summary p
         WHERE p.state = 'committed' AND p.project IN (SELECT project FROM project_summary WHERE request = :request)
         ORDER BY p.process_id DESC LIMIT :limit) AS last
"""
_REASONS: Final = """
SELECT CASE WHEN reason LIKE 'process % rolled back: %' THEN substr(reason, instr(reason, ' rolled back: ') + 1)
            WHEN reason LIKE 'process % revoked: %' THEN substr(reason, instr(reason, ' revoked: ') + 1)
            WHEN reason LIKE 'held by process %' THEN 'held by a live process'
            WHEN reason LIKE 'left unread by process %' THEN 'left unread'
            ELSE reason END AS why, state, count(*) AS files, part AS of
  FROM (SELECT * FROM (SELECT 'parked' AS part, state, reason FROM uncommitted
                        WHERE request = :request AND state = 'parked' LIMIT :sample)
        UNION ALL
        SELECT * FROM (SELECT 'held', state, reason FROM uncommitted
                        WHERE request = :request AND state = 'held' LIMIT :sample)
        UNION ALL
        SELECT * FROM (SELECT 'tried', state, reason FROM uncommitted
                        WHERE request = :request AND state = 'available' AND attempts > 0 LIMIT :sample)
        UNION ALL
        SELECT * FROM (SELECT 'fresh', state, reason FROM uncommitted
                        WHERE request = :request AND state = 'available' AND attempts = 0 LIMIT :sample)) AS sampled
 GROUP BY why, state, part ORDER BY files DESC, why
"""


def look(database: Database, project: str) -> dict[str, Any]:
    """Return all that the screen shows."""
    from bookkeeper import projects

    now = projects.status(database, project)
    view = overview(database, now.open_project or project, now)
    view |= _pace(database, now)
    view["reasons"] = _reasons(database, now) if now.committed < now.files else []
    return {**view, "next": next_steps(view)}


def _reasons(database: Database, now: RequestStatus) -> list[dict[str, Any]]:
    """Return the commonest reasons why files do not count: ``why``, ``state``, ``files``, ``at_least``.

    Of each part of the files (parked, held, tried before, fresh) no more than a sample is looked at, so that the screen
    comes at once, however many files there are; where that was not all of the part, ``files`` is a lower bound.
    """
    rows = database.rows(_REASONS, {"request": now.request, "sample": SAMPLE})
    looked_at: dict[str, int] = {}
    for row in rows:
        looked_at[row["of"]] = looked_at.get(row["of"], 0) + row["files"]
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        one = merged.setdefault((row["why"], row["state"]), {"why": row["why"], "state": row["state"], "files": 0})
        one["files"] += row["files"]
        one["at_least"] = one.get("at_least", False) or looked_at[row["of"]] == SAMPLE
    return sorted(merged.values(), key=lambda one: -one["files"])[:REASONS]


def overview(database: Database, project: str, now: RequestStatus) -> dict[str, Any]:
    """Return the numbers of a request, and its live processes (the first of them)."""
    live = database.rows(_LIVE, {"request": now.request, "limit": LIVE}) if now.live else []
    clock = database.now()
    for row in live:
        row["running_s"] = clock - row["started_at"]
    return {"project": project, **now.as_dict(), "processes": live}


def over(view: dict[str, Any]) -> bool:
    """Tell whether there is nothing to wait for."""
    return bool(
        view["complete"] or view["open_state"] == "paused" or (view["open_project"] is None and not view["live"])
    )


def _pace(database: Database, now: RequestStatus) -> dict[str, Any]:
    """Return files and events per second of the last processes that committed, and how long the rest would take."""
    row = database.one(_RECENT, {"request": now.request, "limit": RECENT}) if now.commits else None
    if not row or not row["files"]:
        return {"files_per_s": None, "events_per_s": None, "eta_s": None}
    until = database.now() if now.live else row["until"]
    elapsed = max(until - row["since"], 1e-3)
    rest = now.held + now.available
    rate = row["files"] / elapsed
    return {
        "files_per_s": rate,
        "events_per_s": row["entries"] / elapsed if row["entries"] else None,
        "eta_s": rest / rate if now.live and rest else None,
    }


def next_steps(view: dict[str, Any]) -> list[str]:
    """Return what to type next."""
    name = view["open_project"] or view["project"]
    if view["complete"]:
        return [f"bookkeeper outputs {name} --paths"]
    if view["open_state"] == "paused":
        return [f"bookkeeper project resume {name}   (when the cause is mended)"]
    if view["live"]:
        return [f"bookkeeper status {name} --wait"]
    if view["unpublished"] and view["committed"] == view["files"]:
        return ["bookkeeper check --repair   (publishes what is committed)"]
    if view["available"] + view["held"] == 0:
        return [f"bookkeeper recover {name} --dry-run   (says why)", f"bookkeeper project unpark {name} --all"]
    if view["open_project"] is None:
        return [f"bookkeeper recover {name}"]
    return [f"bookkeeper submit SPEC.toml   (or: bookkeeper work {name} … -- COMMAND …)"]


def verdict(view: dict[str, Any]) -> int:
    """Return the exit code that tells complete, incomplete and paused."""
    if view["complete"]:
        return 0
    return Paused.exit_code if view["open_state"] == "paused" else Incomplete.exit_code
