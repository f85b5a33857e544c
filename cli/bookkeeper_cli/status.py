"""`status`, `recover`, `outputs`, `logs`, `lineage`: see what is going on, and go on after a failure."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper.errors import Incomplete, Paused, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json, Project, whole

if TYPE_CHECKING:
    from bookkeeper.catalog import Database
    from bookkeeper.projects import RequestStatus
    from bookkeeper.recovery import Plan

app = noun("See what is going on, and go on after a failure.")

POLL_SECONDS: Final = 1.0
REASONS: Final = 5
LIVE: Final = 8
RECENT: Final = 50
SHOWN: Final = 50
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
_LINEAGE: Final = """
SELECT output, output_url, output_state, process_id, project, file FROM lineage
 WHERE output_url = :what OR file = :what ORDER BY output_url, file
"""
_LINEAGE_BY_NAME: Final = """
SELECT output, output_url, output_state, process_id, project, file FROM lineage
 WHERE output_url LIKE :tail ESCAPE '!' ORDER BY output_url, file
"""


@verb(app, "status", example="bookkeeper status zmumu-mass --wait")
def status(
    project: Project,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until it is complete, paused or ended.")] = False,
    json: Json = False,
) -> int:
    """Show a request on one screen: files by state, processes, reasons, rate, and what to type next.

    With --wait, the exit code tells complete (0), incomplete (10) and paused (11).
    """
    with catalogs.reading() as database:
        view = look(database, project)
        if wait and not over(view):
            view = _follow(database, project, view, quietly=json)
    if json:
        render.json_object(view)
    else:
        render.status_lines(view)
    return verdict(view) if wait else 0


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


def _follow(database: Database, project: str, view: dict[str, Any], *, quietly: bool) -> dict[str, Any]:
    tick = threading.Event()
    if quietly:
        while not over(view):
            tick.wait(POLL_SECONDS)
            view = look(database, project)
        return view
    with render.watching() as show:
        while True:
            show(view)
            if over(view):
                return view
            tick.wait(POLL_SECONDS)
            view = look(database, project)


def verdict(view: dict[str, Any]) -> int:
    """Return the exit code that tells complete, incomplete and paused."""
    if view["complete"]:
        return 0
    return Paused.exit_code if view["open_state"] == "paused" else Incomplete.exit_code


@verb(app, "recover", example="bookkeeper recover zmumu-mass --dry-run")
def recover(
    project: Project,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show which files are missing and why; change nothing.")
    ] = False,
    fence: Annotated[bool, typer.Option("--fence", help="Roll back live processes first.")] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Then run its jobs, as the spec says.")] = False,
    spec: Annotated[
        str | None, typer.Option(metavar="SPEC.toml", help="The spec for --submit; else the one submitted last.")
    ] = None,
    jobs: Annotated[str | None, typer.Option(metavar="N", help="Jobs at a time, for --submit.")] = None,
    json: Json = False,
) -> int:
    """Start the project that takes up every file which does not count yet.

    The same again finds the same project. Live processes keep their files and may still commit, unless --fence.
    """
    if dry_run:
        if submit or fence:
            raise UsageError(
                "--dry-run changes nothing: it goes with neither --submit nor --fence", remedy="leave one of them out"
            )
        with catalogs.reading() as database:
            _show_plan(database, project, json)
        return 0
    number_of_jobs = whole("--jobs", jobs)
    if (spec is not None or jobs is not None) and not submit:
        raise UsageError("--spec and --jobs belong to --submit", remedy="add --submit")
    with catalogs.writing() as database:
        from bookkeeper import projects, recovery

        path = _spec_of(database, project, spec) if submit else ""
        found = recovery.recover(database, project, fence=fence)
        now = projects.status(database, project)
    if submit and found is not None:
        from bookkeeper_cli.submit import submit_spec

        return submit_spec(path, number_of_jobs, as_json=json, request=now.request)
    if json:
        render.json_object({"recovery": found, "request": now.request, **_counts(now)})
    else:
        _tell(found, now)
    return 0


def _spec_of(database: Database, project: str, spec: str | None) -> str:
    if spec is not None:
        return spec
    from bookkeeper import projects
    from bookkeeper_cli.submit import remembered

    projects.summary(database, project)
    found = remembered(database, project)
    if found is None:
        raise UsageError(f"no spec was ever submitted for {project}", remedy="name one: --spec SPEC.toml")
    return found


def _counts(now: Any) -> dict[str, int]:
    return {
        "files": now.files,
        "committed": now.committed,
        "available": now.available,
        "held": now.held,
        "parked": now.parked,
    }


def _tell(found: str | None, now: Any) -> None:
    if found is None and now.committed == now.files:
        render.say(f"request {now.request}: nothing is missing, all {render.count(now.files, 'file')} are committed")
        render.next_step(f"bookkeeper outputs {now.request} --paths")
    elif found is None:
        render.say(f"request {now.request}: nothing can be recovered, {render.count(now.parked, 'file')} are parked")
        render.next_step(f"bookkeeper project unpark {now.request} --all")
    else:
        held = f"; {now.held:,} held by live processes come to it if they are given back" if now.held else ""
        parked = f"; {now.parked:,} stay parked" if now.parked else ""
        render.say(f"project {found} takes up {render.count(now.available, 'file')}{held}{parked}")
        render.next_step(f"bookkeeper submit SPEC.toml   (or: bookkeeper work {found} … -- COMMAND …)")


_PLAN: Final = (
    Column("file"),
    Column("state"),
    Column("attempts", right=True),
    Column("reason"),
    Column("last_process_id", "process", right=True, spare=True),
    Column("last_node", "node", spare=True),
)


def _show_plan(database: Database, project: str, as_json: bool) -> None:
    from bookkeeper import recovery

    plan: Plan = recovery.plan(database, project)
    rows = recovery.uncommitted(database, project)
    if as_json:
        counts = {"files": plan.files, "committed": plan.committed, "available": plan.takes, "held": plan.held}
        render.json_object({"request": plan.request, **counts, "parked": plan.parked, "uncommitted": rows})
        return
    render.table(rows[:SHOWN], _PLAN)
    if len(rows) > SHOWN:
        render.say(f"… and {len(rows) - SHOWN:,} more (--json prints all)")
    goes = f"project {plan.stands} (stands already)" if plan.stands else "a recovery project"
    if plan.needed:
        render.say(
            f"{render.count(plan.takes, 'file')} would go to {goes}; {plan.held:,} held by live processes;"
            f" {plan.parked:,} parked; {plan.committed:,} of {plan.files:,} committed. Nothing was changed."
        )
        render.next_step(f"bookkeeper recover {project}")
    else:
        render.say(
            f"nothing to recover: {plan.committed:,} of {render.count(plan.files, 'file')} committed, {plan.parked:,} parked"
        )


@verb(app, "outputs", example="hadd -f all.root $(bookkeeper outputs zmumu-mass --paths)")
def outputs(
    project: Project,
    paths: Annotated[bool, typer.Option("--paths", help="Print the paths or URLs only, one per line.")] = False,
    json: Json = False,
) -> None:
    """List the published outputs of a request: URL, size, checksum, entries, process."""
    from bookkeeper import projects, recovery

    with catalogs.reading() as database:
        now = projects.status(database, project)
        rows = list(recovery.published(database, project))
    if paths:
        for row in rows:
            render.line(row["url"])
    else:
        columns = (
            Column("url"),
            Column("size", show=render.size, right=True),
            Column("checksum"),
            Column("entries", show=render.number, right=True),
            Column("process_id", "process", right=True),
        )
        render.table(rows, columns, as_json=json, empty=f"{now.request} has no published output yet")
    if not now.complete:
        render.note(f"note: {now.request} is not complete: {now.committed:,} of {now.files:,} files are committed")


@verb(app, "logs", example="bookkeeper logs 17 --stderr --tail 20")
def logs(
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="The number of a process.")],
    stdout: Annotated[bool, typer.Option("--stdout", help="Only what it wrote to stdout.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only what it wrote to stderr.")] = False,
    tail: Annotated[str | None, typer.Option(metavar="N", help="Only the last N lines of each.")] = None,
    json: Json = False,
) -> None:
    """Print what the command of a process wrote. Of very long logs, the beginning and the end are kept."""
    number, last = whole("PROCESS", process), whole("--tail", tail)
    with catalogs.reading() as database:
        from bookkeeper import logs as kept

        out, err, truncated = kept.read(database, number)
    found = {"stdout": out if stdout or not stderr else None, "stderr": err if stderr or not stdout else None}
    shown = {name: _tail(text, last) for name, text in found.items() if text is not None}
    if json:
        render.json_object({"process_id": number, **shown, "truncated": truncated})
        return
    for name, text in shown.items():
        if len(shown) > 1 and text:
            render.line(f"── {name} of process {number}")
        render.raw(text if text.endswith("\n") or not text else text + "\n")
    if not any(shown.values()):
        render.note(f"process {number} wrote nothing that was kept")


def _tail(text: str, lines: int | None) -> str:
    return text if lines is None else "".join(text.splitlines(keepends=True)[-lines:])


@verb(app, "lineage", example="bookkeeper lineage mass-17.root")
def lineage(
    what: Annotated[
        str, typer.Argument(metavar="OUTPUT|FILE", help="The name or URL of an output, or the name of a file.")
    ],
    json: Json = False,
) -> None:
    """Show which files an output contains, or which outputs a file is in."""
    with catalogs.reading() as database:
        rows = database.rows(_LINEAGE, {"what": what})
        if not rows and "/" not in what:
            escaped = what.replace("!", "!!").replace("%", "!%").replace("_", "!_")
            rows = database.rows(_LINEAGE_BY_NAME, {"tail": f"%/{escaped}"})
        if not rows:
            from bookkeeper import files

            files.get(database, what)
    columns = (
        Column("output_url", "output"),
        Column("output_state", "state"),
        Column("process_id", "process", right=True),
        Column("project"),
        Column("file"),
    )
    render.table(rows, columns, as_json=json, empty=f"{what} is in no output yet")
