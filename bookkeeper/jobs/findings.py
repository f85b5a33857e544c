"""Batch system and catalog beside each other: processes whose jobs are dead, and jobs of which the two differ."""

from __future__ import annotations

from typing import Any, Final

from bookkeeper.catalog import Database, Tx
from bookkeeper.events import record
from bookkeeper.jobs.submitting import check
from bookkeeper.operations import operation

LEAST: Final = 3
"""Jobs in a row that ended without having opened a process: from then on it is no accident."""

DEAD: Final = """
SELECT p.id AS process, b.state, b.batch_id, b.node, b.hold_code, b.hold_subcode, b.exit_code, b.signal, b.reason,
       (SELECT e.body ->> 'kind' FROM events e WHERE e.process_id = p.id AND e.kind IN
               ('job.held', 'job.evicted', 'job.terminated', 'job.removed', 'job.lost') ORDER BY e.id DESC LIMIT 1) AS kind,
       CASE WHEN b.state IN ('completed', 'removed', 'lost') THEN 0 WHEN b.state IN ('idle', 'held') THEN 1 ELSE 2 END AS why
  FROM processes p CROSS JOIN jobs b CROSS JOIN submissions s
 WHERE b.batch_id = p.job_id AND s.id = b.submission_id AND p.state = 'active' AND p.request_id = (SELECT request_id FROM projects WHERE name = :project)
   AND s.request_id = p.request_id AND s.executor = p.executor
   AND NOT EXISTS (SELECT 1 FROM jobs c CROSS JOIN submissions t
                    WHERE c.batch_id = b.batch_id AND c.submission_id <> b.submission_id AND t.id = c.submission_id
                      AND t.request_id = s.request_id AND t.executor = s.executor)
   AND (b.state IN ('completed', 'removed')
        OR b.state IN ('idle', 'held') AND b.starts > 0 AND p.started_at < b.changed_at AND p.id <= b.process_id
        OR b.state = 'lost' AND EXISTS (SELECT 1 FROM events e
                    WHERE e.process_id = p.id AND e.kind = 'job.lost' AND CAST(e.body ->> 'died' AS TEXT) IN ('1', 'true'))
        OR EXISTS (SELECT 1 FROM processes q
                    WHERE q.job_id = p.job_id AND q.request_id = p.request_id AND q.executor = p.executor AND q.id > p.id))
 ORDER BY p.id
"""
"""A job is one worker at a time: it is dead where its job is over, or has to wait again, or opened a newer process.

One that waits again is known by two clocks, which may differ; so no process dies that was opened after the job was seen
to wait. Of two batch systems that gave two jobs the same id, none tells whose process it is: its lease decides.
"""

UNJUDGED: Final = """
SELECT b.submission_id, b.number, b.batch_id, b.state, b.exit_code, b.signal, b.reason, s.project_id,
       p.id, p.state, p.reason,
       (SELECT count(*) FROM outputs o WHERE o.process_id = p.id AND o.state = 'committed'),
       (SELECT e.body ->> 'kind' FROM events e WHERE e.process_id = p.id AND e.kind = 'job.removed' ORDER BY e.id DESC LIMIT 1)
  FROM jobs b CROSS JOIN submissions s
  LEFT JOIN processes p ON p.id = (SELECT max(q.id) FROM processes q WHERE q.job_id = b.batch_id AND q.request_id = s.request_id AND q.executor = s.executor)
 WHERE s.id = b.submission_id AND s.request_id = (SELECT request_id FROM projects WHERE name = :project)
   AND b.ended_at IS NOT NULL AND b.verdict IS NULL AND (p.id IS NULL OR p.state NOT IN ('active', 'staged'))
 ORDER BY b.submission_id, b.number LIMIT 1000
"""

JUDGE: Final = """
UPDATE jobs SET verdict = :verdict, process_id = :process/*bigint*/
 WHERE submission_id = :submission AND number = :number AND verdict IS NULL AND ended_at IS NOT NULL
"""

ANY_UNJUDGED: Final = """
SELECT 1 FROM jobs b CROSS JOIN submissions s
 WHERE s.id = b.submission_id AND s.request_id = (SELECT request_id FROM projects WHERE name = :project)
   AND b.ended_at IS NOT NULL AND b.verdict IS NULL LIMIT 1
"""

SUMMARY: Final = """
SELECT b.state, b.verdict, count(*) AS jobs FROM submissions s JOIN jobs b ON b.submission_id = s.id
 WHERE s.request_id = (SELECT request_id FROM projects WHERE name = :project) GROUP BY b.state, b.verdict
"""

WHY_IDLE: Final = """
SELECT b.reason, count(*) AS jobs FROM submissions s JOIN jobs b ON b.submission_id = s.id
 WHERE s.request_id = (SELECT request_id FROM projects WHERE name = :project)
   AND b.state = 'idle' AND b.starts = 0 AND b.reason IS NOT NULL
 GROUP BY b.reason ORDER BY count(*) DESC, b.reason LIMIT 3
"""

DECIDE: Final = """
UPDATE jobs SET verdict = 'held: to be removed'
 WHERE submission_id = :submission AND number = :number AND state = 'held' AND verdict IS NULL
RETURNING process_id
"""

AGREE: Final = "agree"
SUCCESS_ONLY: Final = "the batch system says success, the catalog says no"
COMMIT_ONLY: Final = "the catalog says committed, the batch system says failure"
NEVER_RAN: Final = "it ended without having started a process"
VERDICTS: Final = (SUCCESS_ONLY, COMMIT_ONLY, NEVER_RAN)
"""What is counted and shown; `AGREE` is the rule."""

BY_HAND: Final = ("", "removed", "REMOVED", "CANCELLED", "JOB_ABORTED")
"""What batch systems call the removal of a job by its owner, or by whoever may."""

QUIET: Final = (5, 11, 12, 15)
"""Exit codes of workers that opened no process, or found nothing to do, and say why: the project is ended or paused,
nothing is left, the node is excluded (`bookkeeper.worker.job`)."""


@operation("read")
def dead(database: Database, project: str) -> list[dict[str, Any]]:
    """Return the active processes of a request whose jobs run no more: ``process``, and what is known of its job.

    ``kind`` is the batch system's word for its end. ``why`` is 0 where the job is over, 1 where it waits again, 2 where
    it was started again. A job that was lost, and may run, is not among them: its lease decides.
    """
    return database.rows(DEAD, {"project": project})


@operation("work", project="project", again=True)
def judge(database: Database, project: str) -> int:
    """Compare jobs that are over with the processes they opened, once each; return how many differ.

    Each that differs is an event ``job.differs``. What is not over in the catalog is not judged yet.
    """
    if database.one(ANY_UNJUDGED, {"project": project}) is None:
        return 0

    def move(tx: Tx) -> int:
        differ = 0
        for row in tx.run(UNJUDGED, {"project": project}).fetchall():
            submission, number, batch_id, state, code, signal, reason, of, process, fate, why, unpublished, kind = row
            verdict = verdict_of(state, code, signal, fate, kind)
            changed = tx.run(
                JUDGE, {"submission": submission, "number": number, "verdict": verdict, "process": process}
            ).rowcount
            if not changed or verdict == AGREE:
                continue
            differ += 1
            body = {
                "job": batch_id,
                "verdict": verdict,
                "state": state,
                "exit_code": code,
                "signal": signal,
                "reason": reason,
                "process_state": fate,
                "process_reason": why,
                "unpublished": unpublished,
            }
            record(
                tx,
                "job.differs",
                {key: one for key, one in body.items() if one is not None},
                project=of,
                process=process,
            )
        return differ

    return database.run(move)


@operation("work", project="project", again=True)
def decide(database: Database, project: str, submission: int, number: int, said: dict[str, Any]) -> bool:
    """Record that a held job is to be removed, and why; tell whether that is news."""

    def move(tx: Tx) -> bool:
        owner = check(tx, project, submission)
        row = tx.run(DECIDE, {"submission": submission, "number": number}).fetchone()
        if row is None:
            return False
        record(tx, "job.given_up", said, project=owner, process=row[0])
        return True

    return database.run(move)


def verdict_of(state: str, exit_code: int | None, signal: int | None, fate: str | None, kind: str | None = None) -> str:
    """Return what is to be said of a job that is over, and of the last process that it opened (None: none).

    ``kind`` is what the batch system calls the end of a job that was removed. Removed by somebody, when it had done its
    work, is no failure: it was thought to wait.
    """
    committed = fate in ("committed", "revoking", "revoked")
    success = state == "completed" and exit_code == 0 and not signal
    if success:
        return AGREE if committed else SUCCESS_ONLY
    if committed:
        told = state == "completed" and exit_code in QUIET  # an earlier run of it committed
        told = told or (state == "removed" and kind in BY_HAND)
        return AGREE if told else COMMIT_ONLY
    if fate is None and state == "completed" and exit_code not in QUIET:
        return NEVER_RAN
    return AGREE


@operation("read")
def summary(database: Database, project: str) -> dict[str, dict[str, int]]:
    """Return how many jobs of a request there are, by ``states`` and by ``verdicts`` (those that differ only).

    ``waits`` are the commonest reasons why jobs wait that never ran, where there are such.
    """
    states: dict[str, int] = {}
    verdicts: dict[str, int] = {}
    for row in database.rows(SUMMARY, {"project": project}):
        states[row["state"]] = states.get(row["state"], 0) + int(row["jobs"])
        if row["verdict"] not in (None, AGREE):
            verdicts[row["verdict"]] = verdicts.get(row["verdict"], 0) + int(row["jobs"])
    waits = {row["reason"]: int(row["jobs"]) for row in database.rows(WHY_IDLE, {"project": project})}
    return {"states": states, "verdicts": verdicts, "waits": waits}
