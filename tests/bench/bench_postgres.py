"""A job's life cycle on PostgreSQL against prepared psycopg that runs the same guarded transactions by hand.

And what a queue costs that drains while somebody looks at an old state of the database: rows that were taken are kept for
that one, and lie in the way of every search that begins at the head of the index. So are the older states of a process,
which has a new one with each call: processes are of a size that jobs have, and each is as slow as the one before it.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bookkeeper.api import Catalog, Project, create_catalog
from bookkeeper.ledger import choosing, commit, deliver, outputs, start
from bookkeeper.ledger.guards import secret
from bookkeeper.postgres import translated
from bookkeeper.postgres.connections import KERNEL, connect
from bookkeeper.process import new_nonce
from measure import Row, medians, seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services import postgres

FILES_A_PROCESS = 10
PROCESSES_A_ROUND = 10
ROUNDS = 5
DRAINED = 10_000
"""Files that are taken one by one beside a long look."""
DRAINED_A_PROCESS = 100

FLOOR = "prepared psycopg, 31 guarded transactions for 10 files"


def rows() -> Iterator[Row]:
    """The life cycle verb by verb, and the drained queue."""
    with postgres.running(("max_wal_size=4GB",)) as server:
        enough = FILES_A_PROCESS * PROCESSES_A_ROUND * (ROUNDS + 1)
        ours, raw = _project(server, "ours", enough), Raw(server, enough)
        found = medians(
            {
                "raw": lambda: seconds(lambda: [raw.process() for _ in range(PROCESSES_A_ROUND)]),
                "ours": lambda: seconds(lambda: [verb_by_verb(ours) for _ in range(PROCESSES_A_ROUND)]),
            },
            ROUNDS,
        )
        yield Row("PostgreSQL: life cycle verb by verb", found["raw"] / found["ours"], FLOOR, 0.75, "higher")
        first, last = drained(server)
        yield Row(
            f"PostgreSQL: {DRAINED} files taken under a long look, last tenth",
            last / first,
            "the first tenth of the same queue",
            1.3,
            "lower",
        )


def verb_by_verb(project: Project) -> None:
    """31 transactions: start, then next, opened and consumed for each file, then commit."""
    process = project.start_process(files_per_process=FILES_A_PROCESS, node="here")
    for _ in range(FILES_A_PROCESS):
        (file,) = process.next_files(1)
        file.opened()
        file.consumed()
    process.commit(no_output=True)


def drained(server: postgres.Server) -> tuple[float, float]:
    """The median seconds of a process in the first and in the last tenth of a queue, with a snapshot open from before the first."""
    project = _project(server, "drained", DRAINED)
    look = connect(server.url("drained"))
    look.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    look.execute("SELECT count(*) FROM ledger")

    def one() -> None:
        process = project.start_process(files_per_process=DRAINED_A_PROCESS, node="here")
        for _ in range(DRAINED_A_PROCESS):
            assert len(process.next_files(1)) == 1

    taken = [seconds(one) for _ in range(DRAINED // DRAINED_A_PROCESS)]
    look.close()
    tenth = len(taken) // 10
    return statistics.median(taken[:tenth]), statistics.median(taken[-tenth:])


def _project(server: postgres.Server, name: str, files: int) -> Project:
    catalog: Catalog = create_catalog(server.url(name))
    catalog.declare_files(
        {"name": f"f{number:08}", "size": 1, "locations": [f"/in/{number}"]} for number in range(files)
    )
    catalog.define_dataset("all", names=["*"])
    return catalog.start_project("bench", "all")


class Raw:
    """The same transactions by hand: two connections, prepared statements, and the kernel's text."""

    def __init__(self, server: postgres.Server, files: int) -> None:
        _project(server, "raw", files)
        self.normal, self.full = self._connect(server, "off"), self._connect(server, "on")

    def _connect(self, server: postgres.Server, synchronous: str) -> Callable[..., Any]:
        connection = connect(server.url("raw"), f"{KERNEL} -c synchronous_commit={synchronous}")
        return connection.execute

    def process(self) -> None:
        """One life cycle: 31 transactions for 10 files."""
        run, durable = self.normal, self.full
        token = secret(new_nonce())
        durable("BEGIN")
        durable(
            translated(start.START),
            {"project": "bench", "token": token, "node": "here", "executor": None, "job_id": None, "partition": None,
             "files_per_process": FILES_A_PROCESS, "lease": None},
        )  # fmt: skip
        process = durable(translated(start.STARTED), {"project": "bench", "token": token}).fetchone()[0]
        durable("COMMIT")
        who = {"id": process, "token": token}
        after = 0
        for seq in range(1, FILES_A_PROCESS + 1):
            run("BEGIN")
            request, project, *_ = run(translated(deliver.GUARD), who).fetchone()
            asked = {"project": project, "limit": 1, "after": after}
            after, attempts, *_ = run(translated(choosing.FURTHER_ON), asked).fetchone()
            run(translated(deliver.TAKE), {"id": process, "request": request, "file": after})
            run(translated(deliver.DELIVER), {"id": process, "file": after, "seq": seq, "attempt": attempts + 1})
            gave = {"id": process, "seq": seq, "count": 1, "limit": FILES_A_PROCESS, "partition": None}
            run(translated(deliver.GAVE), gave)
            run("COMMIT")
            run("BEGIN")
            run(translated(deliver.GUARD), who).fetchone()
            run(translated(deliver.OPENED), {"id": process, "file": after})
            run("COMMIT")
            run("BEGIN")
            run(translated(deliver.GUARD), who).fetchone()
            consumed = {"id": process, "file": after, "entries": None, "bytes": None}
            run(translated(deliver.CONSUMED), consumed)
            run("COMMIT")
        durable("BEGIN")
        durable(translated(commit.COMMIT), {**who, "no_output": True}).fetchone()
        for (file,) in durable("SELECT file_id FROM deliveries WHERE process_id = %s", (process,)).fetchall():
            durable(translated(commit.CONSUMED), {"id": process, "file": file, "entries": None, "bytes": None})
        durable(translated(commit.LEDGER), {"request": request, "id": process})
        durable(translated(commit.REQUEST_TOTAL), {"request": request, "count": FILES_A_PROCESS})
        durable(translated(commit.PROJECT_TOTAL), {"project": project, "count": FILES_A_PROCESS})
        durable(translated(outputs.OUTPUTS_OF), {"id": process}).fetchall()
        durable("COMMIT")


if __name__ == "__main__":
    import measure

    measure.show(rows())
