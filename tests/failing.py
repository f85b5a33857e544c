"""A request that saw failures of many kinds, measured as jobs are: for the tests of what people see of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bookkeeper import events
from bookkeeper.failures import Evidence
from bookkeeper.protocol import EventRecord
from ledgers import Job, World

TIMEOUT = Evidence(
    message="exit code 1: OSError: [ERROR] Operation expired: root://eos01.example//store/f1.root",
    stderr="Error in <TNetXNGFile::Open>: [ERROR] Operation expired\n",
    exit_code=1,
    step="analysis",
)
SEGFAULT = Evidence(
    message="signal 11",
    stderr=" *** Break *** segmentation violation\n#5 0x00007f in Fit::run()\n",
    signal=11,
    step="analysis",
)
FULL = Evidence(message="/results/out: No space left on device", step="output-storage")
ODD = Evidence(message="exit code 77: the moon was wrong", exit_code=77, step="analysis")


def world(path: Path, files: int = 20, **rules: Any) -> World:
    """Make a request of so many files that no failure pauses: the tests bring about what they look at."""
    made = World.create(path, files=files, **rules)
    made.change("UPDATE requests SET policy = ?", [('{"brake": {"identical": 0, "node_failures": 0}}',)])
    return made


def ready(made: World) -> None:
    """Let every file that waits for its next try have waited long enough."""
    made.change("UPDATE ledger SET not_before = 0")
    made.change("UPDATE projects SET rest_until = NULL")


def fail(made: World, evidence: Evidence, node: str = "n1", files: int = 1, *, lasted: float = 100.0) -> Job:
    """Let a job take files on a node, open them, and fail with this evidence."""
    ready(made)
    job = made.start(node=node)
    job.take(files)
    job.open()
    _began_before(made, job, lasted)
    job.roll_back(evidence.message, step=evidence.step, evidence=evidence)
    return job


def commit(made: World, node: str = "n1", files: int = 1, *, lasted: float = 100.0, **measured: Any) -> Job:
    """Let a job commit, and be measured."""
    ready(made)
    job = made.start(node=node)
    job.take(files)
    _began_before(made, job, lasted)
    measure(job, wall_s=lasted, node=node, **measured)
    job.commit()
    return job


def measure(job: Job, **measured: Any) -> None:
    """Record what a worker measures."""
    known = {
        "exit_code": 0,
        "wall_s": 100.0,
        "cpu_s": 80.0,
        "peak_rss_mb": 900.0,
        "entries": 5000,
        "entries_per_s": 50.0,
    }
    job.ledger.record(job.key, [EventRecord("perf.recorded", {**known, **measured})])


def record_failures(made: World, count: int) -> None:
    """Write so many more failed processes, which had no file, each with its failure as the ledger records it."""
    project = made.value("SELECT id FROM projects")
    with made.database.transaction() as tx:
        first = tx.run("SELECT COALESCE(MAX(id), 0) + 1 FROM processes").fetchone()[0]
        for number in range(first, first + count):
            tx.run(_PROCESS, {"id": number, "token": f"{number:064x}", "node": f"n{number % 7}"})
            body = {"category": "unknown", "rule": "unknown", "message": "odd", "fingerprint": f"odd {number % 50}"}
            events.record(tx, "failure.classified", {**body, "by": "rules"}, project=project, process=number)


_PROCESS = """
INSERT INTO processes (id, request_id, project_id, state, token, node, files_per_process, group_limit, lease, lease_until,
                       started_at, ended_at, reason)
SELECT :id, request_id, id, 'rolled_back', :token, :node, 1, 1, 60, 0, 1000, 1100, 'odd' FROM projects
"""


def _began_before(made: World, job: Job, seconds: float) -> None:
    made.change("UPDATE processes SET started_at = started_at - ? WHERE id = ?", [(seconds, job.key.id)])


def interrupt(made: World, node: str = "n1", files: int = 1, *, lasted: float = 100.0) -> Job:
    """Let a job take files, and be interrupted: nothing failed, but its time is lost."""
    ready(made)
    job = made.start(node=node)
    job.take(files)
    _began_before(made, job, lasted)
    job.roll_back("interrupted", counted=False)
    return job


def find_nothing(made: World, node: str = "n1") -> Job:
    """Let a job be given nothing, and go."""
    job = made.start(node=node)
    job.roll_back("no files")
    return job
