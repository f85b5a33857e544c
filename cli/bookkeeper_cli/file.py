"""`file`: declare data files, look them up, withdraw them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import Annotated, Any, Final

import typer

from bookkeeper.errors import BookkeeperError, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json, pairs, whole

app = noun("Declare data files, look them up, withdraw them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The logical name of a file.")]

SHOWN_ERRORS: Final = 20

_LISTED: Final = (
    Column("name"),
    Column("size", show=render.size, right=True),
    Column("entries", show=render.number, right=True),
    Column("state"),
    Column("metadata", spare=True),
)
_ONE: Final = (
    Column("name"),
    Column("state"),
    Column("size", show=lambda size: f"{render.size(size)} ({size:,} bytes)"),
    Column("checksum"),
    Column("entries", show=render.number),
    Column("tree"),
    Column("trees"),
    Column("metadata"),
    Column("version"),
    Column("declared_at", show=render.when),
    Column("locations"),
)


@verb(app, "declare", example="bookkeeper file declare 'data/*.root' --metadata run_type=mc")
def declare(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]…", help="Files, globs, URLs, folders (their *.root files, at any depth)."),
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Metadata of all these files; may be repeated.")
    ] = None,
    tree: Annotated[str | None, typer.Option(metavar="T", help="The tree whose entries count.")] = None,
    checksum: Annotated[bool, typer.Option(help="Read every file whole for its checksum.")] = True,
    update: Annotated[bool, typer.Option("--update", help="Accept files that changed, as new versions.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="N", help="The logical name of a single file; else its basename.")
    ] = None,
    from_list: Annotated[
        str | None, typer.Option("--from-list", metavar="F", help="Take records from a file; - is stdin.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Of the list: json, jsonl, csv, tsv or text (paths); else as it looks."),
    ] = None,
    jobs: Annotated[str | None, typer.Option(metavar="N", help="Files that are read at a time.")] = None,
    json: Json = False,
) -> None:
    """Take files into the catalog: all of them, or, if one cannot be read or is not what was declared before, none.

    The logical name is the basename. Declaring an unchanged file again is no error.
    """
    if bool(paths) == (from_list is not None):
        raise UsageError("name the files, or a list of them", remedy="PATH… or --from-list FILE, not both")
    workers = whole("--jobs", jobs)
    extra = pairs("--metadata", metadata or ())
    from bookkeeper import files

    with catalogs.writing() as database, render.progress("declaring", "files") as move:
        look = partial(scanned, metadata=extra, tree=tree, checksum=checksum, workers=workers, move=move)
        if paths:
            records = look(paths, name=name)
        else:
            records = _with(_listed(str(from_list), format, name, look), extra)
        declared = files.declare(database, records, update=update, on_progress=lambda done: move(done, None))
    if json:
        render.json_object(asdict(declared))
    else:
        render.say(f"{declared.new:,} new, {declared.unchanged:,} unchanged, {declared.updated:,} updated")
        if declared.new:
            render.next_step("bookkeeper dataset define NAME --names GLOB")


def scanned(
    paths: Iterable[str],
    *,
    metadata: dict[str, Any],
    tree: str | None,
    checksum: bool,
    workers: int | None,
    move: render.Progress,
    name: str | None = None,
) -> Iterator[Any]:
    """Yield what a scan finds. Raises, after the last file, for all that could not be read: nothing is declared then."""
    from bookkeeper import scan

    bad: list[BookkeeperError] = []
    yield from scan(
        paths,
        checksum=checksum,
        tree=tree,
        metadata=metadata,
        name=name,
        workers=workers,
        on_progress=lambda done, total, size: move(done, total),
        on_error=lambda location, error: bad.append(error),
    )
    if len(bad) == 1:
        raise bad[0]
    if bad:
        listed = "".join(f"\n  {error.message}" for error in bad[:SHOWN_ERRORS])
        more = f"\n  … and {len(bad) - SHOWN_ERRORS:,} more" if len(bad) > SHOWN_ERRORS else ""
        raise type(bad[0])(
            f"{len(bad):,} files cannot be declared, so nothing was:{listed}{more}",
            remedy=bad[0].remedy or "leave them out, or take good copies",
        )


def _listed(path: str, format: str | None, name: str | None, scanned: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    """Yield the records of a list; of what it has only paths of, what a scan finds."""
    if name is not None:
        raise UsageError("--name is for a single file, not for a list", remedy="write the names into the list")
    from bookkeeper import filelists

    for bare, records in groupby(filelists.read(path, format=format), lambda record: record.keys() == {"path"}):
        if bare:
            yield from scanned(record["path"] for record in records)
            continue
        for record in records:
            if "path" in record and "size" not in record:
                (found,) = scanned([record.pop("path")], name=record.get("name"))
                yield asdict(found) | record | {"metadata": {**found.metadata, **(record.get("metadata") or {})}}
            else:
                yield record


def _with(records: Iterator[Any], metadata: dict[str, Any]) -> Iterator[Any]:
    """Add metadata to the records that have none of that key."""
    for record in records:
        if metadata and isinstance(record, dict):
            record["metadata"] = metadata | (record.get("metadata") or {})
        yield record


@verb(app, "list", example="bookkeeper file list --where \"run_type = 'mc' and entries > 1000\"")
def list_files(
    where: Annotated[str | None, typer.Option(metavar="QUERY", help="Only files that meet a query.")] = None,
    names: Annotated[str | None, typer.Option(metavar="GLOB", help="Only files whose names match.")] = None,
    limit: Annotated[str | None, typer.Option(metavar="N", help="No more than N files.")] = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List the files of the catalog by name."""
    if json and csv:
        raise UsageError("--json and --csv exclude each other", remedy="leave one of them out")
    from bookkeeper import files

    with catalogs.reading() as database:
        found = files.find(database, glob=names, where=where, limit=whole("--limit", limit))
        render.table(found, _LISTED, as_json=json, as_csv=csv, empty="no file")


@verb(app, "show", example="bookkeeper file show zmumu-1.root")
def show(name: Name, json: Json = False) -> None:
    """Show all that is known of a file."""
    from bookkeeper import files

    with catalogs.reading() as database:
        file = files.get(database, name)
        file["locations"] = files.locations(database, name)
    render.record(file, _ONE, as_json=json)


@verb(app, "locate", example="bookkeeper file locate zmumu-1.root")
def locate(name: Name, json: Json = False) -> None:
    """Print where copies of a file lie: paths and URLs, one per line."""
    from bookkeeper import files

    with catalogs.reading() as database:
        found = files.locations(database, name)
    render.table([{"name": name, "url": url} for url in found], (), as_json=True) if json else None
    for url in () if json else found:
        render.line(url)


@verb(app, "retire", example="bookkeeper file retire zmumu-3.root --reason 'wrong calibration'")
def retire(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="The logical names of files.")],
    reason: Annotated[str, typer.Option(metavar="WORDS", help="Why, for those who come later.")],
    json: Json = False,
) -> None:
    """Withdraw files: new snapshots leave them out, and jobs that are given one find out before they open it."""
    from bookkeeper import files

    with catalogs.writing() as database:
        retired = files.retire(database, names, reason)
    if json:
        render.json_object({"retired": retired})
    else:
        already = f"; {len(set(names)) - retired:,} retired before" if retired < len(set(names)) else ""
        render.say(f"retired {render.count(retired, 'file')}{already}")


@verb(app, "history", example="bookkeeper file history zmumu-1.root")
def history(name: Name, json: Json = False) -> None:
    """Show what became of a file: its versions, every process that was given it, and whether it counts."""
    from bookkeeper import files

    with catalogs.reading() as database:
        found = files.history(database, name)
    if json:
        render.json_object(asdict(found))
        return
    render.say("versions")
    render.table(
        found.versions,
        (
            Column("version", right=True),
            Column("size", show=render.size, right=True),
            Column("checksum"),
            Column("entries", show=render.number, right=True),
            Column("until", show=render.when, spare=True),
        ),
        indent="  ",
    )
    for event in found.events:
        why = event["body"].get("reason", "")
        render.say(f"{event['kind'].removeprefix('file.')} {render.when(event['at'])}{f': {why}' if why else ''}")
    render.say("deliveries")
    render.table(
        found.deliveries,
        (
            Column("delivered_at", "when", show=render.when),
            Column("project"),
            Column("process_id", "process", right=True),
            Column("attempt", right=True),
            Column("state"),
            Column("process_state", "its process"),
            Column("committed", "counts", show=lambda counts: "yes" if counts else "no"),
            Column("reason", spare=True),
        ),
        empty="given to no process yet",
        indent="  ",
    )
