"""`plugin`: code of others that is told events, and people who are notified."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper.errors import BookkeeperError, CatalogMissing, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json

if TYPE_CHECKING:
    from bookkeeper.catalog import Database
    from bookkeeper.plugins import Plugins, Subscriber

app = noun("Plug-ins and notifications: who is told events, and how far.")

Spec = Annotated[
    str | None,
    typer.Argument(metavar="[SPEC.toml]", help="A spec, for its plug-ins and notifications; else those installed."),
]

LONGEST: Final = 15.0
"""Seconds that `run` waits at once for the next attempt to tell somebody who failed."""

_COLUMNS: Final = (
    Column("name"),
    Column("source", "from"),
    Column("hooks", "hooks / on", lambda hooks: ", ".join(hook.removeprefix("bookkeeper_") for hook in hooks) or "–"),
    Column("cursor", "told up to", right=True),
    Column("behind", right=True),
    Column("attempts", "failed attempts", right=True, spare=True),
    Column("failure", "last failure", spare=True),
    Column("at", "when", render.when, spare=True),
    Column("problem", spare=True),
)


@verb(app, "list", example="bookkeeper plugin list mass.toml")
def list_(spec: Spec = None, json: Json = False) -> None:
    """Show the plug-ins and targets of notifications: where from, which hooks, how far told, the last failure."""
    from bookkeeper.plugins import standing

    plugins, subscribers = _audience(spec)
    with _catalog() as database:
        rows = standing(database, plugins, subscribers)
    if not json:
        rows = [row | {"attempts": row["attempts"] or None} for row in rows]
    render.table(rows, _COLUMNS, as_json=json, empty="no plug-in is installed, and none was named by a spec")


@verb(app, "run", example="bookkeeper plugin run mass.toml --follow")
def run(
    spec: Spec = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Tell those that are new the whole log, from its first event.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell plug-ins and targets what they were not told yet, as `submit` does while it runs.

    Those that failed are tried again when their time has come; this waits some seconds for it, not minutes.
    """
    from bookkeeper.plugins import Dispatcher
    from bookkeeper_cli.submit import stopped_by_signals

    _, subscribers = _audience(spec)
    names = [one.name for one in subscribers]
    if not subscribers:
        render.json_object({"told": [], "untold": []}) if json else render.say("there is nobody to tell")
        return
    with catalogs.writing() as database:
        dispatcher = Dispatcher(database, subscribers, beginning=from_beginning)
        dispatcher.start()
        if follow:
            with stopped_by_signals() as (stop, _):
                render.note(f"telling {', '.join(names)}; Ctrl-C ends it")
                stop.wait()
            untold = dispatcher.close()
        else:
            untold = dispatcher.close(math.inf, longest=LONGEST)
    if json:
        render.json_object({"told": [name for name in names if name not in untold], "untold": untold})
    if untold:
        again = f"bookkeeper plugin run {spec or ''}".rstrip()
        raise BookkeeperError(
            f"{', '.join(untold)} could not be told everything",
            remedy=f"`bookkeeper plugin list` says why; `{again}` tries again",
        )
    if not json:
        render.say(f"{', '.join(names)}: told everything")


@verb(app, "test", example="bookkeeper plugin test mass.toml")
def test(
    spec: Annotated[str, typer.Argument(metavar="SPEC.toml", help="The spec whose notifications are tried.")],
    json: Json = False,
) -> None:
    """Send a test notification to every target of a spec, and say what each answered."""
    from bookkeeper.plugins.notify import targets, trial
    from bookkeeper.spec import load

    read = load(spec)
    found = targets(read.notifications(), read.loaded.notifiers())
    if not found:
        raise UsageError(f"{spec} has no [[notify]]", remedy="see the how-to page about notifications")
    rows: list[dict[str, Any]] = []
    for one in found:
        problem = trial(one, read.project.name)
        warnings = [] if problem else list(one.problems())
        rows.append(
            {"target": one.name, "address": one.shown, "on": one.notify.on, "problem": problem, "warnings": warnings}
        )
    if json:
        render.table(rows, (), as_json=True)
    else:
        _tell(rows)
    if failed := sum(row["problem"] is not None for row in rows):
        raise BookkeeperError(
            f"{failed} of {render.count(len(rows), 'target')} did not take the message",
            remedy="check the address and whether its service is there",
        )


def _tell(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        said = row["problem"] or f"{row['address']} took the message"
        render.verdict(row["problem"] is None, f"{row['target']}: {said}")
        for warning in row["warnings"]:
            render.note(f"warning: {warning}")


def _audience(path: str | None) -> tuple[Plugins, list[Subscriber]]:
    """Return the plug-ins, and everybody who is told events."""
    from bookkeeper.plugins import load, subscribers
    from bookkeeper.spec import load as read
    from bookkeeper.submit import audience

    if path is None:
        plugins = load()
        return plugins, subscribers(plugins)
    spec = read(path)
    return spec.loaded, audience(spec)


@contextlib.contextmanager
def _catalog() -> Iterator[Any]:
    """Open the catalog to look at it; None where there is none yet."""
    with contextlib.ExitStack() as stack:
        try:
            database: Database | None = stack.enter_context(catalogs.reading())
        except CatalogMissing:
            database = None
        yield database
