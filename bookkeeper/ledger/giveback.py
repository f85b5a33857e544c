"""roll_back, expire and heartbeat: how what a process holds goes back, and what it costs the files.

Each is one transaction: a crash before it leaves the process live until its lease runs out; after it, the process is
over and every later call of its job is `Fenced`. Rolling back twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bookkeeper.catalog import NOW, Tx, storable
from bookkeeper.errors import Fenced, UsageError
from bookkeeper.events import record
from bookkeeper.ledger.deliver import CLOSED, CONSUMED, OPENED
from bookkeeper.ledger.guards import fate, move_share, refuse, target_project, who
from bookkeeper.ledger.nodes import exclude
from bookkeeper.protocol import Fate, FileMark, Mark, ProcessKey
from bookkeeper.retries import Ended, Judge, Ruling, nobody_failed

GRACE_FROM: Final = 10
"""Live processes from which on a mass expiry is taken for an outage."""

_ENDED = """
RETURNING id, request_id, project_id, delivered, partition_number,
          (SELECT max_attempts FROM requests WHERE requests.id = processes.request_id), node, started_at
"""

ROLL_BACK: Final = f"""
UPDATE processes SET state = 'rolled_back', ended_at = {NOW}, reason = :reason
 WHERE id = :id AND token = :token AND state IN ('active', 'staged') {_ENDED}
"""

FENCE: Final = f"""
UPDATE processes SET state = 'rolled_back', ended_at = {NOW}, reason = :reason
 WHERE id = :id AND state IN ('active', 'staged') {_ENDED}
"""

BURY: Final = f"""
UPDATE processes SET state = 'rolled_back', ended_at = {NOW}, reason = :reason
 WHERE id = :id AND (state = 'active'
                     OR state = 'staged' AND NOT EXISTS (SELECT 1 FROM transfers t WHERE t.process_id = processes.id))
{_ENDED}
"""

EXPIRE: Final = f"""
UPDATE processes SET state = 'rolled_back', ended_at = {NOW},
       reason = CASE WHEN lease_until < {NOW} THEN 'lease expired' ELSE 'max_wall passed' END
 WHERE id = :id AND state IN ('active', 'staged') AND (lease_until < {NOW} OR wall_until < {NOW}) {_ENDED}
"""

HEARTBEAT: Final = f"""
UPDATE processes SET graced = false,
       lease_until = CASE WHEN state = 'staged' AND lease_until > {NOW} + lease THEN lease_until ELSE {NOW} + lease END
 WHERE id = :id AND token = :token AND state IN ('active', 'staged') AND (wall_until IS NULL OR wall_until >= {NOW})
RETURNING lease
"""

OVERDUE: Final = f"""
SELECT id, lease_until < {NOW}, graced FROM processes
 WHERE state IN ('active', 'staged') AND (lease_until < {NOW} OR wall_until < {NOW})
"""

COUNT_LIVE: Final = "SELECT count(*) FROM processes WHERE lease_until > 0 AND state IN ('active', 'staged')"

GRACE: Final = f"""
UPDATE processes SET graced = true,
       lease_until = CASE WHEN state = 'staged' AND lease_until > {NOW} + lease THEN lease_until ELSE {NOW} + lease END
 WHERE state IN ('active', 'staged') AND NOT graced
"""

CHARGE_CLOSED: Final = """
UPDATE deliveries SET charged = true WHERE process_id = :id AND NOT charged AND state IN ('skipped', 'failed')
"""

CHARGE_OPENED: Final = """
UPDATE deliveries SET charged = true WHERE process_id = :id AND NOT charged AND opened_at IS NOT NULL
"""

CHARGE_ONE: Final = "UPDATE deliveries SET charged = true WHERE process_id = :id AND file_id = :file AND NOT charged"

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
       reason = 'parked after ' || (attempts + setbacks + 1) || ' attempts: ' || {_OWN_REASON}
{_CHARGED} AND alone + 1 >= :strikes
"""

PARK_SET_BACK: Final = """
UPDATE ledger SET state = 'parked', setbacks = setbacks + 1, setbacks_alone = setbacks_alone + 1,
       reason = 'parked after ' || (attempts + setbacks + 1) || ' attempts: ' || :reason
 WHERE process_id = :id AND state = 'held' AND setbacks_alone + 1 > :cap
"""

FREE_CHARGED: Final = f"""
UPDATE ledger SET state = 'available', attempts = attempts + 1, alone = alone + :alone, solo = :suspected,
       project_id = :target
{_CHARGED}
"""

FREE_SET_BACK: Final = f"""
UPDATE ledger SET state = 'available', project_id = :target, setbacks = setbacks + 1,
       setbacks_alone = setbacks_alone + :alone, solo = solo OR setbacks + 1 > :cap, not_before = CASE WHEN :delay > 0 THEN {NOW} + :delay ELSE 0 END
 WHERE process_id = :id AND state = 'held'
"""

FREE_REST: Final = """
UPDATE ledger SET state = 'available', project_id = :target
 WHERE process_id = :id AND state = 'held'
"""

DISCARD: Final = "UPDATE outputs SET state = 'discarded' WHERE process_id = :id AND state = 'staged'"

GIVE_UP: Final = """
UPDATE transfers SET state = 'given_up', claim = NULL, claimed_until = NULL
 WHERE process_id = :id AND state IN ('waiting', 'running', 'arrived')
"""

ROLLED_BACK: Final = "UPDATE projects SET rollbacks = rollbacks + 1 WHERE id = :project"

PAUSE: Final = "UPDATE projects SET state = 'paused', reason = :reason WHERE id = :project AND state = 'open'"

REST: Final = f"""
UPDATE projects SET rest_until = {NOW} + :seconds, rests = rests + 1
 WHERE id = :project AND state = 'open' AND COALESCE(rest_until, 0) <= {NOW}
RETURNING rest_until
"""


def roll_back(
    tx: Tx,
    key: ProcessKey,
    reason: str,
    *,
    judge: Judge = nobody_failed,
    marks: Sequence[FileMark] = (),
) -> Fate:
    """Give everything back, as the judge rules; return what the process is now: rolled back, or committed earlier."""
    tx.lock_request(process=key.id)
    row = tx.run(ROLL_BACK, {**who(key), "reason": storable(reason) or "no reason given"}).fetchone()
    if row is None:
        became, _ = fate(tx, key)
        return became
    ended = Ended(*row)
    _last_words(tx, ended, marks)
    give_back(tx, ended, reason, judge(tx, ended))
    return Fate.ROLLED_BACK


def fence(tx: Tx, process: int, reason: str, judge: Judge = nobody_failed) -> bool:
    """Roll a process back from outside, whatever its job does; tell whether it was live. Charges nothing unless judged."""
    return _from_outside(tx, FENCE, process, reason, judge)


def bury(tx: Tx, process: int, reason: str, judge: Judge = nobody_failed) -> bool:
    """Roll a process back because its job is dead; tell whether it was. One that waits for transfers needs no job."""
    return _from_outside(tx, BURY, process, reason, judge)


def _from_outside(tx: Tx, statement: str, process: int, reason: str, judge: Judge) -> bool:
    tx.lock_request(process=process)
    row = tx.run(statement, {"id": process, "reason": storable(reason)}).fetchone()
    if row is None:
        return False
    ended = Ended(*row)
    give_back(tx, ended, reason, judge(tx, ended))
    return True


def expire(tx: Tx, process: int, judge: Judge) -> bool:
    """Roll back a process whose lease or `max_wall` has passed, tested again inside the UPDATE; tell whether it had."""
    tx.lock_request(process=process)
    row = tx.run(EXPIRE, {"id": process}).fetchone()
    if row is None:
        return False
    ended = Ended(*row)
    reason = tx.run("SELECT reason FROM processes WHERE id = :id", {"id": process}).fetchone()[0]
    give_back(tx, ended, reason, judge(tx, ended))
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


def give_back(tx: Tx, ended: Ended, reason: str, ruling: Ruling) -> None:
    """Free or park what the process held, charge what is to be charged, discard its staged outputs."""
    charge(tx, ended, ruling)
    tx.run(ROLLED_BACK, {"project": ended.project})
    release(tx, ended, reason, ruling)
    if tx.run(DISCARD, {"id": ended.id}).rowcount:
        tx.run(GIVE_UP, {"id": ended.id})
    _halt(tx, ended, ruling)


def charge(tx: Tx, ended: Ended, ruling: Ruling) -> None:
    """Charge the deliveries that the job closed, and those that the ruling blames. A partition is charged whole."""
    charged = tx.run(CHARGE_CLOSED, {"id": ended.id}).rowcount
    if ruling.suspects:
        tx.many(CHARGE_ONE, [{"id": ended.id, "file": file} for file in ruling.suspects])
    elif ruling.strike:
        charged += tx.run(CHARGE_OPENED, {"id": ended.id}).rowcount
    if charged and ended.partition is not None:
        tx.run(CHARGE_ALL, {"id": ended.id})


def release(tx: Tx, ended: Ended, reason: str, ruling: Ruling) -> None:
    """Let go of every row the process still holds: free ones go to the request's open project, tired ones are parked."""
    rule, reason = {"id": ended.id}, storable(reason)
    changed = tx.run(ANY_CHANGED, rule).fetchone()
    if changed is not None:
        if ended.partition is not None:
            tx.run(PARK_PARTITION, {**rule, "reason": f"{changed[0]} in its partition {changed[1]}"})
        else:
            tx.run(PARK_CHANGED, rule)
        record(tx, "file.parked", {"file": changed[0], "reason": changed[1]}, project=ended.project, process=ended.id)
    parked = 0
    if ended.alone:
        strikes = ended.max_attempts if ruling.strikes is None else ruling.strikes
        parked = tx.run(PARK_TIRED, {**rule, "reason": reason, "strikes": strikes}).rowcount
    target = target_project(tx, ended.request, ended.project)
    strike = {"alone": int(ended.alone), "suspected": bool(ruling.suspects)}
    freed = tx.run(FREE_CHARGED, {**rule, **strike, "target": target}).rowcount
    if ruling.setback:
        setback = {"cap": ruling.cap, "delay": ruling.delay, "alone": int(ended.alone)}
        if ended.alone:
            parked += tx.run(PARK_SET_BACK, {**rule, "reason": reason, "cap": ruling.cap}).rowcount
        freed += tx.run(FREE_SET_BACK, {**rule, **setback, "target": target}).rowcount
    else:
        freed += tx.run(FREE_REST, {**rule, "target": target}).rowcount
    move_share(tx, origin=ended.project, target=target, count=freed)
    if parked:
        record(tx, "files.parked", {"count": parked, "reason": reason}, project=ended.project, process=ended.id)


def _halt(tx: Tx, ended: Ended, ruling: Ruling) -> None:
    """Pause the project, let it rest, or exclude the node, as the ruling says."""
    if ruling.brake and tx.run(PAUSE, {"project": ended.project, "reason": storable(ruling.brake)}).rowcount:
        body = {"reason": ruling.brake, "brake": True}
        record(tx, "project.paused", body, project=ended.project, process=ended.id)
    if ruling.rest:
        seconds, why = ruling.rest
        row = tx.run(REST, {"project": ended.project, "seconds": seconds}).fetchone()
        if row is not None:
            body = {"until": row[0], "seconds": round(seconds, 3), "reason": why}
            record(tx, "project.rested", body, project=ended.project, process=ended.id)
    if ruling.exclude:
        one = ruling.exclude
        exclude(tx, one.node, one.seconds, one.reason, by="bookkeeper", project=ended.project, process=ended.id)


def _last_words(tx: Tx, ended: Ended, marks: Sequence[FileMark]) -> None:
    """Take in what the job knew of single files; history only, so a mark that does not fit is passed over."""
    for one in marks:
        parameters = {"id": ended.id, "file": one.file_id}
        if one.mark is Mark.OPENED:
            tx.run(OPENED, parameters)
        elif one.mark is Mark.CONSUMED:
            tx.run(CONSUMED, {**parameters, "entries": one.entries, "bytes": one.bytes})
        elif one.mark in (Mark.SKIPPED, Mark.FAILED):
            tx.run(
                CLOSED, {**parameters, "mark": one.mark, "reason": storable(one.reason or ""), "changed": one.changed}
            )
        elif one.mark is not Mark.UNREAD:
            raise UsageError(f"{one.mark!r} is no mark")


def fenced(process: int, reason: str | None) -> Fenced:
    """Return the error that tells a job it was rolled back."""
    return Fenced(f"process {process} was rolled back: {reason}", remedy="stop; its files went to other processes")
