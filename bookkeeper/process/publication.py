"""Publication: bring what is committed to its final names, and record it."""

from __future__ import annotations

from collections.abc import Sequence

from bookkeeper.errors import StorageError
from bookkeeper.protocol import EventRecord, Ledger, ProcessKey, StoredOutput


def publish_all(ledger: Ledger, key: ProcessKey, outputs: Sequence[StoredOutput]) -> list[StorageError]:
    """Bring committed outputs to their final names and record it; return what could not be done."""
    waiting = [output for output in outputs if output.state == "committed"]
    local = [output for output in waiting if "://" not in output.record.final_url]
    problems = _publish(ledger, key, local, exclusive=False)
    if len(local) < len(waiting):  # no atomic rename there: one publisher at a time, and only what still counts
        with ledger.sole_publisher() as sole:
            if sole:
                ids = {output.id for output in waiting} - {output.id for output in local}
                remote = [output for output in ledger.to_publish(key) if output.id in ids]
                problems += _publish(ledger, key, remote, exclusive=True)
    return problems


def _publish(
    ledger: Ledger, key: ProcessKey, outputs: Sequence[StoredOutput], *, exclusive: bool
) -> list[StorageError]:
    from bookkeeper import stageout

    done: list[int] = []
    problems: list[StorageError] = []
    for output in outputs:
        record = output.record
        try:
            stageout.publish(
                record.temp_url, record.final_url, size=record.size, checksum=record.checksum, exclusive=exclusive
            )
            done.append(output.id)
        except StorageError as error:
            problems.append(error)
            ledger.record(key, [EventRecord("publication.failed", {"output": output.id, "problem": str(error)})])
    if done:
        ledger.published(key, done)
    return problems
