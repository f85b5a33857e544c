"""`work`: one process around any command. What every batch job runs."""

from __future__ import annotations

import dataclasses
import json as _json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper import durations
from bookkeeper.errors import UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.process import expectation, validation
from bookkeeper_cli.words import Json, whole

if TYPE_CHECKING:
    from bookkeeper.journal import Offline
    from bookkeeper.worker import Job, Outcome

app = noun("One process around any command.")


@verb(
    app,
    "work",
    example="bookkeeper work zmumu-mass --output-name 'mass-{process}.root' --destination out/ -- "
    "python mass.py --output {output} {inputs}",
)
def work(
    project: Annotated[
        str, typer.Argument(metavar="PROJECT", help="The name of an open project; not with --ticket, which names it.")
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- COMMAND…",
            help="The command and its arguments, in which {inputs} and {output} stand for files. Never through a shell.",
        ),
    ] = None,
    files_per_process: Annotated[str | None, typer.Option(metavar="N", help="Take no more files than this.")] = None,
    partition: Annotated[str | None, typer.Option(metavar="N", help="Take this partition.")] = None,
    lease: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it may be silent; the project's where not given.")
    ] = None,
    output_name: Annotated[
        str | None, typer.Option(metavar="T", help="The output's final name, with {process} or {partition} in it.")
    ] = None,
    destination: Annotated[str | None, typer.Option(metavar="D", help="The folder or URL that it goes to.")] = None,
    validate: Annotated[
        str, typer.Option(metavar="LEVEL", help="deep, quick, or a command with {path} in it.")
    ] = "deep",
    expect_tree: Annotated[str | None, typer.Option(metavar="T", help="The output must have this tree.")] = None,
    expect_entries: Annotated[
        str | None, typer.Option(metavar="N|consumed", help="So many entries; or as many as were consumed.")
    ] = None,
    optional: Annotated[bool, typer.Option("--optional", help="The command may make no output.")] = False,
    stage_inputs: Annotated[bool, typer.Option("--stage-inputs", help="Copy inputs to local disk first.")] = False,
    allow_entries_mismatch: Annotated[
        bool, typer.Option("--allow-entries-mismatch", help="Reported entries may differ from the catalogued ones.")
    ] = False,
    ticket: Annotated[
        str | None, typer.Option(metavar="T", help="Work without a catalog, on the files of this ticket.")
    ] = None,
    journal: Annotated[
        str | None, typer.Option(metavar="J", help="Write the journal there; else beside the ticket.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait while others hold the files that are left.")] = True,
    adopt: Annotated[bool, typer.Option("--adopt", help="Write where another catalog wrote.")] = False,
    job_id: Annotated[str | None, typer.Option(metavar="ID", help="The number of its batch job.")] = None,
    node: Annotated[str | None, typer.Option(metavar="NAME", help="Where it runs; else this host.")] = None,
    json: Json = False,
) -> int:
    """Take files, run the command on them, prove and store its output, commit.

    Exits 0 committed, 13 rolled back, 12 nothing to do, 11 paused, 15 node excluded, 7 fenced. Zero from the command
    means that it consumed every file, unless it reports otherwise in $BOOKKEEPER_REPORT.

    With --ticket no catalog is asked: what becomes of the process is written into a journal, and 0 means that it is
    there, for `bookkeeper ingest` to take in.
    """
    from bookkeeper.worker import Job, OutputSpec
    from bookkeeper.worker import work as run

    words = list(command or ())
    offline = None
    if ticket is not None:
        taken = {"--files-per-process": files_per_process, "--partition": partition, "--lease": lease}
        words, offline = [project, *words], _offline(ticket, journal, node, taken)
        project, destination = offline.ticket.project, destination or offline.ticket.destination
        if output_name is None:
            destination = None
    elif journal is not None:
        raise UsageError("a journal is written by a job with a ticket", remedy="give --ticket too")
    if not words:
        raise UsageError("there is no command to run", remedy="write it after --")
    outputs: tuple[OutputSpec, ...] = ()
    if output_name is not None and destination is not None:
        _check_name(output_name, destination)
        outputs = (
            OutputSpec(
                output_name,
                destination,
                validate=_level(validate),
                expect=expectation(expect_tree, expect_entries),
                optional=optional,
            ),
        )
    elif output_name is not None or destination is not None:
        raise UsageError("an output needs a name and a destination", remedy="give both --output-name and --destination")
    elif expect_tree is not None or expect_entries is not None or optional:
        raise UsageError("there is no output to expect anything of", remedy="give --output-name and --destination")
    job = Job(
        project=project,
        command=tuple(words),
        workdir=os.getcwd(),  # noqa: PTH109 - a text
        outputs=outputs,
        files_per_process=whole("--files-per-process", files_per_process),
        partition=whole("--partition", partition, least=0),
        lease=None if lease is None else durations.seconds(lease),
        stage_inputs=stage_inputs,
        allow_entries_mismatch=allow_entries_mismatch,
        adopt=adopt,
        node=node,
        job_id=job_id,
        wait=wait,
    )
    if offline is not None:
        outcome = _work_offline(offline, job, run)
    else:
        with catalogs.writing() as database:
            outcome = run(database, job)
    if json:
        render.json_object(_json.loads(outcome.as_json()))
    else:
        _tell(project, outcome, None if offline is None else f"its logs are in {offline.folder}/logs")
        if offline is not None and outcome.process_id is not None:
            render.say(f"  journal {offline.path}")
    return int(outcome.exit_code)


def _offline(ticket: str, journal: str | None, node: str | None, given: dict[str, str | None]) -> Offline:
    """Open the ticket and its journal."""
    from bookkeeper.journal import Offline

    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} is said by the ticket", remedy=f"leave {option} out")
    place = None if journal is None else Path(journal)
    return Offline(Path(ticket), place, node=node or socket.gethostname())


def _work_offline(offline: Offline, job: Job, run: Callable[..., Outcome]) -> Outcome:
    """Run a job whose end goes into a journal; of one that has ended already, tell how."""
    from bookkeeper.protocol import Fate
    from bookkeeper.worker import Outcome as Ended

    with offline:
        if offline.ended is Fate.LIVE:
            outcome = run(offline, job)
        else:
            outcome = Ended(
                offline.ended.value, offline.ticket.process, offline.reason, files=len(offline.ticket.files)
            )
    return dataclasses.replace(outcome, fate="recorded") if outcome.fate == "committed" else outcome


def _check_name(name: str, destination: str) -> None:
    """Raise `UsageError` before a process is started whose output could have no name of its own."""
    from bookkeeper import stageout

    if "{process}" not in name and "{partition}" not in name:
        raise UsageError(f"{name!r} is the same for every process", remedy="put {process} or {partition} into it")
    stageout.final_url(stageout.resolve(destination), name.replace("{process}", "1").replace("{partition}", "1"))


def _level(text: str) -> str | tuple[str, ...]:
    level = validation(text)
    if level is None:
        raise UsageError("--validate: an output is always validated", remedy="use deep, quick, or a command")
    return level if isinstance(level, str) else tuple(level)


_FATES: Final = {
    "rolled_back": "was rolled back",
    "fenced": "was rolled back from outside",
    "paused": "was not started",
    "excluded": "was given no file",
}


def _tell(project: str, outcome: Any, logs: str | None = None) -> None:
    who = f"process {outcome.process_id}"
    if outcome.fate == "committed":
        entries = f", {render.count(outcome.entries, 'entry', 'entries')}" if outcome.entries else ""
        render.say(f"{who} is committed: {outcome.consumed:,} of {render.count(outcome.files, 'file')}{entries}")
        for url in outcome.outputs:
            render.say(f"  {url}")
    elif outcome.fate == "recorded":
        render.say(f"{who} is recorded; `bookkeeper ingest` commits it")
    elif outcome.fate == "nothing":
        render.note(f"nothing to do: {outcome.reason or f'no file of {project} is left'}")
    else:
        step = f" in {outcome.step}" if outcome.step else ""
        remedy = (
            (logs or f"bookkeeper logs {outcome.process_id}") if outcome.process_id else f"bookkeeper status {project}"
        )
        if outcome.fate == "excluded":
            remedy = "bookkeeper node list   (bookkeeper node admit NODE lets it take files again)"
        subject = who if outcome.process_id else f"a process of {project}"
        render.error(f"{subject} {_FATES[outcome.fate]}{step}: {outcome.reason}", remedy, outcome.exit_code)
