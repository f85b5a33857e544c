"""Start the project of a spec, with the files that it names."""

from __future__ import annotations

from collections.abc import Iterator

from bookkeeper import datasets, files, projects
from bookkeeper.catalog import Database
from bookkeeper.plugins import Subscriber, subscribe, subscribers
from bookkeeper.plugins.notify import targets
from bookkeeper.scanning import FileRecord, scan
from bookkeeper.spec import Spec
from bookkeeper.submit.progress import OnUpdate, Progress


def audience(spec: Spec) -> list[Subscriber]:
    """Return everybody who is told what happens to the request of a spec: plug-ins, and targets of notifications."""
    return subscribers(spec.loaded, spec.notifications(), spec.project.name)


def unreachable(spec: Spec) -> list[str]:
    """Return what would keep people from being notified, or opens an address to others; no address is in it."""
    found = targets(spec.notifications(), spec.loaded.notifiers())
    return [f"notification {one.name}: {problem}" for one in found for problem in one.problems()]


def prepare(spec: Spec, database: Database, on_update: OnUpdate = lambda progress: None) -> projects.StartedProject:
    """Start the project of a spec, or find it started. Files that the spec names are declared first, once.

    A project that exists keeps its files, whatever the spec's globs match by now. Plug-ins that are new are told
    everything from here on.
    """
    subscribe(database, audience(spec))
    name = spec.project.name
    known = database.one("SELECT 1 FROM projects WHERE name = :name", {"name": name})
    if spec.files and known is None:
        names: list[str] = []

        def tell(done: int, total: int | None, size: int) -> None:
            on_update(Progress("declaring", name, scanned=done, to_scan=total))

        def kept() -> Iterator[FileRecord]:
            for record in scan(spec.files, on_progress=tell):
                names.append(record.name)
                yield record

        files.declare(database, kept())
        datasets.define(database, name, files=names, update=True)
    return projects.start(database, name, spec.dataset, spec.application, spec.rules())
