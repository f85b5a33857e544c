"""Take in what happened to jobs: once, whoever and however many tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from bookkeeper.catalog import Database, Tx, storable
from bookkeeper.events import record
from bookkeeper.jobs.seen import Seen
from bookkeeper.jobs.submitting import check
from bookkeeper.operations import operation
from bookkeeper_schema.states import OVER, JobState

MOVE_ON: Final = """
UPDATE submissions SET position = :new WHERE id = :submission AND COALESCE(position, '') = COALESCE(:old/*text*/, '')
RETURNING project_id, request_id, executor
"""

NOW_IS: Final = """
SELECT state, batch_id, node, hold_code, hold_subcode, exit_code, signal, reason, started_at FROM jobs
 WHERE submission_id = :submission AND number = :number
"""

CHANGE: Final = """
UPDATE jobs SET state = :state, starts = starts + :begun, node = :node, hold_code = :hold_code, hold_subcode = :hold_subcode,
       exit_code = :exit_code, signal = :signal, reason = :reason, changed_at = :at, started_at = :started_at,
       ended_at = :ended_at, verdict = NULL, process_id = (SELECT max(p.id) FROM processes p
           WHERE p.job_id = :batch_id/*text*/ AND p.request_id = :request AND p.executor = :executor/*text*/)
 WHERE submission_id = :submission AND number = :number AND state = :was
RETURNING process_id
"""

WHOSE: Final = """
SELECT COALESCE(max(CASE WHEN p.started_at <= :at/*double precision*/ THEN p.id END), min(p.id)) FROM processes p
 WHERE p.job_id = :batch_id/*text*/ AND p.request_id = :request AND p.executor = :executor/*text*/
"""
"""The process that an end of a run is told of: where it is told late, the job may have opened another one since."""

WAITS: Final = """
UPDATE jobs SET reason = :reason/*text*/
 WHERE submission_id = :submission AND number = :number AND state = 'idle' AND COALESCE(reason, '') <> COALESCE(:reason/*text*/, '')
RETURNING number
"""

WORDS: Final = {
    JobState.IDLE: "job.queued",
    JobState.RUNNING: "job.running",
    JobState.SUSPENDED: "job.suspended",
    JobState.HELD: "job.held",
    JobState.COMPLETED: "job.terminated",
    JobState.REMOVED: "job.removed",
    JobState.LOST: "job.lost",
}
"""What an event is called, by the state that a job comes to. One that dies and waits again was evicted."""


@operation("work", project="project", again=True)
def observe(
    database: Database, project: str, submission: int, old: str | None, new: str | None, seen: Sequence[Seen]
) -> int | None:
    """Take in what a batch system told of jobs since the position ``old``; return how many changes that were.

    None where somebody else was faster: the position is another one by now, and what was told is taken in already.
    """

    def move(tx: Tx) -> int | None:
        check(tx, project, submission)
        row = tx.run(MOVE_ON, {"submission": submission, "old": old, "new": new}).fetchone()
        if row is None:
            return None
        moved = old != new
        return sum(_apply(tx, submission, row, one, moved=moved) for one in seen)

    return database.run(move)


def _apply(tx: Tx, submission: int, of: tuple[int, int, str], seen: Seen, *, moved: bool) -> bool:
    """Change one job, as it was seen; tell whether it changed. One that is over stays so, but for one that was lost."""
    project, request, executor = of
    key = {"submission": submission, "number": seen.number}
    row = tx.run(NOW_IS, key).fetchone()
    if row is None:
        return False
    was, batch_id, node, hold_code, hold_subcode, exit_code, signal, reason, started_at = row
    if was in OVER and (was != JobState.LOST or seen.state in (None, JobState.LOST)):
        return False
    if seen.state is None and not seen.died and was == JobState.IDLE and seen.reason is not None:
        return tx.run(WAITS, {**key, "reason": storable(seen.reason) or None}).fetchone() is not None
    state = seen.state or (JobState.IDLE if seen.died and was not in (JobState.HELD, JobState.INTENDED) else None)
    begun = state is JobState.RUNNING and was not in (JobState.SUSPENDED,) and (was != JobState.RUNNING or moved)
    if state is None or (state == was and not (begun or seen.died)) or (state == was and not moved):
        return False
    over = state in OVER
    held = state is JobState.HELD
    changed = tx.run(
        CHANGE,
        {
            **key,
            "was": was,
            "state": state,
            "batch_id": batch_id,
            "request": request,
            "executor": executor,
            "begun": int(begun),
            "node": seen.node or (None if begun else node),
            "hold_code": seen.hold_code if held else (hold_code if over else None),
            "hold_subcode": seen.hold_subcode if held else (hold_subcode if over else None),
            "exit_code": seen.exit_code if over else exit_code,
            "signal": seen.signal if over else signal,
            "reason": storable(seen.reason) if seen.reason else (reason if over else None),
            "at": seen.at,
            "started_at": seen.at if begun else started_at,
            "ended_at": seen.at if over else None,
        },
    ).fetchone()
    if changed is None:
        return False
    (process,) = changed
    if state in (JobState.IDLE, JobState.HELD) or (seen.died and not over):
        whose = {"at": seen.at, "batch_id": batch_id, "request": request, "executor": executor}
        (process,) = tx.run(WHOSE, whose).fetchone()
    record(tx, _word(seen, state), _body(seen, batch_id), project=project, process=process)
    return True


def _word(seen: Seen, state: JobState) -> str:
    if state is JobState.IDLE and seen.died:
        return "job.evicted"
    return WORDS[state]


def _body(seen: Seen, batch_id: str | None) -> dict[str, Any]:
    """Return what an event says: what is known, and no more."""
    known = {
        "job": batch_id,
        "kind": seen.kind,
        "at": seen.at,
        "node": seen.node,
        "hold_code": seen.hold_code,
        "hold_subcode": seen.hold_subcode,
        "exit_code": seen.exit_code,
        "signal": seen.signal,
        "reason": seen.reason,
        "died": seen.died or None,
        "detail": json.loads(json.dumps(dict(seen.detail), default=str)) or None,
    }
    return {key: value for key, value in known.items() if value is not None}
