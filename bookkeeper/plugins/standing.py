"""How plug-ins stand: where each comes from, how far it was told the log, and how it failed last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.plugins import cursors, log
from bookkeeper.plugins.loading import Plugins
from bookkeeper.plugins.notify import Notifier
from bookkeeper.plugins.subscribers import Listener, Subscriber

COUNTED: Final = 10_000
"""The most events that are looked through to count those a subscriber is still to be told."""

NAMES: Final = "SELECT name FROM cursors ORDER BY name"

LAST: Final = """
SELECT id, at, body FROM events
 WHERE kind = :kind AND (project_id IS NULL OR project_id IN (SELECT id FROM projects)) AND body ->> 'plugin' = :name
 ORDER BY id DESC LIMIT 1
"""


def standing(database: Database | None, plugins: Plugins, subscribers: Sequence[Subscriber]) -> list[dict[str, Any]]:
    """Return a row for every plug-in and target that is loaded, then for every other that has a cursor.

    ``cursor`` is the last event it was told, ``behind`` how many it is still to be told (at most 10,000 are looked
    through), ``attempts`` those that failed for the next; ``failure`` is the last one, ``at`` its time. ``problem``
    says why an installed one could not be loaded.
    """
    told = {one.name: one for one in subscribers}
    named = {one.plugin.name: one for one in subscribers if isinstance(one, Listener)}
    rows = [
        _row(
            database,
            named[plugin.name].name if plugin.name in named else plugin.name,
            plugin.source,
            plugin.hooks,
            told,
        )
        for plugin in plugins
    ]
    for one in subscribers:
        if isinstance(one, Notifier):
            rows.append(_row(database, one.name, one.target.shown, one.target.notify.on, told))
    rows += [{**_row(None, name, "installed", (), {}), "problem": problem} for name, problem in plugins.broken.items()]
    others = [row["name"] for row in database.rows(NAMES)] if database else []
    rows += [_row(database, name, "another spec", (), {}) for name in others if name not in told]
    return rows


def _row(
    database: Database | None, name: str, source: str, hooks: Sequence[str], told: dict[str, Subscriber]
) -> dict[str, Any]:
    cursor = cursors.look(database, name) if database else None
    failed = database.one(LAST, {"kind": log.FAILED, "name": name}) if database and cursor else None
    return {
        "name": name,
        "source": source,
        "hooks": list(hooks),
        "cursor": cursor["event_id"] if cursor else None,
        "behind": _behind(database, cursor["event_id"], told.get(name)) if database and cursor else None,
        "attempts": cursor["attempts"] if cursor else None,
        "failure": json.loads(failed["body"])["problem"] if failed else None,
        "at": failed["at"] if failed else None,
        "problem": None,
    }


def _behind(database: Database, event: int, subscriber: Subscriber | None) -> int | None:
    if subscriber is None:
        return None
    return sum(subscriber.wants(one) for one in log.read(database, event, COUNTED))
