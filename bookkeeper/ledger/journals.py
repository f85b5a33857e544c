"""What an ingested journal changes besides the verbs of the protocol: its history, and which run decides.

Both are one transaction each, repeatable: an ingest that is killed in between is done again from its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx
from bookkeeper.events import record
from bookkeeper.ledger.deliver import CONSUMED, OPENED
from bookkeeper.ledger.guards import fate
from bookkeeper.protocol import EventRecord, Fate, FileMark, Mark, ProcessKey

NOTE: Final = f"""
INSERT INTO journals (run, process_id, records, decided, taken_at) VALUES (:run, :id, 0, false, {NOW})
    ON CONFLICT DO NOTHING
"""

DECIDE: Final = """
UPDATE journals SET decided = true
 WHERE run = :run AND process_id = :id
   AND NOT EXISTS (SELECT 1 FROM journals other
                    WHERE other.process_id = :id AND other.decided AND other.run <> :run)
"""

TAKEN: Final = "SELECT records FROM journals WHERE run = :run AND process_id = :id"

TAKE: Final = "UPDATE journals SET records = :records WHERE run = :run AND process_id = :id"

WHICH: Final = "SELECT run FROM journals WHERE process_id = :id AND decided"


def decide(tx: Tx, key: ProcessKey, run: str) -> bool:
    """Let this run's end record decide what becomes of its process, unless another's does; tell whether it does."""
    tx.lock_request(process=key.id)
    tx.lock(f"journals of process {key.id}")  # of two runs at once, the second sees the first
    fate(tx, key)
    who = {"run": run, "id": key.id}
    tx.run(NOTE, who)
    return bool(tx.run(DECIDE, who).rowcount)


def decided_by(tx: Tx, key: ProcessKey) -> str | None:
    """Return the run whose end record decides; None where none was taken in."""
    fate(tx, key)
    row = tx.run(WHICH, {"id": key.id}).fetchone()
    return None if row is None else str(row[0])


def take_in(
    tx: Tx, key: ProcessKey, run: str, events: Mapping[int, Sequence[EventRecord]], marks: Sequence[FileMark], last: int
) -> None:
    """Take in what a journal tells besides its end: events (by the number of their record), each once, and marks.

    ``last`` is the number of its last record. Marks are history: what is opened or consumed, of a process that is live.
    The lease is not renewed: nobody knows whether the job still runs.
    """
    tx.lock_request(process=key.id)
    became, _ = fate(tx, key)
    who = {"run": run, "id": key.id}
    tx.run(NOTE, who)
    taken = int(tx.run(TAKEN, who).fetchone()[0])
    for number, told in events.items():
        if number > taken:
            for one in told:
                record(tx, one.kind, one.body, process=key.id, file=one.file_id)
    if became is Fate.LIVE:
        for mark in marks:
            _note(tx, key.id, mark)
    tx.run(TAKE, {**who, "records": max(last, taken)})


def _note(tx: Tx, process: int, one: FileMark) -> None:
    parameters: dict[str, Any] = {"id": process, "file": one.file_id}
    if one.mark is Mark.OPENED:
        tx.run(OPENED, parameters)
    elif one.mark is Mark.CONSUMED:
        tx.run(CONSUMED, {**parameters, "entries": one.entries, "bytes": one.bytes})
