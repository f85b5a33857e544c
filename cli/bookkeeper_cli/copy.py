"""`copy`: a whole catalog into another database."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from bookkeeper_cli import render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json

app = noun("Bring a catalog into another database.")

_ROWS = (Column("table"), Column("rows", show=render.number, right=True))


@verb(app, "copy", example="bookkeeper copy sqlite:///bookkeeper.db postgresql://db.example.org/bookkeeper --move")
def copy(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The address of the catalog.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Where there is no catalog yet: it is made.")],
    move: Annotated[
        bool, typer.Option("--move", help="Seal SRC: it can be read as before, and never be written to again.")
    ] = False,
    json: Json = False,
) -> None:
    """Copy a whole catalog between SQLite and PostgreSQL, and compare every row.

    In one transaction: DST is whole, or not there. It is stamped as a backup is: when it is put to use, every process
    that was at work is fenced.
    """
    from bookkeeper.copying import copy as whole

    with render.progress("copying", "rows") as bar:
        info = whole(source, target, move=move, on_progress=lambda _, done, total: bar(done, total))
    if json:
        render.json_object(info.as_dict())
        return
    render.table([{"table": table, "rows": rows} for table, rows in info.rows.items()], _ROWS)
    live = f"; {render.count(info.live, 'process', 'processes')} at work will be fenced there" if info.live else ""
    render.say(f"copied {info.source} to {info.target}: {render.count(sum(info.rows.values()), 'row')} compared{live}")
    render.say(
        "the original is sealed: nothing can be written to it"
        if info.moved
        else "the original goes on: use one of the two"
    )
    render.next_step(f"bookkeeper --catalog {shlex.quote(info.target)} check   (how to use it)")
