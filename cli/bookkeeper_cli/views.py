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

_LIVE: Final = """
SELECT p.id AS process_id, j.name AS project, p.state, p.node, p.job_id, p.delivered,
       (SELECT count(*) FROM deliveries d WHERE d.process_id = p.id AND d.state = 'consumed') AS consumed, p.started_at
  FROM processes p JOIN projects j ON j.id = p.project_id
 WHERE p.request_id = (SELECT id FROM requests WHERE name = :request) AND p.state IN ('active', 'staged')
 ORDER BY p.id LIMIT :limit
"""
_RECENT: Final = """
SELECT sum(files) AS files, sum(entries) AS entries, min(started_at) AS since, max(ended_at) AS until
  FROM (SELECT p.started_at, p.ended_at,
               (SELECT count(*) FROM deliveries d WHERE d.process_id = p.id AND d.state = 'consumed') AS files,
               (SELECT sum(d.entries_read) FROM deliveries d WHERE d.process_id = p.id) AS entries
          FROM processes p
         WHERE p.request_id = (SELECT id FROM requests WHERE name = :request) AND p.state = 'committed'
           AND p.project_id = (SELECT max(j.id) FROM projects j JOIN requests r ON r.id = j.request_id
                                WHERE r.name = :request AND j.commits > 0)
         ORDER BY p.id DESC LIMIT :limit) AS last
"""


def look(database: Database, project: str) -> dict[str, Any]:
    """Return all that the screen shows."""
    from bookkeeper import projects, recovery

    now = projects.status(database, project)
    view = overview(database, now.open_project or project, now)
    view |= _pace(database, now)
    view |= _trouble(database, now)
    view["jobs"] = _jobs(database, project)
    view["reasons"] = recovery.top_reasons(database, project, REASONS) if now.committed < now.files else []
    return {**view, "next": next_steps(view)}


def _jobs(database: Database, project: str) -> dict[str, Any]:
    """Return how many jobs there are in batch systems, by state, and where those and the catalog differ."""
    from bookkeeper import jobs

    return jobs.summary(database, project)


def _trouble(database: Database, now: RequestStatus) -> dict[str, Any]:
    """Return the commonest kind of the last failures, and the nodes that are given nothing."""
    if now.complete:
        return {"failures": None, "excluded": []}
    from bookkeeper import nodes

    excluded = nodes.excluded(database)
    if not now.rollbacks:
        return {"failures": None, "excluded": excluded}
    from bookkeeper import reporting

    return {"failures": reporting.top_category(database, now.request), "excluded": excluded}


def overview(database: Database, project: str, now: RequestStatus) -> dict[str, Any]:
    """Return the numbers of a request, and its live processes (the first of them)."""
    live = database.rows(_LIVE, {"request": now.request, "limit": LIVE}) if now.live else []
    clock = database.now()
    for row in live:
        row["running_s"] = clock - row["started_at"]
    return {"project": project, "at": clock, **now.as_dict(), "processes": live}


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
    steps = _next_moves(view)
    if view.get("failures"):
        steps.append(f"bookkeeper failures {view['open_project'] or view['project']}   (what failed, and why)")
    return steps


def _next_moves(view: dict[str, Any]) -> list[str]:
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
    if set(view.get("jobs", {}).get("states", ())) - {"completed", "removed", "lost"}:
        return [f"bookkeeper jobs {name}", f"bookkeeper watch {name}   (where nobody looks after them)"]
    return [f"bookkeeper submit SPEC.toml   (or: bookkeeper work {name} … -- COMMAND …)"]


def verdict(view: dict[str, Any]) -> int:
    """Return the exit code that tells complete, incomplete and paused."""
    if view["complete"]:
        return 0
    return Paused.exit_code if view["open_state"] == "paused" else Incomplete.exit_code
