"""`transfer`: list, run."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from bookkeeper.errors import NotAllowed
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json, Project

app = noun("See and make the transfers of outputs that lie at a near storage.")


def _rate(value: float | None) -> str:
    return "" if value is None else f"{render.size(int(value))}/s"


def _span(value: float | None) -> str:
    return "" if value is None else render.span(value)


def _words(value: Any) -> str:
    return "" if value is None else str(value)


_COLUMNS: Final = (
    Column("output", right=True),
    Column("process", right=True),
    Column("state"),
    Column("bytes", show=render.size, right=True),
    Column("bytes_done", "done", show=render.size, right=True),
    Column("rate", show=_rate, right=True, spare=True),
    Column("eta", "ETA", show=_span, right=True, spare=True),
    Column("attempts", "tries", show=render.number, right=True),
    Column("next_in", "next in", show=_span, right=True, spare=True),
    Column("link"),
    Column("error", show=_words, spare=True),
)


@verb(app, "list", example="bookkeeper transfer list zmumu-mass")
def list_transfers(
    project: Project,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    json: Json = False,
) -> None:
    """List the outputs that are on their way from a near storage: bytes, rate, ETA, tries, the last error."""
    from bookkeeper import transfers

    with catalogs.reading() as database:
        rows = transfers.progress(database, project)
        whole = transfers.totals(database, project)
    shown = [one.as_dict() for one in rows if everything or one.state in ("waiting", "running")]
    if json:
        render.json_object({**whole.as_dict(), "transfers": shown})
        return
    render.table(shown, _COLUMNS, empty="no output of it is on its way")
    render.line(_told(whole))


@verb(app, "run", example="bookkeeper transfer run zmumu-mass")
def run(
    project: Project,
    json: Json = False,
) -> int:
    """Bring outputs from near storages to their destinations until none of the project is on its way.

    Any number may run at once, and be killed. `submit`, `watch` and `serve` do the same by themselves.
    """
    from bookkeeper import transfers
    from bookkeeper.operations import Remote
    from bookkeeper_cli.submit import stopped_by_signals

    with catalogs.writing() as database, stopped_by_signals() as (stop, caught):
        if isinstance(database, Remote):
            raise NotAllowed(
                "this catalog is behind a server, which makes the transfers itself",
                remedy=f"bookkeeper transfer list {project}",
            )
        whole, crew = transfers.totals(database, project), transfers.Crew(database)
        told = time.monotonic()
        try:
            while not stop.is_set() and (crew.step() or whole.open):
                crew.wait(_TICK)
                whole = transfers.totals(database, project)
                if not json and time.monotonic() - told > _TELL:
                    told = time.monotonic()
                    render.note(_told(whole))
        finally:
            crew.close()
    if json:
        render.json_object(whole.as_dict())
    else:
        render.say(_told(whole))
        if whole.open:
            render.next_step(f"bookkeeper transfer list {project}")
    return 128 + caught[0] if caught else 0


_TICK: Final = 0.2
"""Seconds between two looks, unless a transfer worker says something."""

_TELL: Final = 10.0
"""Seconds between two words of how it goes on."""


def _told(whole: Any) -> str:
    words = f"{render.count(whole.arrived, 'output')} arrived, {whole.open:,} on their way"
    if whole.given_up:
        words += f", {whole.given_up:,} given up"
    if whole.open:
        words += f"; {render.size(whole.bytes_left)} left, {_rate(whole.rate)}"
        if whole.eta is not None:
            words += f", about {render.span(whole.eta)}"
    return words
