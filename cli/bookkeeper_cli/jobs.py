"""`jobs`, `kill`, `resubmit`, `hold`, `release`, `watch`: jobs in a batch system, for those who look after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper.errors import Incomplete, Paused, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json, Project, process_number

if TYPE_CHECKING:
    from bookkeeper.watching import Standing
    from bookkeeper.watching.verbs import Chosen, Done

app = noun("Jobs in a batch system.")

Process = Annotated[str | None, typer.Option("--process", metavar="N", help="Only the job of this process.")]
Node = Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only jobs on this node.")]
JobId = Annotated[str | None, typer.Option("--job", metavar="ID", help="Only the job that the batch system calls so.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="WORDS", help="Why, for those who come later.")]


def _words(value: Any) -> str:
    return "" if value is None else str(value)


def _when(value: float | None) -> str:
    return "" if value is None else render.when(value)


def _verdict(value: str | None) -> str:
    return "" if value in (None, "agree") else str(value)


_COLUMNS: Final = (
    Column("job", show=_words),
    Column("state"),
    Column("starts", show=render.number, right=True),
    Column("node", show=_words, spare=True),
    Column("process_id", "process", show=_words, right=True, spare=True),
    Column("process_state", "became", show=_words, spare=True),
    Column("hold_code", "hold", show=_words, spare=True),
    Column("exit_code", "exit", show=_words, spare=True),
    Column("signal", show=_words, spare=True),
    Column("changed_at", "since", show=_when),
    Column("reason", show=_words, spare=True),
    Column("verdict", "finding", show=_verdict, spare=True),
)


@verb(app, "jobs", example="bookkeeper jobs zmumu-mass")
def jobs(
    project: Project,
    everything: Annotated[
        bool, typer.Option("--all", help="Also jobs that are over and nothing is odd about.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the queue of a project: what waits, runs, is held and why; and where batch system and catalog differ."""
    from bookkeeper import jobs as kept
    from bookkeeper import projects

    with catalogs.reading() as database:
        projects.summary(database, project)
        rows = list(kept.table(database, project, everything=everything))
        counted = kept.summary(database, project)
    if json:
        render.json_object({**counted, "jobs": rows})
        return
    if counted["states"]:
        render.line(", ".join(f"{count:,} {state}" for state, count in sorted(counted["states"].items())))
    render.table(rows, _COLUMNS, empty="no job of it is in a queue")
    for verdict, count in sorted(counted["verdicts"].items()):
        render.note(f"note: {render.count(count, 'job')}: {verdict}")


@verb(app, "kill", example="bookkeeper kill zmumu-mass --node wn17")
def kill(
    project: Project,
    process: Process = None,
    node: Node = None,
    job: JobId = None,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Take jobs out of the queue and roll their processes back; nothing is charged to their files.

    All jobs: the project is paused. Some: others are submitted in their place.
    """
    from bookkeeper.watching import verbs

    with catalogs.writing() as database:
        done = verbs.kill(database, project, _chosen(process, node, job), reason)
    _tell(done, "removed", json)
    if done.paused and not json:
        render.next_step(f"bookkeeper project resume {done.paused}   (lets it go on)")


@verb(app, "hold", example="bookkeeper hold zmumu-mass --reason 'the storage is being mended'")
def hold(
    project: Project,
    process: Process = None,
    node: Node = None,
    job: JobId = None,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Keep jobs from running until they are released. What runs is stopped, and its files are free."""
    from bookkeeper.watching import verbs

    with catalogs.writing() as database:
        done = verbs.hold(database, project, _chosen(process, node, job), reason)
    _tell(done, "held", json)
    if not json:
        render.next_step(f"bookkeeper release {project}")


@verb(app, "release", example="bookkeeper release zmumu-mass")
def release(
    project: Project, process: Process = None, node: Node = None, job: JobId = None, json: Json = False
) -> None:
    """Let held jobs run again."""
    from bookkeeper.watching import verbs

    with catalogs.writing() as database:
        done = verbs.release(database, project, _chosen(process, node, job))
    _tell(done, "released", json)


@verb(app, "resubmit", example="bookkeeper resubmit zmumu-mass --process 17")
def resubmit(
    project: Project,
    process: Annotated[
        str | None, typer.Option("--process", metavar="N", help="Only the files of this process.")
    ] = None,
    json: Json = False,
) -> None:
    """Try again what failed, without upsetting the rest: parked files are given back, and a paused project goes on.

    Jobs are submitted for them by `submit`, or by the `watch` that looks after the project.
    """
    from bookkeeper import projects
    from bookkeeper.watching import verbs

    number = process_number("--process", process)
    with catalogs.writing() as database:
        verbs.resubmit(database, project, number)
        status = projects.status(database, project)
    if json:
        render.json_object({"project": status.open_project, "available": status.available, "held": status.held})
        return
    render.say(f"project {status.open_project} goes on: {render.count(status.available, 'file')} to be processed")
    render.next_step(f"bookkeeper watch {status.open_project}   (where nobody looks after it yet)")


def _chosen(process: str | None, node: str | None, job: str | None) -> Chosen:
    from bookkeeper.watching.verbs import Chosen

    return Chosen(process_number("--process", process), node, job)


def _tell(done: Done, what: str, as_json: bool) -> None:
    if as_json:
        render.json_object({"jobs": done.jobs, "processes": done.processes, "paused": done.paused})
        return
    said = f"{render.count(len(done.jobs), 'job')} {what}"
    rolled = f", {render.count(len(done.processes), 'process', 'processes')} rolled back" if done.processes else ""
    render.say(said + rolled + (f"; project {done.paused} is paused" if done.paused else ""))


@verb(app, "watch", example="bookkeeper watch zmumu-mass")
def watch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROJECT]…", help="Projects; else all that were submitted on this host."),
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when nothing is left to look after, or it waits for a person.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Look after everything once, for example from cron.")] = False,
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="How often to look.")] = "1s",
    json: Json = False,
) -> int:
    """Look after jobs in batch systems: follow them, roll back what died, submit what is missing, publish, end.

    Any number may run at once, and be killed: what is done is done once. Needed where nobody waits in `submit`.
    With --until-done it exits as `submit` does: 0 complete, 10 incomplete, 11 paused.
    """
    from bookkeeper import durations
    from bookkeeper.operations import Remote
    from bookkeeper.watching import Watch
    from bookkeeper_cli.submit import stopped_by_signals

    seconds = durations.seconds(every)
    if json and not (once or until_done):
        raise UsageError("--json tells how it ended", remedy="add --until-done or --once")
    said: dict[str, str] = {}

    def on_step(project: str, standing: Standing) -> None:
        words = _standing(standing)
        if said.get(project) != words:
            said[project] = words
            if not json:
                render.say(f"{project}: {words}")

    def on_problem(project: str, problem: str) -> None:
        render.note(f"{project}: {problem}" if project else problem)

    with catalogs.writing() as database, stopped_by_signals() as (stop, caught):
        if isinstance(database, Remote):
            database.give_up_when(stop.is_set)
        watched = Watch(database, names or (), on_step=on_step, on_problem=on_problem)
        try:
            found = watched.step()
            if not once:
                watched.run(stop, to_the_end=until_done, tick=seconds)
                found = watched.last
        finally:
            watched.close()
    if json:
        render.json_object({"projects": [{**one.status.as_dict(), "jobs": one.jobs} for one in found]})
    if not until_done:
        return 0
    return 128 + caught[0] if caught else _code(found)


def _code(found: Sequence[Standing]) -> int:
    """Return what `submit` exits with for these: complete, incomplete, paused."""
    if all(one.status.complete for one in found):
        return 0
    paused = any(one.status.open_state == "paused" for one in found)
    return Paused.exit_code if paused else Incomplete.exit_code


def _standing(standing: Standing) -> str:
    status = standing.status
    queue = ", ".join(f"{count:,} {state}" for state, count in sorted(standing.jobs.items())) or "none"
    state = "complete" if status.complete else (status.open_state or "ended")
    why = f" ({status.pause_reason})" if status.open_state == "paused" else ""
    return f"{state}{why}, {status.committed:,} of {status.files:,} files committed; jobs: {queue}"
