"""What the pages say of requests: all of them, those that need attention first; and one, at a glance and in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bookkeeper import jobs, nodes, projects, recovery
from bookkeeper.catalog import NOW, Database
from bookkeeper.reporting.distributions import distribution
from bookkeeper.reporting.performance import COMMITTED, progress_of
from bookkeeper.reporting.retried import none
from bookkeeper.server.pages import newest
from bookkeeper.server.pages.retried import Retried

PER_PAGE: Final = 50
OPEN_SHOWN: Final = 100
WINDOW: Final = 4_000
"""Processes of a request, the newest, that figures and nodes are made of."""

EXACT: Final = 20_000
FEW: Final = 300
"""Deliveries, of so few processes, that are counted one by one; else a process counts as many files as it was given."""

FAILURES: Final = 500
DELAYED_COUNTED: Final = 1_000
MESSAGES: Final = 5
RECENT: Final = 50
FAILING: Final = ("failure.classified", "retry.decided")
"""Events of every failure, which the page counts instead."""

LIVE_SHOWN: Final = 8

COLUMNS: Final = """
SELECT r.id, r.name AS request, r.files, r.committed,
       (SELECT count(*) FROM processes p CROSS JOIN ledger l
         WHERE p.request_id = r.id AND p.state IN ('active', 'staged') AND l.process_id = p.id AND l.state = 'held') AS held,
       (SELECT count(*) FROM projects j CROSS JOIN ledger l
         WHERE j.request_id = r.id AND l.project_id = j.id AND l.state = 'parked') AS parked,
       (SELECT count(*) FROM outputs o WHERE o.request_id = r.id AND o.state = 'committed') AS unpublished,
       (SELECT count(*) FROM processes p WHERE p.request_id = r.id AND p.state IN ('active', 'staged')) AS live,
       (SELECT sum(j.commits) FROM projects j WHERE j.request_id = r.id) AS commits,
       (SELECT sum(j.rollbacks) FROM projects j WHERE j.request_id = r.id) AS rollbacks,
       (SELECT max(j.last_commit_at) FROM projects j WHERE j.request_id = r.id) AS last_commit_at,
       k.name AS open_project, k.state AS open_state, k.reason AS pause_reason, k.rest_until,
       j.owner, j.application_family || '/' || j.application_name || '/' || j.application_version AS application,
       j.started_at
  FROM requests r JOIN projects j ON j.request_id = r.id AND j.recovers IS NULL
  LEFT JOIN projects k ON k.request_id = r.id AND k.state <> 'ended'
"""
ONE: Final = f"{COLUMNS} WHERE r.id = (SELECT request_id FROM projects WHERE name = :name)"
NEWEST: Final = f"{COLUMNS} WHERE r.id < :before ORDER BY r.id DESC LIMIT :limit"
OPEN: Final = f"""{COLUMNS} WHERE r.id IN
  (SELECT o.request_id FROM projects o WHERE o.state <> 'ended' ORDER BY o.request_id DESC LIMIT :limit)
"""

DELAYED: Final = f"""
SELECT count(*) AS delayed, min(waiting.not_before) AS next_at
  FROM (SELECT l.not_before FROM projects j CROSS JOIN ledger l
         WHERE j.request_id = :id AND j.state <> 'ended' AND l.project_id = j.id AND l.state = 'available'
           AND l.not_before > {NOW} ORDER BY l.not_before LIMIT :limit) AS waiting
"""

LIVE: Final = """
SELECT d.state, COUNT(*) AS files
  FROM (SELECT state FROM deliveries WHERE process_id = :process ORDER BY file_id LIMIT :limit) AS d GROUP BY d.state
"""

CONSUMED: Final = """
SELECT COUNT(*) AS files FROM deliveries d WHERE d.process_id = :process AND d.state = 'consumed'
"""

ORDER: Final = ("paused", "incomplete", "needs a decision", "resting", "running", "publishing", "waiting", "complete")
"""The states of requests as pages name them, those first that need a person."""

TONES: Final = {
    "paused": "warn",
    "incomplete": "bad",
    "needs a decision": "warn",
    "resting": "warn",
    "running": "live",
    "publishing": "live",
    "waiting": "live",
    "complete": "good",
}
ATTENTION: Final = frozenset(ORDER[:3])


def overview(database: Database, before: int = newest.TOP) -> dict[str, Any]:
    """Return requests: the newest with ids below ``before``, and on the first page all that are open."""
    now = database.now()
    rows = database.rows(NEWEST, {"before": before, "limit": PER_PAGE + 1})
    page, more = rows[:PER_PAGE], len(rows) > PER_PAGE
    after = page[-1]["id"] if more else None
    if before == newest.TOP:
        shown = {row["id"] for row in page}
        page += [row for row in database.rows(OPEN, {"limit": OPEN_SHOWN}) if row["id"] not in shown]
    page = [described(row, now) for row in page]
    page.sort(key=lambda row: (ORDER.index(row["word"]), -row["id"]))
    return {"rows": page, "next": after, "first": before == newest.TOP, "at": now, "excluded": nodes.excluded(database)}


def described(row: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return a request's row with ``available``, ``complete`` and its state in a word."""
    available = row["files"] - row["committed"] - row["held"] - row["parked"]
    complete = row["committed"] == row["files"] and not row["unpublished"]
    word = _word({**row, "available": available, "complete": complete}, now)
    return {
        **row,
        "available": available,
        "complete": complete,
        "word": word,
        "tone": TONES[word],
        "attention": word in ATTENTION or bool(row["parked"]),
    }


def _word(row: Mapping[str, Any], now: float) -> str:
    if row["complete"]:
        return "complete"
    if row["open_state"] == "paused":
        return "paused"
    if row["committed"] == row["files"]:
        return "publishing"
    if row["live"]:
        return "running"
    if row["open_state"] is None:
        return "incomplete"
    if row["available"] == 0:
        return "needs a decision"
    return "resting" if (row["rest_until"] or 0.0) > now else "waiting"


def request(database: Database, name: str) -> dict[str, Any]:
    """Return what the page of the request of a project says. Raises `NotFound`."""
    row = database.one(ONE, {"name": name})
    if row is None:
        raise projects.unknown(database, name)
    clock = database.now()
    of = newest.projects(database, row["request"])
    now = described(row, clock) | database.rows(DELAYED, {"id": row["id"], "limit": DELAYED_COUNTED})[0]
    window = newest.processes(database, now["request"], of, limit=WINDOW)
    done = [row for row in window.rows if row["ended_at"] is not None]
    failed = newest.failures(database, of, FAILURES) if now["rollbacks"] else []
    retried = Retried(database, (row["process_id"] for row in failed))
    return {
        "project": name,
        "at": clock,
        "now": now,
        "projects": of,
        "window": {"processes": len(window.rows), "whole": window.next is None},
        "pace": _pace(window.rows, clock, now),
        "progress": _progress(database, done, now, whole=window.next is None),
        "before": _before(done, now["committed"]) if window.next else 0,
        "wall": distribution(row["ended_at"] - row["started_at"] for row in done if row["state"] in COMMITTED),
        "nodes": by_node(window.rows, {row["node"]: row for row in nodes.excluded(database)}, retried),
        "reasons": recovery.top_reasons(database, name, 6) if now["committed"] < now["files"] else [],
        "failures": by_category(failed, retried),
        "failures_at_least": len(failed) >= FAILURES,
        "retried_whole": retried.whole and len(failed) < FAILURES,
        "jobs": jobs.summary(database, name),
        "live_processes": _live(database, window.rows, clock),
        "processes": newest.processes(database, now["request"], of, limit=10),
        "parked": newest.parked(database, of, limit=10) if now["parked"] else newest.Page([], None),
        "outputs": newest.outputs(database, now["request"], of, limit=8),
        "events": newest.events(database, of, limit=12, without=FAILING),
        "next": _next(now, name),
    }


def _before(done: Iterable[Mapping[str, Any]], committed: int) -> int:
    """Return how many files were committed before the processes of the window."""
    return max(0, committed - sum(int(row["delivered"]) for row in done if row["state"] in COMMITTED))


def _progress(
    database: Database, done: list[dict[str, Any]], now: Mapping[str, Any], *, whole: bool
) -> list[dict[str, Any]]:
    """Return `progress_of` the processes of the window. ``files`` are those that were consumed, as far as they are few
    enough to be counted; else as many as the process was given, brought to the sum that is known.
    """
    committed = [row for row in done if row["state"] in COMMITTED]
    given = sum(row["delivered"] for row in committed)
    known = now["committed"] if whole else min(now["committed"], given)
    for row in done:
        row["files"] = 0
    for row in committed:
        if given <= EXACT and len(committed) <= FEW:
            row["files"] = database.rows(CONSUMED, {"process": row["id"]})[0]["files"]
        else:
            row["files"] = row["delivered"] * known / given
    began = now["started_at"] if whole else min((row["started_at"] for row in done), default=now["started_at"])
    return progress_of(done, began)


def _pace(rows: Sequence[Mapping[str, Any]], clock: float, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return files per minute of the last processes that committed, and how long the rest would take (seconds)."""
    last = [row for row in rows if row["state"] in COMMITTED and row["delivered"]][:RECENT]
    if not last:
        return {"per_minute": None, "eta": None}
    until = clock if now["live"] else max(row["ended_at"] for row in last)
    rate = sum(row["delivered"] for row in last) / max(until - min(row["started_at"] for row in last), 1e-3)
    rest = now["held"] + now["available"]
    return {"per_minute": 60.0 * rate, "eta": rest / rate if now["live"] and rest else None}


def by_node(
    rows: Iterable[Mapping[str, Any]], excluded: Mapping[str | None, Mapping[str, Any]], retried: Retried
) -> list[dict[str, Any]]:
    """Return how processes fared on every node, the busiest first; those excluded are told as such."""
    found: dict[str | None, dict[str, Any]] = {}
    lost: dict[str | None, list[int]] = {}
    for row in rows:
        one = found.get(row["node"])
        if one is None:
            one = found[row["node"]] = new_node(row["node"], excluded)
        one["processes"] += 1
        if row["ended_at"] is None:
            one["running"] += 1
            continue
        wall = row["ended_at"] - row["started_at"]
        one["wall_time_s"] += wall
        if row["state"] in COMMITTED:
            one["committed"] += 1
            one["files"] += row["delivered"]
        elif row["state"] == "rolled_back" and row["delivered"]:
            one["rolled_back"] += 1
            one["waste_s"] += wall
            lost.setdefault(row["node"], []).append(row["id"])
    for name, processes in lost.items():
        found[name]["tried"] = retried.of(processes)
    return sorted(found.values(), key=lambda one: (-one["running"], -one["wall_time_s"], str(one["node"])))


def new_node(name: str | None, excluded: Mapping[str | None, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row of a node of which nothing is known but whether it is excluded."""
    numbers = dict.fromkeys(("processes", "running", "committed", "rolled_back", "files"), 0)
    return {
        "node": name,
        **numbers,
        "wall_time_s": 0.0,
        "waste_s": 0.0,
        "tried": none(),
        "excluded": excluded.get(name),
    }


def by_category(failed: Sequence[Mapping[str, Any]], retried: Retried) -> list[dict[str, Any]]:
    """Return the failures by category, the commonest first, each with its messages, their remedy and where to look.

    ``tried`` says what became of their files.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in failed:
        found.setdefault(str(one.get("category") or "unknown"), []).append(one)
    rows = [
        {
            "category": category,
            "processes": len(group),
            "tried": retried.of(one["process_id"] for one in group),
            "messages": _by_message(group, retried),
        }
        for category, group in found.items()
    ]
    return sorted(rows, key=lambda row: (-len(found[row["category"]]), row["category"]))


def _by_message(group: Sequence[Mapping[str, Any]], retried: Retried) -> list[dict[str, Any]]:
    counted = Counter(_fingerprint(one) for one in group)
    rows = []
    for fingerprint, processes in counted.most_common(MESSAGES):
        alike = [one for one in group if _fingerprint(one) == fingerprint]
        newest_one = alike[0]
        rows.append(
            {
                "message": newest_one.get("evidence") or newest_one.get("message") or fingerprint,
                "processes": processes,
                "tried": retried.of(one["process_id"] for one in alike),
                "remedy": newest_one.get("remedy"),
                "rule": newest_one.get("rule"),
                "examples": [one["process_id"] for one in alike[:3]],
            }
        )
    return rows


def _fingerprint(one: Mapping[str, Any]) -> str:
    return str(one.get("fingerprint") or one.get("message") or one.get("evidence") or "")


def _live(database: Database, rows: Iterable[Mapping[str, Any]], clock: float) -> list[dict[str, Any]]:
    """Return the live processes, the first of them, and how many of their files are read."""
    live = [row for row in rows if row["ended_at"] is None][-LIVE_SHOWN:]
    found = []
    for row in reversed(live):
        states = {
            one["state"]: one["files"]
            for one in database.rows(LIVE, {"process": row["id"], "limit": EXACT // LIVE_SHOWN})
        }
        found.append({**row, "read": states.get("consumed", 0), "running_s": clock - row["started_at"]})
    return found


def _next(now: Mapping[str, Any], name: str) -> list[str]:
    """Return what a person may type next: pages only show."""
    project = now["open_project"] or name
    if now["word"] == "complete":
        return [f"bookkeeper outputs {project} --paths"]
    if now["word"] == "paused":
        return [f"bookkeeper project resume {project}"]
    steps = []
    if now["parked"]:
        steps.append(f"bookkeeper project unpark {project} --all")
    if now["word"] == "incomplete":
        steps.insert(0, f"bookkeeper recover {project}")
    return steps
