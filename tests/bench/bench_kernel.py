"""A job's life cycle through the Python API against raw sqlite3 that runs the same guarded transactions by hand.

The floor executes the kernel's own SQL on the same schema, with the same durability, from the shortest Python that can:
what the ratio leaves is the price of the API, its messages and its doors.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bookkeeper.api import Project
from bookkeeper.ledger import choosing, commit, deliver, start
from bookkeeper.ledger.guards import secret
from bookkeeper.process import new_nonce
from catalogs import make_catalog, make_project
from measure import Row, medians, seconds

FILES_A_PROCESS = 10
PROCESSES_A_ROUND = 30
ROUNDS = 9
FLOOR = "raw sqlite3, 31 guarded transactions for 10 files"


def rows() -> Iterator[Row]:
    """The life cycle verb by verb, with merged calls, and in one delivery."""
    with tempfile.TemporaryDirectory(prefix="bookkeeper-bench-") as folder:
        enough = FILES_A_PROCESS * PROCESSES_A_ROUND * (ROUNDS + 1)
        raw = Raw(Path(folder) / "raw.db", enough)

        def ours(name: str, cycle: Callable[[Project], None]) -> Callable[[], float]:
            catalog = make_catalog(Path(folder) / f"{name}.db")
            project = make_project(catalog, "bench", enough)
            return lambda: seconds(lambda: [cycle(project) for _ in range(PROCESSES_A_ROUND)])

        found = medians(
            {
                "raw": lambda: seconds(lambda: [raw.process() for _ in range(PROCESSES_A_ROUND)]),
                "verbs": ours("verbs", verb_by_verb),
                "merged": ours("merged", one_transaction_a_file),
                "batch": ours("batch", one_delivery),
            },
            ROUNDS,
        )
        yield Row("life cycle verb by verb", found["raw"] / found["verbs"], FLOOR, 0.70, "higher")
        yield Row("life cycle, one transaction a file", found["raw"] / found["merged"], FLOOR, 1.1, "higher")
        yield Row("life cycle, next_files(10), marks at commit", found["raw"] / found["batch"], FLOOR, 2.2, "higher")


def verb_by_verb(project: Project) -> None:
    """31 transactions: start, then next, opened and consumed for each file, then commit."""
    process = project.start_process(files_per_process=FILES_A_PROCESS, node="here")
    for _ in range(FILES_A_PROCESS):
        (file,) = process.next_files(1)
        file.opened()
        file.consumed()
    process.commit(no_output=True)


def one_transaction_a_file(project: Project) -> None:
    """What is done rides on the call that asks for more."""
    process = project.start_process(files_per_process=FILES_A_PROCESS, node="here")
    files = process.next_files(1)
    for _ in range(FILES_A_PROCESS - 1):
        files = process.next_files(1, done=files)
    process.commit(no_output=True, done=files)


def one_delivery(project: Project) -> None:
    """All files at once; the manifest says that they were consumed."""
    process = project.start_process(files_per_process=FILES_A_PROCESS, node="here")
    process.commit(no_output=True, done=process.next_files(FILES_A_PROCESS))


class Raw:
    """The same transactions by hand: two connections, NORMAL and FULL, and the kernel's statements."""

    def __init__(self, path: Path, files: int) -> None:
        make_project(make_catalog(path), "bench", files)
        self.normal, self.full = self._connect(path, "NORMAL"), self._connect(path, "FULL")

    def _connect(self, path: Path, synchronous: str) -> Callable[..., sqlite3.Cursor]:
        connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection.execute

    def process(self) -> None:
        """One life cycle: 31 transactions for 10 files."""
        run, durable = self.normal, self.full
        token = secret(new_nonce())
        durable("BEGIN IMMEDIATE")
        durable(
            start.START,
            {"project": "bench", "token": token, "node": "here", "executor": None, "job_id": None, "partition": None,
             "files_per_process": FILES_A_PROCESS, "lease": None},
        )  # fmt: skip
        process = durable(start.STARTED, {"project": "bench", "token": token}).fetchone()[0]
        durable("COMMIT")
        who = {"id": process, "token": token}
        for seq in range(1, FILES_A_PROCESS + 1):
            run("BEGIN IMMEDIATE")
            request, project, *_ = run(deliver.GUARD, who).fetchone()
            file, attempts, *_ = run(choosing.CANDIDATES, {"project": project, "limit": 1}).fetchone()
            run(deliver.TAKE, {"id": process, "request": request, "file": file})
            run(deliver.DELIVER, {"id": process, "file": file, "seq": seq, "attempt": attempts + 1})
            run(deliver.GAVE, {"id": process, "seq": seq, "count": 1, "limit": FILES_A_PROCESS, "partition": None})
            run("COMMIT")
            run("BEGIN IMMEDIATE")
            run(deliver.GUARD, who).fetchone()
            run(deliver.OPENED, {"id": process, "file": file})
            run("COMMIT")
            run("BEGIN IMMEDIATE")
            run(deliver.GUARD, who).fetchone()
            run(deliver.CONSUMED, {"id": process, "file": file, "entries": None, "bytes": None})
            run("COMMIT")
        durable("BEGIN IMMEDIATE")
        durable(commit.COMMIT, {**who, "no_output": True}).fetchone()
        for (file,) in durable("SELECT file_id FROM deliveries WHERE process_id = ?", (process,)).fetchall():
            durable(commit.CONSUMED, {"id": process, "file": file, "entries": None, "bytes": None})
        durable(commit.LEDGER, {"request": request, "id": process})
        durable(commit.REQUEST_TOTAL, {"request": request, "count": FILES_A_PROCESS})
        durable(commit.PROJECT_TOTAL, {"project": project, "count": FILES_A_PROCESS})
        durable("COMMIT")


if __name__ == "__main__":
    import measure

    measure.show(rows())
