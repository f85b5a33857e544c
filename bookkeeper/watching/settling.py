"""Hand intended jobs over to their batch system: once, whoever does it, and whoever is killed in the middle of it.

Only who holds the lock of the submission's folder speaks of it to the batch system; the kernel lets go of a lock when its
holder is gone, however it died. ``tried`` in the folder is there before the batch system is asked: without it nobody has
asked, with it the batch system is asked first whether it has the tag.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bookkeeper import jobs, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, ExecutorUnavailable, NotAllowed, StorageError, UsageError
from bookkeeper.executors.batch import Accepted, Asks, BatchSystem, Order
from bookkeeper.watching.locks import locked
from bookkeeper.watching.systems import Systems, asks_of
from bookkeeper.worker import Job

if TYPE_CHECKING:
    from bookkeeper.spec import Spec

JOB: Final = "job.json"
TRIED: Final = "tried"
LOCK: Final = "lock"


def settle(
    database: Database,
    systems: Systems,
    submission: Mapping[str, Any],
    spec: Spec | None,
    *,
    adopt: bool = False,
    first: bool = False,
) -> bool:
    """Submit the intended jobs of a submission, or find them submitted; tell whether it is known now.

    ``spec`` is None where it cannot be read: what was not submitted is not submitted then, nor where the project was paused
    or ended since. ``first``: nothing of the request was ever handed over; the batch system is asked before anything is
    tried, so that the spec may name another one where it does not answer. False where somebody else is at it. Raises
    `ExecutorUnavailable`, and `StorageError` where the folder takes no files: then the next look goes on.
    """
    folder = Path(submission["folder"])
    with locked(folder / LOCK) as mine:
        if not mine:
            return False
        for one in jobs.submissions(database, submission["project"]):
            if one["id"] == submission["id"]:
                break
        else:
            return True
        if one["settled_at"] is not None:
            return True  # whoever had the lock before did it
        project, number = submission["project"], submission["id"]
        try:
            if spec is not None and not (folder / TRIED).exists() and _elsewhere(submission, spec):
                raise UsageError("the spec names another batch system since, and this one was given nothing")
            system = systems.of_submission(submission)
            now = projects.status(database, project)
            wanted = now.open_project == project and now.open_state == "open"
            accepted = _hand_over(database.url, system, submission, folder, spec, adopt, wanted, first)
        except ExecutorUnavailable:
            raise
        except BookkeeperError as error:
            remedy = f"; {error.remedy}" if error.remedy else ""
            jobs.not_submitted(database, project, number, reason=f"{error}{remedy}")
            return True
        except OSError as error:  # whether the batch system has the jobs is asked at the next look
            raise StorageError(
                f"a submission cannot be written to {folder}: {error.strerror or error}",
                remedy="free space there, or let this user write; it is tried again",
            ) from error
        jobs.submitted(database, project, number, batch_id=accepted.batch_id, jobs=accepted.jobs)
        return True


def _hand_over(
    address: str,
    system: BatchSystem,
    submission: Mapping[str, Any],
    folder: Path,
    spec: Spec | None,
    adopt: bool,
    wanted: bool,
    first: bool,
) -> Accepted:
    tried = folder / TRIED
    if spec is None:
        bare = Order(submission["tag"], submission["jobs"], (), folder, asks_of(submission["asks"]))
        found = system.find(bare) if tried.exists() else None
        if found is None:
            raise UsageError("the spec of its project cannot be read any more", remedy="submit again")
        return found
    asks, project = asks_of(submission["asks"]), submission["project"]
    order = order_of(address, spec, project, submission["tag"], submission["jobs"], folder, asks, adopt=adopt)
    if tried.exists():
        found = system.find(order)
        if found is not None:
            return found
    if not wanted:
        raise NotAllowed(f"project {project} is not open any more", remedy="nothing to do: others follow when it is")
    if not tried.exists():
        if first:
            system.find(order)
        _write(tried, "")
    try:
        return system.submit(order)
    except ExecutorUnavailable:
        raise
    except BookkeeperError:
        found = system.find(order)  # refused, it says; but never forget jobs that it has
        if found is None:
            raise
        return found


def _elsewhere(submission: Mapping[str, Any], spec: Spec) -> bool:
    """Tell whether the spec names another batch system, or another place of it, than a submission was intended for."""
    kind, options = submission["executor"], spec.executor.asks(spec.folder).options
    return bool(spec.executor.kind != kind or dict(submission["asks"].get("options") or {}) != dict(options))


def order_of(
    address: str,
    spec: Spec,
    project: str,
    tag: str,
    count: int,
    folder: Path,
    asks: Asks,
    *,
    adopt: bool = False,
) -> Order:
    """Return the order of a submission, and write what its jobs run into its folder, which is made if need be.

    ``address`` is that of the catalog, unless the spec names another one for jobs. Made again, it is the same: ``job.json`` stays as it was written first.
    """
    job = replace(
        spec.process(project),
        wait=False,
        memory_mb=asks.memory_mb,
        wall_s=asks.run_time_s,
        executor=spec.executor.kind,
        adopt=adopt,
    )
    address = spec.executor.catalog or address
    title = f"bookkeeper {project}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be made: {error.strerror}") from error
    if asks.transfer == "files":
        loaded = spec.load(job, folder, address)
        return Order(tag, count, loaded.command, folder, asks, loaded.files, title)
    if not (folder / JOB).exists():
        _write(folder / JOB, job.as_json() + "\n")
    words = (sys.executable, "-P", "-m", "bookkeeper.worker", address, str(folder / JOB))
    return Order(tag, count, words, folder, asks, title=title)


def job_of(folder: Path) -> Job:
    """Return what the jobs of a submission run."""
    return Job.from_json((folder / JOB).read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    """Write a file whole, and on disk, or not at all."""
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with whole.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        whole.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
