"""`dag`: let DAGMan run the jobs of a spec, where no server of ours may run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json

if TYPE_CHECKING:
    from bookkeeper.dagman import View

app = noun("DAGMan runs the jobs of a spec, where no server of ours may run.")

Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="What `bookkeeper dag make` wrote.")]


@verb(app, "make", example="bookkeeper dag make mass.toml --out dag/ --submit")
def make(
    spec: Annotated[str, typer.Argument(metavar="SPEC.toml", help="The description of project, job and output.")],
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="The folder to make.")],
    submit: Annotated[bool, typer.Option("--submit", help="Then hand it to HTCondor.")] = False,
    wall: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The wall-clock limit of a job; else the spec's run_time, else 8h."),
    ] = None,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="What a job may wait in the queue, and its journal on the way home.")
    ] = "2d",
    held_for: Annotated[
        str, typer.Option(metavar="TIME", help="A job held so long is removed, and its node tried again.")
    ] = "1h",
    ask_again: Annotated[
        str, typer.Option(metavar="TIME", help="When a script is started again that has to wait.")
    ] = "30s",
    adopt: Annotated[bool, typer.Option("--adopt", help="Write where another catalog wrote.")] = False,
    json: Json = False,
) -> None:
    """Start the project of a spec, and write a DAG whose nodes are its partitions, or groups of its files.

    Each try of a node is lent files by a ticket, and its journal is taken in when it ends: no job reaches the catalog.
    """
    from bookkeeper import dagman
    from bookkeeper.spec import load

    folder = Path(out)
    with catalogs.writing() as database:
        made = dagman.make(
            load(spec), database, folder, wall=wall, grace=grace, later=ask_again, held_for=held_for, adopt=adopt
        )
    batch = dagman.submit(folder)[0] if submit else None
    if json:
        render.json_object({"folder": str(folder), "project": made.project, "nodes": len(made.nodes), "batch": batch})
        return
    render.say(f"{folder}: {render.count(len(made.nodes), 'node')} for project {made.project}")
    if batch is None:
        render.next_step(f"bookkeeper dag submit {shlex.quote(out)}")
    else:
        render.say(f"submitted as {batch}")


@verb(app, "submit", example="bookkeeper dag submit dag/")
def submit(folder: Folder, json: Json = False) -> None:
    """Hand a DAG to HTCondor; one that ended incomplete goes on where it was, and one that runs is left alone."""
    from bookkeeper import dagman

    batch, fresh = dagman.submit(Path(folder))
    if json:
        render.json_object({"batch": batch, "submitted": fresh})
    else:
        render.say(f"submitted as {batch}" if fresh else f"it is in the queue already, as {batch}")


_NODES: Final = (
    Column("node", "node"),
    Column("state", "state"),
    Column("tries", "tries"),
    Column("process", "process"),
    Column("reason", "reason"),
)


@verb(app, "status", example="bookkeeper dag status dag/")
def status(folder: Folder, json: Json = False) -> None:
    """Show how a DAG stands, node by node. It reads what DAGMan wrote: neither the queue nor the catalog is asked."""
    from bookkeeper import dagman

    view = dagman.look(Path(folder))
    if json:
        render.json_object(view.as_dict())
    else:
        _tell(view)


def _tell(view: View) -> None:
    counts = ", ".join(f"{number} {state}" for state, number in sorted(view.counts.items()))
    render.say(f"project {view.project}: {view.state}; {render.count(len(view.nodes), 'node')}: {counts}")
    rows = [
        {"node": one.node, "state": one.state, "tries": one.tries, "process": one.process, "reason": one.reason}
        for one in view.nodes
    ]
    render.table(rows, list(_NODES))
    for one in view.missing.get("files", [])[:10]:
        render.say(f"missing: {one['file']}: {one['reason']}")
    if len(view.missing.get("files", [])) > 10:
        render.note(
            f"{len(view.missing['files'])} files are missing in all: `bookkeeper recover {view.project} --dry-run`"
        )


@verb(app, "kill", example='bookkeeper dag kill dag/ part-0003 --reason "its node is broken"')
def kill(
    folder: Folder,
    nodes: Annotated[list[str], typer.Argument(metavar="NODE…", help="Nodes, as `dag status` names them.")],
    reason: Annotated[str, typer.Option(metavar="WORDS", help="Why, for those who come later.")] = "killed by a person",
    json: Json = False,
) -> None:
    """Take nodes out, without upsetting the others: their jobs are removed, their files given back."""
    from bookkeeper import dagman

    removed = dagman.kill(Path(folder), nodes, reason)
    if json:
        render.json_object({"removed": removed})
        return
    for node, jobs in removed.items():
        render.say(f"{node}: {render.count(jobs, 'job')} removed")


@verb(app, "resubmit", example="bookkeeper dag resubmit dag/ part-0003")
def resubmit(
    folder: Folder,
    nodes: Annotated[
        list[str] | None, typer.Argument(metavar="NODE…", help="Nodes that failed; all of these where none is named.")
    ] = None,
    json: Json = False,
) -> None:
    """Run nodes once more that failed or were killed, without upsetting the others."""
    from bookkeeper import dagman

    batch, names = dagman.resubmit(Path(folder), nodes or ())
    if json:
        render.json_object({"batch": batch, "nodes": names})
    else:
        render.say(f"submitted as {batch}: {', '.join(names)}")
