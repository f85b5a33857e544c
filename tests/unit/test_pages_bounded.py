"""No page costs more because a project has more files, or more processes than are looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import recovery
from bookkeeper.api import Catalog
from bookkeeper.server.pages import history, process, requests
from bookkeeper.server.pages.views import Views
from goodcatalog import started

PAGES: dict[str, Callable[[Views], Any]] = {
    "overview": lambda views: views.overview({}),
    "request": lambda views: views.request({"project": "mass"}),
    "processes": lambda views: views.processes({"project": "mass"}),
    "rolled back": lambda views: views.processes({"project": "mass", "state": "rolled back", "before": "40"}),
    "parked": lambda views: views.parked({"project": "mass", "after": "3"}),
    "outputs": lambda views: views.outputs({"project": "mass"}),
    "events": lambda views: views.events({"project": "mass"}),
    "process": lambda views: views.process({"process": "1"}),
    "process, files": lambda views: views.process({"process": "1", "after": "60"}),
    "file": lambda views: views.file({"name": "f10"}),
    "nodes": lambda views: views.nodes({}),
    "search": lambda views: views.search({"q": "mass"}),
}


def scene(folder: Path, files: int, processes: int) -> Catalog:
    """A project of so many files, a third of them committed by one process, and so many processes that came to nothing."""
    folder.mkdir()
    catalog, project = started(folder, files, files_per_process=files)
    large = project.start_process()
    for file in large.next_files(files // 3):
        file.consumed(entries=1)
    large.commit(no_output=True)
    project.park([f"f{number:02}" for number in range(files - 30, files)], "bad")
    project.start_process(lease="1h", files_per_process=20).next_files(20)
    with catalog.database.transaction() as tx:
        tx.many(_PROCESS, [(number, f"{number:064x}") for number in range(100, 100 + processes)])
        tx.run("UPDATE projects SET rollbacks = ?", (processes,))
        tx.many(_FAILURE, [(number,) for number in range(100, 100 + processes)])
    return catalog


_PROCESS = """
INSERT INTO processes (id, request_id, project_id, state, token, node, files_per_process, group_limit, lease, lease_until,
                       started_at, ended_at, reason)
SELECT ?1, request_id, id, 'rolled_back', ?2, 'n' || (?1 % 5), 1, 1, 60, 0, 1000 + ?1, 1100 + ?1, 'odd' FROM projects
"""
_FAILURE = """
INSERT INTO events (at, kind, project_id, process_id, body)
VALUES (1000, 'failure.classified', 1, ?1, '{"category": "unknown", "message": "odd", "fingerprint": "odd"}')
"""


def steps(catalog: Catalog, look: Callable[[Views], Any]) -> int:
    """How many hundreds of instructions of SQLite's machine a page takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    views = Views(catalog.database, logs=True)
    reader = catalog.database._pool.reader()
    reader.set_progress_handler(count, 100)
    look(views)
    reader.set_progress_handler(None, 100)
    return counted


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> list[Catalog]:
    folder = tmp_path_factory.mktemp("bounded")
    return [scene(folder / "small", 900, 300), scene(folder / "large", 3600, 1200)]


@pytest.mark.parametrize("name", PAGES)
def test_page_costs_the_same_however_large(name: str, catalogs: list[Catalog], monkeypatch: pytest.MonkeyPatch) -> None:
    for module, limit, rows in (
        (requests, "EXACT", 200), (requests, "WINDOW", 100), (requests, "FAILURES", 50), (process, "COUNTED", 100),
        (history, "WINDOW", 100), (recovery, "SAMPLE", 100),
    ):  # fmt: skip
        monkeypatch.setattr(module, limit, rows)
    small, large = (steps(catalog, PAGES[name]) for catalog in catalogs)
    assert large <= 1.3 * small + 20, f"{small} and {large} hundred instructions"


def test_counting_sees_what_grows(catalogs: list[Catalog]) -> None:
    """The view of all that is not committed is what no page may read whole."""
    small, large = (steps(one, lambda _, one=one: recovery.uncommitted(one.database, "mass")) for one in catalogs)  # type: ignore[misc]
    assert large > 3 * small > 300
