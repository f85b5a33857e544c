"""What must not grow with the project: status, delivery, reasons; and how fast a project starts."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bookkeeper import recovery
from bookkeeper.api import Project
from bookkeeper.ledger import requests
from catalogs import SERIES, make_catalog, make_project
from measure import Row, medians, seconds

MILLION = 1_000_000
GROUP_BY = "SELECT state, count(*) FROM ledger WHERE request_id = 1 GROUP BY state"
IDS = "SELECT file_id FROM ledger WHERE request_id = 1 AND state <> 'committed'"
FEW = 10_000


def rows() -> Iterator[Row]:
    """Rows of all of it; takes about a minute."""
    with tempfile.TemporaryDirectory(prefix="bookkeeper-scale-") as name:
        folder = Path(name)
        yield _start(folder)
        small = make_project(make_catalog(folder / "few.db"), "bench", FEW)
        large = make_project(make_catalog(folder / "million.db"), "bench", MILLION)
        yield from _delivery(small, large)
        one = worked(folder / "one.db", MILLION)
        yield from _status_and_reasons(folder, one)
        ten = worked(folder / "ten.db", 10 * MILLION)
        found = medians({"one": lambda: _repeat(one), "ten": lambda: _repeat(ten)}, 9)
        yield Row("status at 10 M files", found["ten"] / found["one"], "status at 1 M files", 1.5, "lower")


def worked(path: Path, files: int) -> Project:
    """A project of which 99 % is committed, the rest available, a hundred parked. Most of the ledger has no file behind it."""
    catalog = make_catalog(path)
    project = make_project(catalog, "bench", 1)
    with sqlite3.connect(path, isolation_level=None) as connection:
        run = connection.execute
        run("PRAGMA synchronous = OFF")
        run("BEGIN")
        names = "INSERT INTO files (id, name, size, declared_at) SELECT i * 100, 'late.' || i || '.root', 1, 0 FROM s"
        run(f"{SERIES} {names}", {"first": 1, "last": files // 100})
        run(
            "INSERT INTO processes (id, request_id, project_id, state, token, files_per_process, group_limit, lease, lease_until,"
            " started_at, ended_at, reason) VALUES (1, 1, 1, 'committed', 't', 1, 1, 1, 0, 0, 1, NULL),"
            " (2, 1, 1, 'rolled_back', 'u', 1, 1, 1, 0, 0, 1, 'exit code 1')"
        )
        run(
            f"{SERIES} INSERT INTO ledger (request_id, file_id, project_id, version, state, process_id, reason)"
            " SELECT 1, i, 1, 1, CASE WHEN i % 100 THEN 'committed' WHEN i > 10000 THEN 'available' ELSE 'parked' END,"
            " CASE WHEN i % 100 THEN 1 WHEN i % 200 THEN 2 END, CASE WHEN i % 100 = 0 AND i <= 10000 THEN 'parked after 3 attempts' END FROM s",
            {"first": 2, "last": files},
        )
        run("UPDATE requests SET files = ?, committed = ?", (files, files - files // 100))
        run("UPDATE projects SET files = ?, committed = ?", (files, files - files // 100))
        run("COMMIT")
        run("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return project


def _repeat(project: Project) -> float:
    return seconds(lambda: [project.status() for _ in range(20)]) / 20


def _status_and_reasons(folder: Path, project: Project) -> Iterator[Row]:
    connection = sqlite3.connect(folder / "one.db")
    found = medians(
        {
            "status": lambda: _repeat(project),
            "group": lambda: seconds(lambda: connection.execute(GROUP_BY).fetchall()),
            "reasons": lambda: seconds(lambda: recovery.uncommitted(project._database, "bench")),
            "ids": lambda: seconds(lambda: connection.execute(IDS).fetchall()),
        },
        5,
    )
    connection.close()
    yield Row("status at 1 M files", found["status"] / found["group"], "one GROUP BY over the ledger", 0.02, "lower")
    yield Row("every reason of 1 % uncommitted", found["reasons"] / found["ids"], "listing their ids", 15, "lower")


def _delivery(small: Project, large: Project) -> Iterator[Row]:
    """next_files early and late: in a small project, and at both ends of a large one."""

    def taking(project: Project) -> Callable[[], float]:
        def take() -> float:
            process = project.start_process(files_per_process=FEW, node="here")
            times = [seconds(lambda: process.next_files(1)) for _ in range(200)]
            process.roll_back("measured", counted=False)
            return statistics.median(times)

        return take

    found = medians({"small": taking(small), "large": taking(large)}, 5)
    yield Row("next_files at 1 M files", found["large"] / found["small"], f"next_files at {FEW} files", 1.3, "lower")
    process = large.start_process(node="here").id
    with large._database.transaction() as tx:  # all but the last few thousand are done
        last = {"process": process, "last": MILLION - 5000}
        tx.run(
            "UPDATE ledger SET state = 'committed', process_id = :process WHERE request_id = 1 AND file_id <= :last",
            last,
        )
    found = medians({"small": taking(small), "large": taking(large)}, 5)
    yield Row(
        "next_files at the end of 1 M", found["large"] / found["small"], f"next_files at {FEW} files", 1.3, "lower"
    )


def _start(folder: Path) -> Row:
    """Starting a project of a million files, against the bare INSERT … SELECT into the same table."""
    catalog = make_catalog(folder / "start.db")
    make_project(catalog, "first", MILLION)
    number = 0

    def ours() -> float:
        nonlocal number
        number += 1
        return seconds(lambda: catalog.start_project(f"again-{number}", "first", ("bench", "none", "1")))

    def floor() -> float:
        connection = sqlite3.connect(folder / "start.db", isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        took = seconds(
            lambda: (
                connection.execute(
                    "INSERT INTO snapshots (id, dataset_id, files, bytes, taken_at) VALUES (-1, 1, 0, 0, 0)"
                ),
                connection.execute("INSERT INTO snapshot_files SELECT -1, id, version FROM files ORDER BY id"),
                connection.execute(
                    "INSERT INTO requests (id, name, snapshot_id, files, max_attempts, files_per_process, lease)"
                    " VALUES (-1, 'x', -1, 0, 1, 1, 1)"
                ),
                connection.execute(
                    "INSERT INTO projects (id, name, request_id, application_family, application_name, application_version,"
                    " station, owner, files, started_at) VALUES (-1, 'x', -1, '', '', '', '', '', 0, 0)"
                ),
                connection.execute(requests.LEDGER, {"request": -1, "project": -1, "snapshot": -1}),
            )
        )
        took += seconds(lambda: connection.execute("ROLLBACK"))
        connection.close()
        return took

    found = medians({"ours": ours, "floor": floor}, 3)
    catalog.close()
    return Row("start of 1 M files", found["floor"] / found["ours"], "bare INSERT … SELECT", 0.8, "higher")


if __name__ == "__main__":
    import measure

    measure.show(rows())
