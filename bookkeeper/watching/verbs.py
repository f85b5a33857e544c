"""What people do to jobs in a batch system: kill, hold, release, try again.

Nobody need look after the project at that moment: a verb takes in by itself what became of the jobs.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bookkeeper import jobs, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, NotFound, UsageError
from bookkeeper.ledger.door import bury
from bookkeeper.watching import taking
from bookkeeper.watching.systems import Systems, known_of
from bookkeeper_schema.states import JobState

LIVE: Final = ("active", "staged")

PATIENCE: Final = 5.0
"""Seconds that a verb waits at most until the batch system tells that it was done. It may take longer; whoever looks next
takes it in."""


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
        raise _nothing(project, chosen, "in a queue")
    buried = tuple(process for process in processes if bury(database, process, why, counted=False))
    told = [one for one in found if one["job"]]
    names = _told(database, told, "remove", why, elsewhere=bool(processes))
    _await(database, told, "remove")
    return Done(names, buried, paused)


def hold(database: Database, project: str, chosen: Chosen, reason: str | None = None) -> Done:
    """Keep jobs from running until they are released; what runs is stopped, and rolled back without a charge."""
    why = f"held by {getpass.getuser()}" + (f": {reason}" if reason else "")
    found = _chosen(database, project, chosen, (JobState.IDLE, JobState.RUNNING, JobState.SUSPENDED))
    if not found:
        raise _nothing(project, chosen, "waiting or running")
    names = _told(database, found, "hold", why)
    processes = _processes(database, project, chosen, list(names))
    buried = tuple(one for one in processes if bury(database, one, why, counted=False))
    _await(database, found, "hold")
    return Done(names, buried)


def release(database: Database, project: str, chosen: Chosen) -> Done:
    """Let held jobs run again: whatever their batch system holds by now. Raises `NotFound` where it holds none of them."""
    _ask(database, _chosen(database, project, chosen, _OPEN))
    found = _chosen(database, project, chosen, (JobState.HELD,))
    if not found:
        raise _nothing(project, chosen, "held", known=bool(_chosen(database, project, chosen, _OPEN)))
    names = _told(database, found, "release", None)
    _await(database, found, "release")
    return Done(names)


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
    """Return the rows of the jobs that are meant. A job is on a node where it, or its live process, says so.

    The two may call a machine differently: one has its name from the batch system, the other from the machine.
    """
    projects.status(database, project)
    of = None if chosen.process is None else jobs.of_process(database, chosen.process)
    there: set[tuple[str, str]] = set()
    if chosen.node is not None:
        live = database.rows(_PROCESSES, {"project": project})
        there = {(one["executor"], one["job_id"]) for one in live if one["node"] == chosen.node}
    return [
        row
        for row in jobs.table(database, project, everything=True)
        if row["state"] in states
        and (chosen.job is None or row["job"] == chosen.job)
        and (chosen.node is None or row["node"] == chosen.node or (row["executor"], row["job"]) in there)
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
    ours = _of_this_host(found)
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


def _await(database: Database, found: Sequence[Mapping[str, Any]], verb: str) -> None:
    """Take in that it was done, as soon as the batch systems of this host tell it; no failure where they do not yet."""
    until, ours = time.monotonic() + PATIENCE, _of_this_host(found)
    with contextlib.suppress(BookkeeperError):
        while not _is_told(database, ours, verb, until - time.monotonic()):
            pass


def _is_told(database: Database, found: Sequence[Mapping[str, Any]], verb: str, left: float) -> bool:
    """Look once, and tell whether that is the end of it; else wait until something may have happened.

    The systems are made anew: those that are asked, and have no log, would not be asked again so soon.
    """
    systems, names = Systems(database), {(one["tag"], one["job"]) for one in found}
    try:
        _follow(database, systems, found)
        late = [
            one
            for one in _submissions(database, found)
            for job in one["unfinished"]
            if (one["tag"], job["batch_id"]) in names and _is_late(verb, job["state"])
        ]
        if late and left > 0:
            systems.of_submission(late[0]).wait(min(left, 1.0))
        return not late or left <= 0
    finally:
        systems.close()


def _follow(database: Database, systems: Systems, found: Sequence[Mapping[str, Any]]) -> None:
    for one in _submissions(database, found):
        taking.follow(database, one["project"], systems.of_submission(one), known_of(one))


def _is_late(verb: str, state: str) -> bool:
    """Tell whether an unfinished job in this state is not yet what the verb makes of it."""
    if verb == "release":
        return state == JobState.HELD
    return verb == "remove" or state != JobState.HELD


def _ask(database: Database, found: Sequence[Mapping[str, Any]]) -> None:
    """Take in how jobs stand in the batch systems of this host: what these told since, and what they say now."""
    systems, ours = Systems(database), _of_this_host(found)
    try:
        _follow(database, systems, ours)
        for one in _submissions(database, ours):
            system, known = systems.of_submission(one), known_of(one)
            if seen := system.reconcile([known]).get(known.id):
                taking.take_in(database, one["project"], system, known, known.position, seen)
    finally:
        systems.close()


def _of_this_host(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    host = socket.gethostname()
    return [one for one in found if one["host"] == host]


def _submissions(database: Database, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the submissions of jobs that a batch system has, those that have jobs which are not over."""
    projects_ = dict.fromkeys(one["project"] for one in found)
    tags = {one["tag"] for one in found}
    known = {one["tag"]: one for project in projects_ for one in jobs.submissions(database, project)}
    return [one for tag, one in known.items() if tag in tags and one["settled_at"] is not None]


def _nothing(project: str, chosen: Chosen, state: str, *, known: bool = False) -> NotFound:
    """Return the error for jobs that are not there, or, where they are ``known``, not in that state."""
    words = {"process": chosen.process, "node": chosen.node, "job": chosen.job}
    said = ", ".join(f"{name} {value}" for name, value in words.items() if value is not None)
    what = f"no job of {project} is {state}" if known or not said else f"project {project} has no such job"
    return NotFound(
        what + (f" ({said})" if said else ""),
        remedy=f"`bookkeeper jobs {project}` shows the queue",
    )
