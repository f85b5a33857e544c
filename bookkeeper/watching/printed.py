"""What batch jobs print: brought here when they are over, and kept with their processes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bookkeeper import jobs, logs
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, NotFound
from bookkeeper.executors.batch import LEFT, BatchSystem, Known
from bookkeeper.logs import Log
from bookkeeper.watching.systems import Systems, known_of

PROCESS: Final = """
SELECT process_id FROM jobs
 WHERE submission_id = :submission AND number = :number AND process_id IS NOT NULL
"""


def keep(database: Database, system: BatchSystem, known: Known, numbers: Sequence[int]) -> None:
    """Keep what jobs that are over printed; once all of a submission are, let its batch system forget them.

    What cannot be had now can be asked for later: `log_of_job` fetches it then, and `forget_over` lets forget.
    """
    with contextlib.suppress(BookkeeperError):
        for number in numbers:
            _keep(database, system, known, number)
        if numbers and set(numbers) == set(known.open):
            system.forget(known)


def forget_over(database: Database, systems: Systems) -> None:
    """Let batch systems forget what `keep` did not: somebody was killed before it, two shared the work, nobody answered.

    What jobs printed is kept before. Where the batch system or the catalog does not answer, they are asked again.
    """
    for mark in systems.folder.glob(f"*/{LEFT}"):
        with contextlib.suppress(BookkeeperError):
            submission = jobs.over(database, mark.parent.name)
            if submission is None or submission["host"] != socket.gethostname():
                continue
            system, known = systems.of_submission(submission), known_of(submission)
            for number in range(known.jobs) if known.batch_id else ():
                _keep(database, system, known, number)
            system.forget(known)


def _keep(database: Database, system: BatchSystem, known: Known, number: int) -> None:
    system.fetch(known, number)
    row = database.one(PROCESS, {"submission": known.id, "number": number})
    if row is not None:
        logs.keep_job(database, row["process_id"], parts(known.folder, number))


def parts(folder: Path, number: int) -> tuple[Path, Path]:
    """Return where a job's standard output and standard error are."""
    return folder / f"out.{number}", folder / f"err.{number}"


def log_of_job(database: Database, process: int) -> Log:
    """Return what the batch job of a process printed, fetched where it runs yet. Raises `NotFound`."""
    job = jobs.of_process(database, process)
    if job is None:
        raise NotFound(
            f"no batch system ran process {process}",
            remedy=f"`bookkeeper logs {process}` prints what its command wrote",
        )
    if job["host"] == socket.gethostname():
        known, systems = known_of(job | {"id": job["submission_id"]}), Systems(database)
        try:
            with contextlib.suppress(BookkeeperError):
                systems.of_submission(job).fetch(known, job["number"])
        finally:
            systems.close()
        logs.keep_job(database, process, parts(known.folder, job["number"]))
    found = logs.of_job(database, process)
    if found is None:
        raise NotFound(
            f"nothing was kept of the job {job['job']} of process {process}",
            remedy=f"it printed nothing, or what it printed is on {job['host']}",
        )
    return found
