"""`project`: start, list, show, pause, resume, end, park, unpark, reopen."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from bookkeeper import durations
from bookkeeper.errors import UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json, one_of, process_number, size, whole

app = noun("Start projects, and steer them.")

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="The name of a project.")]
Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="Logical names of files.")]
Reason = Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why, for those who come later.")]

_LISTED: Final = (
    Column("project"),
    Column("state"),
    Column("files", show=render.number, right=True),
    Column("committed", show=render.number, right=True),
    Column("held", show=render.number, right=True),
    Column("available", show=render.number, right=True),
    Column("parked", show=render.number, right=True),
    Column("recovers", spare=True),
)
_ONE: Final = (
    *_LISTED[:2],
    Column("request"),
    *_LISTED[2:],
    Column("processes_active", show=render.number),
    Column("processes_staged", show=render.number),
    Column("processes_committed", show=render.number),
    Column("processes_rolled_back", show=render.number),
    Column("started_at", "started", show=render.when),
    Column("ended_at", "ended", show=render.when),
)
_PROCESSES: Final = (
    Column("process_id", "process", right=True),
    Column("state"),
    Column("node"),
    Column("job_id", "job", spare=True),
    Column("partition_number", "partition", right=True, spare=True),
    Column("delivered", "files", show=render.number, right=True),
    Column("consumed", show=render.number, right=True),
    Column("outputs", right=True),
    Column("wall_time_s", "wall time", show=render.span, right=True),
    Column("reason", spare=True),
)


@verb(app, "start", example="bookkeeper project start zmumu-mass --dataset zmumu --application analysis/mass/1.0")
def start(
    context: typer.Context,
    name: Name,
    dataset: Annotated[str, typer.Option(metavar="D", help="The dataset to process.")],
    application: Annotated[
        str, typer.Option(metavar="FAMILY/NAME/VERSION", help="The program that its jobs run.")
    ] = "analysis/unnamed/1",
    max_attempts: Annotated[
        str, typer.Option(metavar="N", help="Park a file after N charged failures while alone.")
    ] = "3",
    files_per_process: Annotated[str, typer.Option(metavar="N", help="No process is given more files.")] = "100",
    partition_by: Annotated[
        str | None,
        typer.Option(metavar="MEASURE=N", help="Deliver fixed partitions: files=5, bytes=30GB or entries=1000000."),
    ] = None,
    lease: Annotated[str, typer.Option(metavar="TIME", help="How long a silent process is waited for.")] = "10m",
    max_wall: Annotated[
        str | None, typer.Option(metavar="TIME", help="No process may take longer, its heart beating or not.")
    ] = None,
    output_required: Annotated[
        bool, typer.Option("--output-required", help="No process may commit without an output.")
    ] = False,
    json: Json = False,
) -> None:
    """Start a project over what the dataset means now. The same again keeps the first snapshot, and tells of growth.

    Options given again take effect.
    """
    from bookkeeper import projects
    from bookkeeper.ledger.requests import Rules

    by, amount = _partition(partition_by)
    rules = Rules(
        max_attempts=whole("--max-attempts", max_attempts),
        files_per_process=whole("--files-per-process", files_per_process),
        partition_by=by,
        partition_size=amount,
        lease=durations.seconds(lease),
        max_wall=None if max_wall is None else durations.seconds(max_wall),
        output_required=output_required,
    )
    family, *rest = application.split("/")
    if len(rest) != 2:
        raise UsageError(
            f"--application: {application[:100]!r} is not FAMILY/NAME/VERSION", remedy="for example analysis/mass/1.0"
        )
    with catalogs.writing() as database:
        started = projects.start(database, name, dataset, (family, rest[0], rest[1]), rules, unsaid=_unsaid(context))
        now = projects.status(database, name)
    if json:
        render.json_object(
            {"project": name, "created": started.created, "files": started.files, "grown": started.grown}
        )
        return
    if started.created:
        render.say(f"started project {name}: {render.count(started.files, 'file')}")
        render.next_step(f"bookkeeper work {name} --output-name 'out-{{process}}.root' --destination out/ -- COMMAND …")
        return
    render.say(f"project {name} exists: {now.committed:,} of {render.count(started.files, 'file')} committed")
    if started.grown:
        render.say(
            f"dataset {dataset} has grown by {render.count(started.grown, 'file')} since;"
            " another project would take them in"
        )
    render.next_step(f"bookkeeper status {name}")


def _unsaid(context: typer.Context) -> list[str]:
    """Return the options that were left at their defaults."""
    from bookkeeper import projects

    sources = {name: context.get_parameter_source(name) for name in context.params}
    left_out = [name for name, source in sources.items() if source is not None and source.name == "DEFAULT"]
    return [*left_out, *projects.NEAR]  # which are said in a spec only


def _partition(text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    measure, separator, amount = text.partition("=")
    if not separator:
        raise UsageError(f"--partition-by: {text[:100]!r} is not MEASURE=N", remedy="for example files=5 or bytes=30GB")
    one_of("--partition-by", measure, ("files", "bytes", "entries"))
    if measure == "bytes":
        return measure, size("--partition-by", amount)
    return measure, whole("--partition-by", amount)


@verb(app, "list", example="bookkeeper project list")
def list_projects(json: Json = False) -> None:
    """List all projects, oldest first, each with its own share of its request's files."""
    from bookkeeper import projects

    with catalogs.reading() as database:
        rows = projects.list_all(database)
    render.table(rows, _LISTED, as_json=json, empty="no project")


@verb(app, "show", example="bookkeeper project show zmumu-mass")
def show(name: Name, json: Json = False) -> None:
    """Show a project, and every process of its request."""
    from bookkeeper import projects

    with catalogs.reading() as database:
        row = projects.summary(database, name)
        processes = list(projects.processes(database, name))
    if json:
        render.json_object({**row, "processes": processes})
        return
    render.record(row, _ONE)
    render.say("processes")
    render.table(processes, _PROCESSES, empty="none yet", indent="  ")


@verb(app, "pause", example="bookkeeper project pause zmumu-mass --reason 'storage is down'")
def pause(name: Name, reason: Reason = "paused by hand", json: Json = False) -> None:
    """Stop starts and deliveries; what runs may commit."""
    from bookkeeper import projects

    with catalogs.writing() as database:
        projects.pause(database, name, reason)
    _done({"project": name, "state": "paused"}, f"project {name} is paused", f"bookkeeper project resume {name}", json)


@verb(app, "resume", example="bookkeeper project resume zmumu-mass")
def resume(name: Name, json: Json = False) -> None:
    """Let a paused project go on."""
    from bookkeeper import projects

    with catalogs.writing() as database:
        resumed = projects.resume(database, name)
    text = f"project {name} goes on" if resumed else f"project {name} was not paused"
    _done({"project": name, "resumed": resumed}, text, f"bookkeeper status {name}", json)


@verb(app, "end", example="bookkeeper project end zmumu-mass")
def end(
    name: Name,
    fence: Annotated[
        bool, typer.Option("--fence", help="Roll back its live processes; else they may still commit.")
    ] = False,
    json: Json = False,
) -> None:
    """End a project for ever. What is missing then can be recovered."""
    from bookkeeper import projects

    with catalogs.writing() as database:
        fenced = projects.end(database, name, fence=fence)
        now = projects.status(database, name)
    missing = now.files - now.committed
    told = f"; {render.count(fenced, 'live process', 'live processes')} rolled back" if fence else ""
    left = f"; {now.live:,} still live, which may commit" if now.live else ""
    text = f"project {name} is ended{told}{left}; {render.count(missing, 'file')} of {now.files:,} not committed"
    step = f"bookkeeper recover {name}" if missing else f"bookkeeper outputs {name} --paths"
    _done({"project": name, "state": "ended", "fenced": fenced, "uncommitted": missing}, text, step, json)


@verb(app, "park", example="bookkeeper project park zmumu-mass zmumu-3.root --reason 'detector was off'")
def park(name: Name, files: Files, reason: Reason, json: Json = False) -> None:
    """Take files out of delivery, and out of their partitions, until a person decides."""
    from bookkeeper import projects

    with catalogs.writing() as database:
        parked = projects.park(database, name, files, reason)
    text = f"parked {render.count(parked, 'file')} of {name}"
    _done({"project": name, "parked": parked}, text, f"bookkeeper project unpark {name} FILE…   (gives back)", json)


@verb(app, "unpark", example="bookkeeper project unpark zmumu-mass --all")
def unpark(
    name: Name,
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE]…", help="Logical names of files.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every parked file of the request.")] = False,
    repin: Annotated[
        bool, typer.Option("--repin", help="Accept the content that is declared now of files that changed.")
    ] = False,
    json: Json = False,
) -> None:
    """Give parked files back to delivery: alone next, their attempts kept."""
    if bool(files) == everything:
        raise UsageError("name the files to unpark, or all of them", remedy="FILE… or --all, not both")
    from bookkeeper import projects

    with catalogs.writing() as database:
        unparked = projects.unpark(database, name, None if everything else files, repin=repin)
        now = projects.status(database, name)
    text = f"{render.count(unparked, 'file')} of {name} can be delivered again"
    step = f"bookkeeper submit SPEC.toml   (or: bookkeeper work {now.open_project} … -- COMMAND …)"
    if now.open_project is None:
        step = f"bookkeeper recover {name}"
    _done({"project": name, "unparked": unparked}, text, step, json)


@verb(app, "reopen", example="bookkeeper project reopen zmumu-mass 17 --reason 'output lost with its disk'")
def reopen(
    name: Name,
    processes: Annotated[list[str], typer.Argument(metavar="PROCESS…", help="Numbers of committed processes.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Take back committed processes whose outputs were lost or are wrong: delete their objects, free their files."""
    from bookkeeper import projects, recovery

    numbers = [process_number("PROCESS", process) for process in processes]
    with catalogs.writing() as database:
        freed = {number: recovery.reopen(database, name, number, reason) for number in numbers}
        now = projects.status(database, name)
    told = [
        f"process {number} is revoked: its outputs are deleted and {render.count(files, 'file')} free again"
        for number, files in freed.items()
    ]
    step = "bookkeeper submit SPEC.toml" if now.open_project else f"bookkeeper recover {name}"
    _done({"project": name, "freed": freed}, "\n".join(told), step, json)


def _done(result: dict[str, Any], text: str, step: str, as_json: bool) -> None:
    if as_json:
        render.json_object(result)
    else:
        render.say(text)
        render.next_step(step)
