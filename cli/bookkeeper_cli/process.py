"""`process`: one job's transaction, step by step, for shell scripts."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

import typer

from bookkeeper import durations
from bookkeeper.errors import Incomplete, NothingToDo, Paused, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.words import Json, one_of, whole

app = noun("One job's transaction, step by step, for shell scripts. All verbs but start speak for $BOOKKEEPER_PROCESS.")

MARKS: Final = ("opened", "consumed", "skipped", "failed")


@verb(app, "start", example='eval "$(bookkeeper process start zmumu-mass --shell)"')
def start(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The name of an open project.")],
    shell: Annotated[
        bool, typer.Option("--shell", help="Print what a shell evaluates to set $BOOKKEEPER_PROCESS.")
    ] = False,
    files_per_process: Annotated[str | None, typer.Option(metavar="N", help="Take no more files than this.")] = None,
    partition: Annotated[str | None, typer.Option(metavar="N", help="Take this partition.")] = None,
    lease: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it may be silent; the project's where not given.")
    ] = None,
    node: Annotated[str | None, typer.Option(metavar="NAME", help="Where it runs; else this host.")] = None,
    job_id: Annotated[str | None, typer.Option(metavar="ID", help="The number of its batch job.")] = None,
    json: Json = False,
) -> None:
    """Open a transaction: files taken from now on count together, or not at all."""
    from bookkeeper import stepwise
    from bookkeeper.ledger import ledger_of
    from bookkeeper.process import new_nonce
    from bookkeeper.protocol import StartProcess

    if shell and json:
        raise UsageError("--shell and --json exclude each other", remedy="choose one")
    request = StartProcess(
        project=project,
        nonce=new_nonce(),
        node=node or socket.gethostname(),
        job_id=job_id,
        lease=None if lease is None else durations.seconds(lease),
        files_per_process=whole("--files-per-process", files_per_process),
        partition=whole("--partition", partition, least=0),
    )
    with catalogs.writing() as database:
        started = ledger_of(database).start_process(request)
    setting = f"export {stepwise.VARIABLE}={shlex.quote(stepwise.text_of(started.key))}"
    if json:
        render.json_object(
            {
                "process_id": started.key.id,
                "token": started.key.token,
                "project": started.project,
                "request": started.request,
                "lease_s": started.lease,
                "files_per_process": started.files_per_process,
                "partition": started.partition,
            }
        )
    elif shell:
        render.line(setting)
    else:
        render.say(f"started process {started.key.id} of {project}; it may be silent for {render.span(started.lease)}")
        render.next_step(setting)


@verb(app, "next", example="bookkeeper process next 1")
def next_files(
    number: Annotated[str | None, typer.Argument(metavar="[N]", help="How many at most; else all it may have.")] = None,
    names: Annotated[bool, typer.Option("--names", help="Print logical names instead of paths.")] = False,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print paths or URLs, one per line (so it does anyway).")
    ] = False,
    json: Json = False,
) -> None:
    """Take files, and print their paths or URLs, one per line.

    Exits 12 when no file is left for it, 10 when others hold what is left and may give it back, 11 when the project is
    paused.
    """
    if names + paths + json > 1:
        raise UsageError("--names, --paths and --json exclude each other", remedy="choose one")
    limit = whole("N", number)
    with catalogs.writing() as database:
        process = _process(database)
        files = process.next_files(limit)
    if not files:
        raise _why_none(process)
    if json:
        render.table((_as_row(file) for file in files), (), as_json=True)
        return
    for file in files:
        render.line(file.name if names else (file.locations[0] if file.locations else file.name))


def _process(database: Any) -> Any:
    from bookkeeper import stepwise

    return stepwise.SteppedProcess(database, stepwise.key_of())


def _as_row(file: Any) -> dict[str, Any]:
    row = asdict(file.info)
    return {**row, "locations": list(row["locations"])}


def _why_none(process: Any) -> Incomplete | NothingToDo | Paused:
    from bookkeeper.protocol import Status

    who, has = f"process {process.id}", bool(process.files)
    over = "commit what it has" if has else "roll it back: `bookkeeper process rollback`"
    if process.project_state == "paused":
        return Paused(f"project {process.project} is paused: it delivers nothing", remedy=over)
    if process.status is Status.FULL:
        return NothingToDo(f"{who} has all the files it may have ({len(process.files)})", remedy=over)
    if process.status is Status.NONE_NOW:
        wait = over if has else "wait and ask again, or roll it back"
        return Incomplete(f"no file now: others hold what is left, and may give some back to {who}", remedy=wait)
    return NothingToDo(f"no file of {process.project} is left for {who}", remedy=over)


@verb(app, "mark", example="bookkeeper process mark zmumu-1.root consumed --entries 2304")
def mark(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The logical name, path or URL of a file it was given.")],
    state: Annotated[str, typer.Argument(metavar="opened|consumed|skipped|failed", help="What became of it.")],
    entries: Annotated[str | None, typer.Option(metavar="N", help="Entries that were read.")] = None,
    bytes: Annotated[str | None, typer.Option(metavar="N", help="Bytes that were read.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="WORDS", help="Why it was skipped or failed.")] = None,
    json: Json = False,
) -> None:
    """Say what became of a file. What is skipped or failed has nothing in the output."""
    from bookkeeper.protocol import Mark

    one_of("STATE", state, MARKS)
    read, size = whole("--entries", entries, least=0), whole("--bytes", bytes, least=0)
    with catalogs.writing() as database:
        process = _process(database)
        marked = process.mark(file, Mark(state), entries=read, bytes=size, reason=reason)
    if json:
        render.json_object({"process_id": process.id, "file": marked.name, "state": state})


@verb(app, "output", example="bookkeeper process output mass.root --destination out/ --name 'mass-{process}.root'")
def output(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The file that the job made.")],
    destination: Annotated[str, typer.Option(metavar="D", help="The folder or URL that it goes to.")],
    name: Annotated[str, typer.Option(metavar="T", help="Its final name, with {process} or {partition} in it.")],
    validate: Annotated[
        str, typer.Option(metavar="LEVEL", help="deep, quick, none, or a command with {path} in it.")
    ] = "deep",
    key: Annotated[str | None, typer.Option(metavar="K", help="What tells several outputs apart.")] = None,
    expect_tree: Annotated[str | None, typer.Option(metavar="T", help="It must have this tree.")] = None,
    expect_entries: Annotated[
        str | None, typer.Option(metavar="N|consumed", help="So many entries; or as many as were consumed.")
    ] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Write where another catalog wrote.")] = False,
    json: Json = False,
) -> None:
    """Prove an output and copy it to storage, under a temporary name until the commit. The same again replaces it."""
    level = validation(validate)
    wanted = expectation(expect_tree, expect_entries)
    with catalogs.writing() as database:
        process = _process(database)
        record = process.copy_out(path, destination, name, key=key, validate=level, expect=wanted, adopt=adopt)
    if json:
        render.json_object(asdict(record))
    else:
        render.say(f"{path} is in storage, {render.size(record.size)}; the commit gives it its name {record.final_url}")


def validation(text: str) -> Literal["deep", "quick"] | Sequence[str] | None:
    """Return a level of validation, the words of a command, or None for none. Raises `UsageError`."""
    if text in ("deep", "quick"):
        return "deep" if text == "deep" else "quick"
    if text == "none":
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--validate: {text[:100]!r} cannot be split into words: {error}") from error
    if not any("{path}" in word for word in words):
        raise UsageError(
            f"--validate: {text[:100]!r} is no level, and no command with {{path}}",
            remedy="use deep, quick, none, or for example 'check {path}'",
        )
    return words


def expectation(tree: str | None, entries: str | None) -> dict[str, Any] | None:
    """Return what an output is expected to have, None for nothing. Raises `UsageError`."""
    wanted: dict[str, Any] = {} if tree is None else {"tree": tree}
    if entries is not None:
        wanted["entries"] = entries if entries == "consumed" else whole("--expect-entries", entries, least=0)
    return wanted or None


@verb(app, "commit", example="bookkeeper process commit")
def commit(
    no_output: Annotated[bool, typer.Option("--no-output", help="It made no output, and that is right.")] = False,
    json: Json = False,
) -> None:
    """Make what it consumed count, then publish its outputs. Repeated, it succeeds.

    Files that were never marked go back, without charge; one that is opened and nothing else must be decided first.
    """
    from bookkeeper import stepwise

    key = stepwise.key_of()
    with catalogs.writing() as database:
        counted, given = stepwise.commit(database, key, no_output=no_output)
    if json:
        render.json_object(
            {"process_id": key.id, "state": "committed", "files": counted, "given_back": given - counted}
        )
        return
    back = f"; {given - counted:,} went back" if given > counted else ""
    render.say(
        f"process {key.id} is committed: {render.count(counted, 'file')} count{'s' if counted == 1 else ''}{back}"
    )


@verb(app, "rollback", example="bookkeeper process rollback --reason 'out of memory'")
def rollback(
    reason: Annotated[str, typer.Option(metavar="WORDS", help="Why.")] = "rolled back by its job",
    step: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="The step that failed; stage-executable and output-storage charge no file."),
    ] = None,
    json: Json = False,
) -> None:
    """Give everything back; nothing of it counts. A committed process stays committed."""
    from bookkeeper import stepwise
    from bookkeeper.protocol import Fate
    from bookkeeper_schema.states import Step

    if step is not None:
        one_of("--step", step, [one.value for one in Step])
    key = stepwise.key_of()
    with catalogs.writing() as database:
        fate = stepwise.roll_back(database, key, reason, step=step)
    if json:
        render.json_object({"process_id": key.id, "state": str(fate)})
    elif fate is Fate.COMMITTED:
        render.say(f"process {key.id} was committed before, and stays so")
    else:
        render.say(f"process {key.id} is rolled back; its files are free for others")


@verb(app, "heartbeat", example="bookkeeper process heartbeat")
def heartbeat(json: Json = False) -> None:
    """Renew the lease: the process is alive. Needed where it says nothing else for longer than its lease."""
    from bookkeeper import stepwise
    from bookkeeper.ledger import ledger_of

    key = stepwise.key_of()
    with catalogs.writing() as database:
        lease = ledger_of(database).heartbeat(key)
    if json:
        render.json_object({"process_id": key.id, "lease_s": lease})
    else:
        render.say(f"process {key.id} may be silent for {render.span(lease)}")
