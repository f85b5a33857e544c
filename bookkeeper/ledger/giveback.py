"""roll_back, expire and heartbeat: how what a process holds goes back, and what it costs the files.

Each is one transaction: a crash before it leaves the process live until its lease runs out; after it, the process is
over and every later call of its job is `Fenced`. Rolling back twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bookkeeper.catalog import NOW, Tx
from bookkeeper.errors import Fenced, UsageError
from bookkeeper.events import record
from bookkeeper.ledger.deliver import CLOSED, CONSUMED, OPENED
from bookkeeper.ledger.guards import fate, move_share, refuse, target_project, who
from bookkeeper.protocol import Fate, FileMark, Mark, ProcessKey
from bookkeeper_schema.states import Step

BRAKE: Final = 3
"""Uncharged failures in a row that pause a project: the fault is not in the files."""

UNCHARGED_STEPS: Final = (Step.STAGE_EXECUTABLE, Step.OUTPUT_STORAGE)
"""Steps whose failure says nothing about the files."""

GRACE_FROM: Final = 10
"""Live processes from which on a mass expiry is taken for an outage."""

_ENDED = """
RETURNING id, request_id, project_id, delivered, partition_number,
          (SELECT max_attempts FROM requests WHERE requests.id = processes.request_id)
"""

ROLL_BACK: Final = f"""
UPDATE processes SET state = 'rolled_back', ended_at = {NOW}, reason = :reason
 WHERE id = :id AND token = :token AND state IN ('active', 'staged') {_ENDED}
"""

FENCE: Final = f"""
UPDATE processes SET state = 'rolled_back', ended_at = {NOW}, reason = :reason
 WHERE id = :id AND state IN ('active', 'staged') {_ENDED}
"""

EXPIRE: Final = f"""
UPDATE processes SET state = 'rolled_back', ended_at = {NOW},
       reason = CASE WHEN lease_until < {NOW} THEN 'lease expired' ELSE 'max_wall passed' END
 WHERE id = :id AND state IN ('active', 'staged') AND (lease_until < {NOW} OR wall_until < {NOW}) {_ENDED}
"""

HEARTBEAT: Final = f"""
UPDATE processes SET lease_until = {NOW} + lease, graced = false
 WHERE id = :id AND token = :token AND state IN ('active', 'staged') AND (wall_until IS NULL OR wall_until >= {NOW})
RETURNING lease
"""

OVERDUE: Final = f"""
SELECT id, lease_until < {NOW}, graced FROM processes
 WHERE state IN ('active', 'staged') AND (lease_until < {NOW} OR wall_until < {NOW})
"""

COUNT_LIVE: Final = "SELECT count(*) FROM processes WHERE state IN ('active', 'staged')"

GRACE: Final = f"""
UPDATE processes SET lease_until = {NOW} + lease, graced = true WHERE state IN ('active', 'staged') AND NOT graced
"""

CHARGE_CLOSED: Final = """
UPDATE deliveries SET charged = true WHERE process_id = :id AND NOT charged AND state IN ('skipped', 'failed')
"""

CHARGE_OPENED: Final = """
UPDATE deliveries SET charged = true WHERE process_id = :id AND NOT charged AND opened_at IS NOT NULL
"""

CHARGE_ALL: Final = "UPDATE deliveries SET charged = true WHERE process_id = :id AND NOT charged"

_CHARGED = """
 WHERE process_id = :id AND state = 'held'
   AND file_id IN (SELECT file_id FROM deliveries WHERE process_id = :id AND charged)
"""

_OWN_REASON = """
       COALESCE((SELECT d.state || ': ' || d.reason FROM deliveries d
                  WHERE d.process_id = :id AND d.file_id = ledger.file_id AND d.state IN ('skipped', 'failed')), :reason)
"""

ANY_CHANGED: Final = """
SELECT f.name, d.reason FROM deliveries d JOIN files f ON f.id = d.file_id WHERE d.process_id = :id AND d.changed LIMIT 1
"""

PARK_CHANGED: Final = """
UPDATE ledger SET state = 'parked', attempts = attempts + 1,
       reason = (SELECT d.reason FROM deliveries d WHERE d.process_id = :id AND d.file_id = ledger.file_id)
 WHERE process_id = :id AND state = 'held'
   AND file_id IN (SELECT file_id FROM deliveries WHERE process_id = :id AND changed)
"""

PARK_PARTITION: Final = """
UPDATE ledger SET state = 'parked', attempts = attempts + 1, alone = alone + 1, reason = :reason
 WHERE process_id = :id AND state = 'held'
"""

PARK_TIRED: Final = f"""
UPDATE ledger SET state = 'parked', attempts = attempts + 1, alone = alone + 1,
       reason = 'parked after ' || (attempts + 1) || ' attempts: ' || {_OWN_REASON}
{_CHARGED} AND alone + 1 >= :max_attempts
"""

FREE_CHARGED: Final = f"""
UPDATE ledger SET state = 'available', attempts = attempts + 1, alone = alone + :alone, solo = false, project_id = :target
{_CHARGED}
"""

FREE_REST: Final = """
UPDATE ledger SET state = 'available', project_id = :target
 WHERE process_id = :id AND state = 'held'
"""

DISCARD: Final = "UPDATE outputs SET state = 'discarded' WHERE process_id = :id AND state = 'staged'"

ROLLED_BACK: Final = """
UPDATE projects SET rollbacks = rollbacks + 1,
       uncharged = CASE WHEN :verdict = 'charged' THEN 0 WHEN :verdict = 'uncharged' THEN uncharged + 1 ELSE uncharged END
 WHERE id = :project RETURNING uncharged, state
"""

PAUSE: Final = "UPDATE projects SET state = 'paused', reason = :reason WHERE id = :project AND state = 'open'"


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that just left the live states, and what its files go back by."""

    id: int
    request: int
    project: int
    delivered: int
    partition: int | None
    max_attempts: int

    @property
    def alone(self) -> bool:
        """Whether its failure points at one file, or at one partition."""
        return self.delivered == 1 or self.partition is not None


def roll_back(
    tx: Tx,
    key: ProcessKey,
    reason: str,
    *,
    step: str | None = None,
    counted: bool = True,
    marks: Sequence[FileMark] = (),
) -> Fate:
    """Give everything back; return what the process is now: rolled back, or committed earlier."""
    row = tx.run(ROLL_BACK, {**who(key), "reason": reason or "no reason given"}).fetchone()
    if row is None:
        became, _ = fate(tx, key)
        return became
    ended = Ended(*row)
    _last_words(tx, ended, marks)
    if counted and step is None:
        counted = ended.delivered > 0  # it found nothing to do, which is no failure
    give_back(tx, ended, reason, charge_opened=step not in UNCHARGED_STEPS and counted, counted=counted)
    return Fate.ROLLED_BACK


def fence(tx: Tx, process: int, reason: str) -> bool:
    """Roll a process back from outside, whatever its job does; tell whether it was live. Charges nothing."""
    row = tx.run(FENCE, {"id": process, "reason": reason}).fetchone()
    if row is None:
        return False
    give_back(tx, Ended(*row), reason, charge_opened=False, counted=False)
    return True


def expire(tx: Tx, process: int) -> bool:
    """Roll back a process whose lease or `max_wall` has passed, tested again inside the UPDATE; tell whether it had."""
    row = tx.run(EXPIRE, {"id": process}).fetchone()
    if row is None:
        return False
    ended = Ended(*row)
    reason = tx.run("SELECT reason FROM processes WHERE id = :id", {"id": process}).fetchone()[0]
    give_back(tx, ended, reason, charge_opened=True, counted=ended.delivered > 0)
    return True


def overdue(tx: Tx, *, grace: bool) -> list[int]:
    """Return the processes to expire. With ``grace``, a mass expiry gives everyone one lease instead, once.

    More than a fifth of ten or more live processes silent at once looks like an outage of ours, not of theirs.
    """
    found = tx.run(OVERDUE).fetchall()
    late = sum(1 for _, lease_passed, graced in found if lease_passed and not graced)
    if grace and late:
        live = tx.run(COUNT_LIVE).fetchone()[0]
        if live >= GRACE_FROM and late * 5 > live:
            grace_all(tx, f"{late} of {live} leases ran out at once")
            return [process for process, lease_passed, graced in found if graced or not lease_passed]
    return [process for process, _, _ in found]


def grace_all(tx: Tx, reason: str) -> None:
    """Give every live process one lease, unless it had its grace since its last heartbeat."""
    tx.run(GRACE)
    record(tx, "leases.graced", {"reason": reason})


def heartbeat(tx: Tx, key: ProcessKey) -> float | None:
    """Renew the lease; return its seconds, or None where `max_wall` has passed: the caller expires it then."""
    row = tx.run(HEARTBEAT, who(key)).fetchone()
    if row is not None:
        return float(row[0])
    if fate(tx, key)[0] is not Fate.LIVE:
        refuse(tx, key, "renew its lease")
    return None


def give_back(tx: Tx, ended: Ended, reason: str, *, charge_opened: bool, counted: bool) -> None:
    """Free or park what the process held, charge what is to be charged, discard its staged outputs."""
    charged = charge(tx, ended, opened=charge_opened)
    if counted:
        _count_failure(tx, ended, reason, charged)
    else:
        tx.run(ROLLED_BACK, {"project": ended.project, "verdict": "neither"})
    release(tx, ended, reason)
    tx.run(DISCARD, {"id": ended.id})


def charge(tx: Tx, ended: Ended, *, opened: bool) -> int:
    """Charge the deliveries that failed; return how many. A partition is charged whole or not at all."""
    charged = tx.run(CHARGE_CLOSED, {"id": ended.id}).rowcount
    if opened:
        charged += tx.run(CHARGE_OPENED, {"id": ended.id}).rowcount
    if charged and ended.partition is not None:
        charged += tx.run(CHARGE_ALL, {"id": ended.id}).rowcount
    return charged


def release(tx: Tx, ended: Ended, reason: str) -> None:
    """Let go of every row the process still holds: free ones go to the request's open project, tired ones are parked."""
    rule = {"id": ended.id}
    changed = tx.run(ANY_CHANGED, rule).fetchone()
    if changed is not None:
        if ended.partition is not None:
            tx.run(PARK_PARTITION, {**rule, "reason": f"{changed[0]} in its partition {changed[1]}"})
        else:
            tx.run(PARK_CHANGED, rule)
        record(tx, "file.parked", {"file": changed[0], "reason": changed[1]}, project=ended.project, process=ended.id)
    if ended.alone:
        parked = tx.run(PARK_TIRED, {**rule, "reason": reason, "max_attempts": ended.max_attempts}).rowcount
        if parked:
            record(tx, "files.parked", {"count": parked, "reason": reason}, project=ended.project, process=ended.id)
    target = target_project(tx, ended.request, ended.project)
    freed = tx.run(FREE_CHARGED, {**rule, "alone": int(ended.alone), "target": target}).rowcount
    freed += tx.run(FREE_REST, {**rule, "target": target}).rowcount
    move_share(tx, origin=ended.project, target=target, count=freed)


def _count_failure(tx: Tx, ended: Ended, reason: str, charged: int) -> None:
    """Brake the project when failures in a row say nothing about the files."""
    verdict = "charged" if charged else "uncharged"
    in_a_row, state = tx.run(ROLLED_BACK, {"project": ended.project, "verdict": verdict}).fetchone()
    if verdict == "uncharged" and in_a_row >= BRAKE and state == "open":
        why = f"{in_a_row} failures in a row that are not the files': {reason}"
        tx.run(PAUSE, {"project": ended.project, "reason": why})
        record(tx, "project.paused", {"reason": why}, project=ended.project, process=ended.id)


def _last_words(tx: Tx, ended: Ended, marks: Sequence[FileMark]) -> None:
    """Take in what the job knew of single files; history only, so a mark that does not fit is passed over."""
    for one in marks:
        parameters = {"id": ended.id, "file": one.file_id}
        if one.mark is Mark.OPENED:
            tx.run(OPENED, parameters)
        elif one.mark is Mark.CONSUMED:
            tx.run(CONSUMED, {**parameters, "entries": one.entries, "bytes": one.bytes})
        elif one.mark in (Mark.SKIPPED, Mark.FAILED):
            tx.run(CLOSED, {**parameters, "mark": one.mark, "reason": one.reason or "", "changed": one.changed})
        elif one.mark is not Mark.UNREAD:
            raise UsageError(f"{one.mark!r} is no mark")


def fenced(process: int, reason: str | None) -> Fenced:
    """Return the error that tells a job it was rolled back."""
    return Fenced(f"process {process} was rolled back: {reason}", remedy="stop; its files went to other processes")
