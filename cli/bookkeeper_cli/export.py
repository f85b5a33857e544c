"""`export`: the history of one request as an SQLite file of its own."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.words import Json, Project

app = noun("Take what is known of a request out of the catalog.")


@verb(app, "export", example="bookkeeper export zmumu-mass zmumu-mass.db")
def export(
    project: Project,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The SQLite file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older export.")] = False,
    metadata: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write titles and descriptions for Datasette into this JSON file, too."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the history of a request: files, processes, deliveries, outputs, failures, events.

    One SQLite file of one moment, with foreign keys, the documented views and full-text search. Jobs go on meanwhile.
    """
    from bookkeeper.export import export as write

    with catalogs.reading() as database, render.progress("exporting", "rows") as move:
        info = write(database, project, file, overwrite=overwrite, metadata=metadata, on_progress=move)
    if json:
        render.json_object(info.as_dict())
        return
    rows = sum(info.rows.values())
    render.say(
        f"wrote {info.path}, {render.size(info.size)}: {render.count(rows, 'row')} of the request {info.request}"
    )
    if info.metadata is None:
        render.next_step(f"datasette {shlex.quote(info.path)}   (to look at it; --metadata FILE writes its titles)")
    else:
        render.next_step(
            f"datasette {shlex.quote(info.path)} --metadata {shlex.quote(info.metadata)}   (to look at it)"
        )
