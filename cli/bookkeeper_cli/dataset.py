"""`dataset`: names for sets of files, and snapshots of what they meant."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from bookkeeper.errors import UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.samples import define_samples
from bookkeeper_cli.words import Json

app = noun("Name sets of files, and freeze what a name means.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of a dataset.")]

_LISTED: Final = (
    Column("name"),
    Column("kind"),
    Column("files", show=render.number, right=True),
    Column("definition", spare=True),
)
_SNAPSHOTS: Final = (
    Column("id", "snapshot", right=True),
    Column("files", show=render.number, right=True),
    Column("bytes", "size", show=render.size, right=True),
    Column("entries", show=render.number, right=True),
    Column("taken_at", "taken", show=render.when),
)


@verb(app, "define", example="bookkeeper dataset define zmumu --where \"name like 'zmumu-%' and entries > 0\"")
def define(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Its name; with --from-json all samples where not given.")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Files whose names match; may be repeated.")
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="QUERY", help="Files that meet a query.")] = None,
    from_list: Annotated[
        str | None, typer.Option("--from-list", metavar="F", help="A file with one name per line; - is stdin.")
    ] = None,
    from_json: Annotated[
        str | None, typer.Option("--from-json", metavar="F", help="A sample list: a dataset for each sample.")
    ] = None,
    declare: Annotated[bool, typer.Option("--declare", help="Of a sample list: declare its files first.")] = False,
    by_sample: Annotated[
        bool, typer.Option("--by-sample", help="Of a sample list: call its files SAMPLE/BASENAME.")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Replace another definition; snapshots stay.")] = False,
    json: Json = False,
) -> None:
    """Define a dataset by globs, by a query, or by a list: one of them; or those of a sample list.

    The first two take in files that are declared later; a project works on a snapshot, which never changes. A sample
    list is {"sample": ["file", …], …} in JSON, as HiggsDNA has it.
    """
    if from_json is not None:
        if names or where is not None or from_list is not None:
            raise UsageError("a sample list is a definition by itself", remedy="give --from-json alone")
        define_samples(from_json, name, declared=declare, by_sample=by_sample, update=update, as_json=json)
        return
    if declare or by_sample:
        raise UsageError("--declare and --by-sample are for a sample list", remedy="give --from-json, too")
    if name is None:
        raise UsageError("the dataset has no name", remedy="bookkeeper dataset define NAME …")
    from bookkeeper import datasets

    listed: list[str] | None = None
    if from_list is not None:
        from bookkeeper import filelists

        listed = list(filelists.names(from_list))
    with catalogs.writing() as database:
        dataset = datasets.define(database, name, names=names or None, where=where, files=listed, update=update)
    for warning in dataset.warnings:
        render.note(f"note: {warning}")
    if json:
        render.json_object(asdict(dataset))
        return
    render.say(f"dataset {name}: {render.count(dataset.files, 'file')}")
    if dataset.files:
        render.next_step(f"bookkeeper project start NAME --dataset {name}")
    else:
        render.next_step("bookkeeper file list   (shows the names that there are)")


@verb(app, "list", example="bookkeeper dataset list")
def list_datasets(json: Json = False) -> None:
    """List the datasets, each with the number of files that it means now."""
    from bookkeeper import datasets

    with catalogs.reading() as database:
        rows = [_row(dataset) for dataset in datasets.list_all(database)]
    render.table(rows, _LISTED, as_json=json, empty="no dataset")


@verb(app, "show", example="bookkeeper dataset show zmumu")
def show(
    name: Name,
    files: Annotated[bool, typer.Option("--files", help="List its files instead, one name per line.")] = False,
    json: Json = False,
) -> None:
    """Show a dataset: its definition, what it means now, and its snapshots."""
    from bookkeeper import datasets

    with catalogs.reading() as database:
        if files:
            found = datasets.files_of(database, name)
            if json:
                render.table(found, (), as_json=True)
            else:
                for file in found:
                    render.line(file["name"])
            return
        dataset = datasets.get(database, name)
        taken = [asdict(snapshot) for snapshot in datasets.snapshots(database, name)]
    row = _row(dataset)
    if json:
        render.json_object({**row, "snapshots": taken})
        return
    columns = (
        *_LISTED,
        Column("created_at", "created", show=render.when),
    )
    render.record(row, columns)
    render.say("snapshots")
    render.table(taken, _SNAPSHOTS, empty="none yet", indent="  ")


@verb(app, "snapshot", example="bookkeeper dataset snapshot zmumu")
def snapshot(name: Name, json: Json = False) -> None:
    """Freeze what a dataset means now. Projects take their own snapshot when they start."""
    from bookkeeper import datasets

    with catalogs.writing() as database:
        taken = datasets.snapshot(database, name)
    if json:
        render.json_object(asdict(taken))
    else:
        render.say(f"snapshot {taken.id} of {name}: {render.count(taken.files, 'file')}, {render.size(taken.bytes)}")


def _row(dataset: Any) -> dict[str, Any]:
    row = asdict(dataset)
    del row["warnings"]
    return row
