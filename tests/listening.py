"""A catalog with an empty log, plug-ins that write down what they are told, and a dispatcher's lane, for tests."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import bookkeeper
from bookkeeper import events
from bookkeeper.plugins import Event, Patience, Plugins, hookimpl, subscribe, subscribers
from bookkeeper.plugins.cursors import new_owner
from bookkeeper.plugins.lanes import Lane
from bookkeeper.plugins.notify import Notify
from toys import make_zmumu

QUICK = Patience(timeout=120, back_off=(0.01, 0.01, 0.01, 0.01), gather=30)
"""Fails quickly; the first call of a notification also imports what sends it, which may take long."""


class Keeper:
    """A plug-in that keeps the events it is told, but for those of kinds that it ``refuses``."""

    def __init__(self, *refuses: str) -> None:
        self.told: list[Event] = []
        self.refuses = set(refuses)

    @hookimpl
    def bookkeeper_event(self, event: Event) -> None:
        if event.kind in self.refuses:
            raise ValueError(f"{event.kind}\nis refused")
        self.told.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]


class Log:
    """A catalog with project ``p`` over six files, and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = bookkeeper.create_catalog(f"sqlite:///{folder}/catalog.db")
        self.database = self.catalog.database
        (folder / "data").mkdir()
        make_zmumu(folder / "data")
        self.catalog.declare_files(bookkeeper.scan([folder / "data"]))
        self.catalog.define_dataset("all", where="name like '%'")
        self.project = self.catalog.start_project("p", "all")
        self.stop = threading.Event()

    def record(self, kind: str, body: dict[str, Any] | None = None, project: str | None = "p", **ids: int) -> None:
        """Record an event of a project."""
        row = self.database.one("SELECT id FROM projects WHERE name = ?", (project,))
        with self.database.transaction() as tx:
            events.record(tx, kind, body or {}, project=row["id"] if row else None, **ids)

    def lane(
        self,
        plugin: Any,
        *,
        name: str = "mine",
        installed: bool = False,
        patience: Patience = QUICK,
        beginning: bool = False,
    ) -> Lane:
        """Return the lane of a plug-in, its cursor made."""
        plugins = Plugins()
        plugins.add(name, plugin, "here", installed=installed)
        (listener,) = subscribers(plugins, (), "p")
        subscribe(self.database, [listener], beginning=beginning)
        return Lane(self.database, listener, new_owner(), self.stop, patience)

    def target(self, notify: Notify, patience: Patience = QUICK, plugins: Plugins | None = None) -> Lane:
        """Return the lane of a target of notifications."""
        (notifier,) = subscribers(plugins or Plugins(), [notify], "p")
        subscribe(self.database, [notifier])
        return Lane(self.database, notifier, new_owner(), self.stop, patience)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of all events of a kind."""
        rows = self.database.rows("SELECT body FROM events WHERE kind = ? ORDER BY id", (kind,))
        return [json.loads(row["body"]) for row in rows]

    def cursor(self, name: str = "mine@p") -> dict[str, Any]:
        """Return the row of a cursor."""
        return self.database.one("SELECT * FROM cursors WHERE name = ?", (name,)) or {}
