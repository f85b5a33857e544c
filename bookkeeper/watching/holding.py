"""Held jobs: those that a person held wait for that person, all others are removed, and others submitted for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bookkeeper import failures, jobs
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError
from bookkeeper.failures import Evidence
from bookkeeper.watching.systems import Systems
from bookkeeper_schema.states import JobState

BY_PERSON: Final = 1
SPOOLING: Final = 16
"""HTCondor's codes of holds that end by themselves, or by whoever held the job."""

Note = Callable[[BookkeeperError], None]


def waits_for_person(job: Mapping[str, Any]) -> bool:
    """Tell whether a held job is to be left as it is."""
    return job["hold_code"] in (None, BY_PERSON, SPOOLING)


def held_by_person(submission: Mapping[str, Any]) -> int:
    """Return how many jobs of a submission wait for a person: others do their work, if there may be more at once."""
    return sum(
        job["state"] == JobState.HELD and job["hold_code"] in (None, BY_PERSON) for job in submission["unfinished"]
    )


def did_not_start(job: Mapping[str, Any]) -> bool:
    """Tell whether a job that is over failed before it opened a process; one that a person took away did not fail."""
    if job["process_id"] is not None:
        return False
    if job["state"] == JobState.REMOVED:
        return job["hold_code"] not in (None, BY_PERSON)
    return not (job["state"] == JobState.COMPLETED and job["exit_code"] in jobs.QUIET)


def decide(database: Database, systems: Systems, submissions: Sequence[Mapping[str, Any]], note: Note) -> None:
    """Remove what the batch system holds for a reason that a release does not mend; why is recorded, once each."""
    for one in submissions:
        held = [job for job in one["unfinished"] if job["state"] == JobState.HELD and not waits_for_person(job)]
        for job in held:
            if job["verdict"] is not None:
                continue
            explained = failures.explain(
                Evidence(
                    message=job["reason"] or "the batch system held it",
                    hold_code=job["hold_code"],
                    hold_subcode=job["hold_subcode"],
                    state="HELD",
                )
            )
            said = {
                "job": job["batch_id"],
                "category": explained.category.value,
                "rule": explained.rule,
                "remedy": explained.remedy,
                "reason": job["reason"],
            }
            jobs.decide(database, one["project"], one["id"], job["number"], said)
        if held:
            try:
                names = [job["batch_id"] for job in held]
                systems.of_submission(one).remove(names, "held; others are submitted for them")
            except BookkeeperError as error:
                note(error)


def remove_waiting(systems: Systems, submissions: Sequence[Mapping[str, Any]], reason: str, note: Note) -> None:
    """Remove jobs that wait for nothing: their request has nothing left to deliver."""
    for one in submissions:
        waiting = [job["batch_id"] for job in one["unfinished"] if job["state"] in (JobState.IDLE, JobState.HELD)]
        if waiting and one["settled_at"] is not None:
            try:
                systems.of_submission(one).remove(waiting, reason)
            except BookkeeperError as error:
                note(error)
