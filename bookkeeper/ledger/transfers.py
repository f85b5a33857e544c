"""Outputs on their way from a near storage: queued, claimed, copied, arrived; or given up.

A transfer worker claims a row, copies under a temporary name that it alone has (the claim is part of it), and tells what
came of it. Every move is one transaction, guarded by the claim:

==================  ========================================  ======================================================
move                killed before, or the message lost        killed after, or repeated, or late
==================  ========================================  ======================================================
`queue` (in stage)  nothing is staged: the near temporary     whoever comes next claims it
                    is an orphan, its process's lease runs
`claim`             nothing                                   nobody copies: the claim runs out (`silent`), another try
                                                              writes under another name
`progress`          the claim runs out                        a claim that is another's by now: the copy is stopped
`arrived`           the copy lies there unknown: an orphan;   arrived, and with the last one the process is committed;
                    another try follows                       told again, the same answer. A late one changes nothing,
                                                              and may delete its own copy: nothing refers to it
`failed`            the claim runs out                        another try at its time; late: nothing
`give_up`           it is found overdue again                 rolled back; whoever still copies finds its claim gone
`near_copy_gone`    deleted, found absent, told again         done; told again, nothing
==================  ========================================  ======================================================

Lock order on PostgreSQL: the process, then its transfers, then its request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bookkeeper.catalog import NOW, Tx, storable
from bookkeeper.events import record
from bookkeeper.ledger.commit import commit_arrived
from bookkeeper.ledger.giveback import fence
from bookkeeper.protocol import OutputRecord
from bookkeeper.retries import Judge
from bookkeeper.stageout.names import link

QUEUE: Final = f"""
INSERT INTO transfers (output_id, process_id, request_id, near_url, link, queued_at, deadline)
SELECT o.id, o.process_id, o.request_id, o.temp_url, :link, {NOW}, {NOW} + r.transfer_deadline
  FROM outputs o JOIN requests r ON r.id = o.request_id WHERE o.temp_url = :near_url
"""

FILLED: Final = "UPDATE requests SET near_bytes = near_bytes + :bytes/*bigint*/ WHERE id = :request"

CLAIM: Final = f"""
UPDATE transfers SET state = 'running', claim = :claim, claimed_until = {NOW} + :seconds, attempts = attempts + 1,
       bytes_done = 0, began_at = {NOW}
 WHERE output_id = (SELECT t.output_id FROM transfers t
                     WHERE t.link = :link AND t.request_id = :request AND t.state = 'waiting' AND t.next_at <= {NOW}
                     ORDER BY t.next_at LIMIT 1)
   AND state = 'waiting'
   AND ((SELECT count(*) FROM transfers r WHERE r.link = :link AND r.state = 'running') < :limit
        OR NOT EXISTS (SELECT 1 FROM transfers r
                        WHERE r.link = :link AND r.request_id = :request AND r.state = 'running'))
RETURNING output_id
"""

CLAIMED: Final = """
SELECT t.output_id, t.process_id, t.near_url, o.destination, o.final_url, o.size, o.checksum, t.attempts, t.failures,
       substr(p.token, 1, 12), p.request_id, t.category
  FROM transfers t JOIN outputs o ON o.id = t.output_id JOIN processes p ON p.id = t.process_id
 WHERE t.output_id = :output
"""

ALIVE: Final = f"""
UPDATE processes SET lease_until = CASE WHEN lease_until < {NOW} + lease THEN {NOW} + lease ELSE lease_until END
 WHERE id = :process AND state = 'staged'
RETURNING id
"""

PROGRESS: Final = f"""
UPDATE transfers SET bytes_done = :bytes, claimed_until = {NOW} + :seconds
 WHERE output_id = :output AND claim = :claim AND state = 'running'
"""

ARRIVED: Final = f"""
UPDATE transfers SET state = 'arrived', arrived_url = :url, arrived_at = {NOW}, claim = NULL, claimed_until = NULL
 WHERE output_id = :output AND claim = :claim AND state = 'running'
RETURNING {NOW} - queued_at, attempts
"""

LIES_AT: Final = "UPDATE outputs SET temp_url = :url WHERE id = :output AND state = 'staged'"

ALREADY: Final = "SELECT 1 FROM transfers WHERE output_id = :output AND arrived_url = :url"

FAILED: Final = f"""
UPDATE transfers SET state = 'waiting', claim = NULL, claimed_until = NULL, failures = failures + 1,
       category = :category, error = :error, next_at = {NOW} + :delay
 WHERE output_id = :output AND claim = :claim AND state = 'running'
RETURNING process_id, attempts
"""

SILENT: Final = f"""
UPDATE transfers SET state = 'waiting', claim = NULL, claimed_until = NULL, failures = failures + 1, category = 'executor',
       error = 'its transfer worker fell silent', next_at = {NOW} + 10.0 * failures
 WHERE state = 'running' AND claimed_until < {NOW}
RETURNING output_id, process_id, attempts
"""

OVERDUE: Final = f"""
UPDATE processes SET lease = lease
 WHERE id = :process AND state = 'staged'
   AND EXISTS (SELECT 1 FROM transfers t
                WHERE t.output_id = :output AND t.process_id = processes.id
                  AND (t.state = 'waiting' AND t.deadline < {NOW} OR t.state = 'running' AND t.claim = :claim))
RETURNING id
"""

GONE: Final = """
UPDATE transfers SET state = 'done'
 WHERE output_id = :output
   AND (state = 'given_up'
        OR state = 'arrived' AND EXISTS (SELECT 1 FROM outputs o
                                          WHERE o.id = transfers.output_id AND o.state IN ('published', 'revoked')))
RETURNING request_id, (SELECT size FROM outputs o WHERE o.id = transfers.output_id)
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One try: what lies where, and what it must be. ``claim`` proves that it is still ours; ``tag`` names uploads."""

    output: int
    process: int
    near_url: str
    destination: str
    final_url: str
    size: int
    checksum: str
    attempts: int
    failures: int
    tag: str
    request: int
    category: str | None
    claim: str


class Arrival(StrEnum):
    """What the catalog says of a copy that arrived."""

    ARRIVED = "arrived"
    """others of its process are still on their way"""
    COMMITTED = "committed"
    """it was the last one: its process counts now"""
    LATE = "late"
    """the try was another's by then, or its process is over: the copy counts for nothing"""


def queue(tx: Tx, process: int, request: int, outputs: Sequence[OutputRecord]) -> None:
    """Let outputs that lie near wait for their transfer."""
    near = [output for output in outputs if output.near is not None]
    for output in near:
        way = link(output.temp_url, output.destination)
        tx.run(QUEUE, {"near_url": output.temp_url, "link": way})
    total = sum(output.size for output in near)
    tx.run(FILLED, {"request": request, "bytes": total})
    record(tx, "transfer.queued", {"outputs": len(near), "bytes": total}, process=process)


def claim(tx: Tx, way: str, request: int, limit: int, name: str, seconds: float) -> Claimed | None:
    """Claim the output of a request that waited longest over a link; None where none may start now.

    Each request may have one under way, however many of others are: nobody waits for another's.
    """
    tx.lock(f"transfers over {way}")  # of two that count what runs, the second sees the first
    said = {"link": way, "request": request, "limit": limit, "claim": name, "seconds": seconds}
    row = tx.run(CLAIM, said).fetchone()
    if row is None:
        return None
    known = (*tx.run(CLAIMED, {"output": row[0]}).fetchone(), name)
    return Claimed(*known)


def progress(tx: Tx, one: Claimed, done: int, seconds: float) -> bool:
    """Keep a try alive, and the process that waits for it; tell whether it is still ours."""
    if tx.run(ALIVE, {"process": one.process}).fetchone() is None:
        return False
    said = {"output": one.output, "claim": one.claim, "bytes": done, "seconds": seconds}
    return tx.run(PROGRESS, said).rowcount == 1


def arrived(tx: Tx, one: Claimed, url: str) -> Arrival:
    """Record that an output lies whole at its destination; with the last one its process commits, in one transaction.

    Raises `GuardFailed`, and leaves nothing changed, where what the process staged may not count.
    """
    tx.lock_request(process=one.process)
    alive = tx.run(ALIVE, {"process": one.process}).fetchone() is not None
    row = tx.run(ARRIVED, {"output": one.output, "claim": one.claim, "url": url}).fetchone() if alive else None
    if row is None:
        told = tx.run(ALREADY, {"output": one.output, "url": url}).fetchone()
        return Arrival.LATE if told is None else Arrival.ARRIVED
    tx.run(LIES_AT, {"output": one.output, "url": url})
    body = {"output": one.output, "bytes": one.size, "seconds": round(row[0], 3), "attempts": row[1]}
    record(tx, "transfer.arrived", body, process=one.process)
    return Arrival.COMMITTED if commit_arrived(tx, one.process) else Arrival.ARRIVED


def failed(tx: Tx, one: Claimed, category: str, error: str, delay: float) -> bool:
    """Let an output wait for its next try; tell whether the try was still ours."""
    said = {"output": one.output, "claim": one.claim, "category": category, "error": storable(error), "delay": delay}
    row = tx.run(FAILED, said).fetchone()
    if row is not None:
        _tell_failed(tx, one.output, row[0], row[1], category, error, delay)
    return row is not None


def silent(tx: Tx) -> int:
    """Take tries back whose transfer workers were heard of no more; return how many."""
    rows = tx.run(SILENT).fetchall()
    for output, process, attempts in rows:
        _tell_failed(tx, output, process, attempts, "executor", "its transfer worker fell silent", 0.0)
    return len(rows)


def give_up(tx: Tx, output: int, process: int, reason: str, judge: Judge, *, claim: str = "") -> bool:
    """Roll back a process, an output of which is overdue, or cannot arrive any more as the holder of ``claim`` knows.

    Tells whether it did: an output that is being copied may still arrive after its deadline.
    """
    tx.lock_request(process=process)
    if tx.run(OVERDUE, {"process": process, "output": output, "claim": claim}).fetchone() is None:
        return False
    record(tx, "transfer.given_up", {"output": output, "reason": reason}, process=process)
    return fence(tx, process, reason, judge)


def near_copy_gone(tx: Tx, output: int) -> bool:
    """Record that the near copy of an output that arrived, or was given up, was seen absent; tell whether that is new."""
    row = tx.run(GONE, {"output": output}).fetchone()
    if row is None:
        return False
    tx.run(FILLED, {"request": row[0], "bytes": -row[1]})
    return True


def _tell_failed(tx: Tx, output: int, process: int, attempt: int, category: str, error: str, delay: float) -> None:
    body = {"output": output, "attempt": attempt, "category": category, "error": error, "delay": round(delay, 3)}
    record(tx, "transfer.failed", body, process=process)
