"""`node`: list, exclude, admit."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from bookkeeper import durations
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json

app = noun("See how nodes do, and keep files from bad ones.")

Node = Annotated[str, typer.Argument(metavar="NODE", help="The name of a node, as `node list` shows it.")]


def _until(until: float | None) -> str:
    return "" if until is None else render.when(until)


def _words(text: str | None) -> str:
    return text or ""


_LISTED: Final = (
    Column("node"),
    Column("running", show=render.number, right=True),
    Column("committed", "successful", show=render.number, right=True),
    Column("stageout_failures", "stage-out", show=render.number, right=True),
    Column("failed", show=render.number, right=True),
    Column("failed_files", "hit", show=render.number, right=True),
    Column("retried", show=render.number, right=True),
    Column("recovered", show=render.number, right=True),
    Column("wall_time_s", "wall time", show=render.spent, right=True),
    Column("waste_s", "lost", show=render.spent, right=True),
    Column("excluded_until", "excluded until", show=_until, spare=True),
    Column("reason", show=_words, spare=True),
)


@verb(app, "list", example="bookkeeper node list")
def list_nodes(json: Json = False) -> None:
    """List the nodes that ran anything, over all requests, and those that are excluded."""
    from bookkeeper import nodes

    with catalogs.reading() as database:
        rows = nodes.list_all(database)
    render.table(rows, _LISTED, as_json=json, empty="no node has run anything yet")


@verb(app, "exclude", example="bookkeeper node exclude wn17 --for 2h --reason 'its disk is full'")
def exclude(
    node: Node,
    reason: Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why, for those who come later.")],
    length: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 2h, 1d.")] = "1h",
    json: Json = False,
) -> None:
    """Give nothing more to jobs on a node, for a while. What runs there may commit."""
    from bookkeeper import nodes

    seconds = durations.seconds(length)
    with catalogs.writing() as database:
        until = nodes.exclude(database, node, reason=reason, seconds=seconds)
    if json:
        render.json_object({"node": node, "until": until, "reason": reason})
        return
    render.say(f"node {node} is given nothing until {render.when(until)}")
    render.next_step(f"bookkeeper node admit {node}   (ends it before)")


@verb(app, "admit", example="bookkeeper node admit wn17")
def admit(node: Node, json: Json = False) -> None:
    """Let an excluded node take files again."""
    from bookkeeper import nodes

    with catalogs.writing() as database:
        admitted = nodes.admit(database, node)
    if json:
        render.json_object({"node": node, "admitted": admitted})
        return
    render.say(f"node {node} takes files again" if admitted else f"node {node} was not excluded")
    render.next_step("bookkeeper node list")
