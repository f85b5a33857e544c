"""`recover`: take up what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper.errors import Incomplete, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json, Project, whole

if TYPE_CHECKING:
    from bookkeeper.catalog import Database
    from bookkeeper.recovery import Plan

app = noun("Take up what is missing.")

SHOWN: Final = 50


@verb(app, "recover", example="bookkeeper recover zmumu-mass --dry-run")
def recover(
    project: Project,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is missing, why, and what it will cost; change nothing.")
    ] = False,
    fence: Annotated[bool, typer.Option("--fence", help="Roll back live processes first.")] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Then run its jobs, as the spec says.")] = False,
    spec: Annotated[
        str | None,
        typer.Option(metavar="SPEC.toml", help="The spec to run, or to count with; else the one submitted last."),
    ] = None,
    jobs: Annotated[str | None, typer.Option(metavar="N", help="Jobs at a time; else as the spec says.")] = None,
    json: Json = False,
) -> int:
    """Start the project that takes up every file which does not count yet.

    The same again finds the same project. Live processes keep their files and may still commit, unless --fence.

    With --submit it exits as submit does: 0 complete, 10 incomplete, 11 paused. --dry-run estimates time and memory from
    what the processes of the request took so far.
    """
    number_of_jobs = whole("--jobs", jobs)
    if dry_run:
        if submit or fence:
            raise UsageError(
                "--dry-run changes nothing: it goes with neither --submit nor --fence", remedy="leave one of them out"
            )
        with catalogs.reading() as database:
            _show_plan(database, project, _terms(database, project, spec, number_of_jobs), json)
        return 0
    if (spec is not None or jobs is not None) and not submit:
        raise UsageError("--spec and --jobs belong to --submit", remedy="add --submit, or --dry-run")
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
    return 0 if not submit or now.complete else Incomplete.exit_code


def _spec_of(database: Database, project: str, spec: str | None) -> str:
    if spec is not None:
        return spec
    from bookkeeper import projects
    from bookkeeper.remembering import remembered

    projects.summary(database, project)
    found = remembered(database, project)
    if found is None:
        raise UsageError(f"no spec was ever submitted for {project}", remedy="name one: --spec SPEC.toml")
    return str(found["spec"])


def _terms(database: Database, project: str, spec: str | None, jobs: int | None) -> dict[str, Any]:
    """Return what estimates count with: what the spec says of its jobs, or what was submitted last."""
    from bookkeeper.remembering import remembered, terms

    if spec is not None:
        from bookkeeper.spec import load

        return terms(load(spec), jobs)
    found = remembered(database, project) or {}
    return {
        "jobs": jobs or found.get("jobs") or 1,
        "memory_mb": found.get("memory_mb"),
        "max_memory_mb": found.get("max_memory_mb"),
    }


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
        render.say(f"request {now.request}: nothing can be recovered, {_are(now.parked)} parked")
        render.next_step(f"bookkeeper project unpark {now.request} --all")
    else:
        held = f"; {now.held:,} held by live processes come to it if they are given back" if now.held else ""
        parked = f"; {now.parked:,} stay parked" if now.parked else ""
        render.say(f"project {found} takes up {render.count(now.available, 'file')}{held}{parked}")
        render.next_step(f"bookkeeper submit SPEC.toml   (or: bookkeeper work {found} … -- COMMAND …)")


def _are(files: int) -> str:
    return f"{render.count(files, 'file')} {'is' if files == 1 else 'are'}"


_PLAN: Final = (
    Column("file"),
    Column("state"),
    Column("attempts", right=True),
    Column("reason"),
    Column("last_process_id", "process", right=True, spare=True),
    Column("last_node", "node", spare=True),
)


def _show_plan(database: Database, project: str, terms: dict[str, Any], as_json: bool) -> None:
    from bookkeeper import estimates, recovery

    plan: Plan = recovery.plan(database, project)
    rows = recovery.uncommitted(database, project)
    forecast = estimates.forecast(database, project, **terms)
    if as_json:
        counts = {"files": plan.files, "committed": plan.committed, "available": plan.takes, "held": plan.held}
        estimated = {"parked": plan.parked, "estimates": forecast.as_dict(), "uncommitted": rows}
        render.json_object({"request": plan.request, **counts, **estimated})
        return
    render.table(rows[:SHOWN], _PLAN)
    if len(rows) > SHOWN:
        render.say(f"… and {len(rows) - SHOWN:,} more (--json prints all)")
    if plan.takes:
        render.estimates(forecast)
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
