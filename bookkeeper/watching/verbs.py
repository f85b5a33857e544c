"""What people do to jobs in a batch system: kill, hold, release, fetch what they printed."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bookkeeper import jobs, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import NotFound, UsageError
from bookkeeper.ledger.door import bury
from bookkeeper.watching.systems import Systems
from bookkeeper_schema.states import JobState

LIVE: Final = ("active", "staged")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which jobs of a project are meant: of one process, on one node, of one name; all where nothing is said."""

    process: int | None = None
    node: str | None = None
    job: str | None = None

    @property
    def everything(self) -> bool:
        """Whether all jobs of the project are meant."""
        return self.process is None and self.node is None and self.job is None


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: to which jobs (batch ids), and to which processes. ``paused`` is the project, if it was paused."""

    jobs: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    paused: str | None = None


def kill(database: Database, project: str, chosen: Chosen, reason: str | None = None) -> Done:
    """Remove jobs from the queue and roll back their processes; nothing of it is charged to their files.

    All jobs of a project: the project is paused first, or others would be submitted for them. Some: others are submitted
    in their place. Processes of any executor are rolled back, also where the batch system is that of another host; their
    workers stop by themselves. Raises `NotFound` where nothing is meant.
    """
    why = f"killed by {getpass.getuser()}" + (f": {reason}" if reason else "")
    paused = None
    if chosen.everything:
        paused = projects.status(database, project).open_project
        if paused is not None:
            projects.pause(database, paused, why)
    found = _chosen(database, project, chosen, (JobState.INTENDED, *_OPEN))
    processes = _processes(database, project, chosen, [one["job"] for one in found])
    if not found and not processes and not chosen.everything:
        raise _nothing(project, chosen)
    buried = tuple(process for process in processes if bury(database, process, why, counted=False))
    names = _told(database, [one for one in found if one["job"]], "remove", why, elsewhere=bool(processes))
    return Done(names, buried, paused)


def hold(database: Database, project: str, chosen: Chosen, reason: str | None = None) -> Done:
    """Keep jobs from running until they are released; what runs is stopped, and rolled back without a charge."""
    why = f"held by {getpass.getuser()}" + (f": {reason}" if reason else "")
    found = _chosen(database, project, chosen, (JobState.IDLE, JobState.RUNNING, JobState.SUSPENDED))
    if not found:
        raise _nothing(project, chosen)
    names = _told(database, found, "hold", why)
    processes = _processes(database, project, chosen, list(names))
    return Done(names, tuple(one for one in processes if bury(database, one, why, counted=False)))


def release(database: Database, project: str, chosen: Chosen) -> Done:
    """Let held jobs run again."""
    found = _chosen(database, project, chosen, (JobState.HELD,))
    if not found:
        raise _nothing(project, chosen)
    return Done(_told(database, found, "release", None))


def resubmit(database: Database, project: str, process: int | None = None) -> Done:
    """Let what failed be tried again: the files of a process that failed, or all; what runs is left alone.

    Parked files are given back, waiting ones wait no more, and the project goes on if it was paused or rests. Jobs are
    submitted for them by whoever looks after the request. Raises `NotFound` where there is nothing to try again.
    """
    status = projects.status(database, project)
    if status.open_project is None:
        raise UsageError(
            f"project {project} has ended: nothing of it is submitted any more",
            remedy=f"`bookkeeper recover {project}` takes up what is missing",
        )
    if process is not None:
        kind = database.one(_STATE, {"process": process, "project": project})
        if kind is None:
            raise NotFound(f"there is no process {process} in {project}", remedy=f"`bookkeeper jobs {project}`")
        if kind["state"] in LIVE:
            raise UsageError(
                f"process {process} is {kind['state']}: it has not failed",
                remedy=f"`bookkeeper kill {project} --process {process}` ends it, and another is submitted",
            )
        names: list[str] | None = [row["name"] for row in database.rows(_PARKED, {"process": process})]
    else:
        names = None
    if names is None or names:
        projects.unpark(database, status.open_project, names)
    projects.resume(database, status.open_project)
    return Done(processes=() if process is None else (process,))


_STATE: Final = """
SELECT p.state FROM processes p JOIN projects j ON j.request_id = p.request_id
 WHERE p.id = :process AND j.name = :project
"""

_PARKED: Final = """
SELECT f.name FROM deliveries d JOIN files f ON f.id = d.file_id JOIN processes p ON p.id = d.process_id
  JOIN ledger l ON l.request_id = p.request_id AND l.file_id = d.file_id
 WHERE d.process_id = :process AND l.state = 'parked' ORDER BY f.name
"""

_PROCESSES: Final = """
SELECT p.id, p.node, p.job_id, p.executor FROM processes p
 WHERE p.request_id = (SELECT request_id FROM projects WHERE name = :project) AND p.state IN ('active', 'staged')
 ORDER BY p.id
"""

_OPEN: Final = (JobState.IDLE, JobState.RUNNING, JobState.SUSPENDED, JobState.HELD)


def _chosen(database: Database, project: str, chosen: Chosen, states: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of the jobs that are meant."""
    projects.status(database, project)
    of = None if chosen.process is None else jobs.of_process(database, chosen.process)
    return [
        row
        for row in jobs.table(database, project, everything=True)
        if row["state"] in states
        and (chosen.job is None or row["job"] == chosen.job)
        and (chosen.node is None or row["node"] == chosen.node)
        and (chosen.process is None or row["process_id"] == chosen.process or _runs(of, row))
    ]


def _runs(of: Mapping[str, Any] | None, row: Mapping[str, Any]) -> bool:
    return of is not None and of["job"] == row["job"] and of["tag"] == row["tag"]


def _processes(database: Database, project: str, chosen: Chosen, names: Sequence[str | None]) -> list[int]:
    """Return the live processes that are meant: those of these jobs, and those that are named themselves."""
    meant = set(names)
    return [
        row["id"]
        for row in database.rows(_PROCESSES, {"project": project})
        if chosen.everything
        or row["id"] == chosen.process
        or (chosen.node is not None and row["node"] == chosen.node)
        or row["job_id"] in meant
    ]


def _told(
    database: Database, found: Sequence[Mapping[str, Any]], verb: str, reason: str | None, *, elsewhere: bool = False
) -> tuple[str, ...]:
    """Tell the batch systems of this host; return the batch ids. Raises `UsageError` for jobs of other hosts only."""
    host = socket.gethostname()
    ours = [one for one in found if one["host"] == host]
    if found and not ours and not elsewhere:
        raise UsageError(
            f"the jobs were submitted on {found[0]['host']}: only there their batch system knows of them",
            remedy=f"type this on {found[0]['host']}",
        )
    systems = Systems(database)
    try:
        by_tag = {one["tag"]: one for one in _submissions(database, ours)}
        for tag, submission in by_tag.items():
            names = [one["job"] for one in ours if one["tag"] == tag]
            system = systems.of_submission(submission)
            if verb == "release":
                system.release(names)
            elif verb == "hold":
                system.hold(names, reason or "")
            else:
                system.remove(names, reason or "")
    finally:
        systems.close()
    return tuple(one["job"] for one in ours)


def _submissions(database: Database, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    projects_ = dict.fromkeys(one["project"] for one in found)
    tags = {one["tag"] for one in found}
    known = {one["tag"]: one for project in projects_ for one in jobs.submissions(database, project)}
    return [one for tag, one in known.items() if tag in tags]


def _nothing(project: str, chosen: Chosen) -> NotFound:
    words = {"process": chosen.process, "node": chosen.node, "job": chosen.job}
    said = ", ".join(f"{name} {value}" for name, value in words.items() if value is not None)
    return NotFound(
        f"project {project} has no such job" + (f" ({said})" if said else ""),
        remedy=f"`bookkeeper jobs {project}` shows the queue",
    )
