"""`SqlLedger`: the `Ledger` protocol over a database. Each verb opens one transaction around one move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

from bookkeeper import events, retries
from bookkeeper.catalog import Database, Tx
from bookkeeper.errors import RolledBack
from bookkeeper.failures.evidence import Evidence
from bookkeeper.failures.redaction import redacted, without_secrets
from bookkeeper.ledger import commit, deliver, giveback, guards, outputs, staging, start
from bookkeeper.operations import operation
from bookkeeper.protocol import (
    Delivered,
    EventRecord,
    Fate,
    FileInfo,
    FileMark,
    Manifest,
    ProcessKey,
    Started,
    StartProcess,
    StoredOutput,
)
from bookkeeper_schema.states import Step

T = TypeVar("T")


class SqlLedger:
    """What a job may say, answered by a database on this host. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start_process(self, start_: StartProcess) -> Started:
        """See `Ledger.start_process`."""
        sweep(self._database)
        return self._database.run(lambda tx: start.start_process(tx, start_), durable=True)

    def next_files(self, key: ProcessKey, seq: int, limit: int, done: Sequence[FileMark] = ()) -> Delivered:
        """See `Ledger.next_files`."""
        answer = self._database.run(lambda tx: deliver.next_files(tx, key, seq, limit, done, swept=False))
        if answer is None:
            sweep(self._database)
            answer = self._database.run(lambda tx: deliver.next_files(tx, key, seq, limit))
        assert answer is not None
        return answer

    def mark(self, key: ProcessKey, marks: Sequence[FileMark], *, durable: bool = False) -> None:
        """See `Ledger.mark`."""
        self._database.run(lambda tx: deliver.mark(tx, key, marks), durable=durable)

    def heartbeat(self, key: ProcessKey) -> float:
        """See `Ledger.heartbeat`."""
        lease = self._database.run(lambda tx: giveback.heartbeat(tx, key))
        if lease is None:
            judge = retries.judge()
            self._database.run(lambda tx: giveback.expire(tx, key.id, judge), durable=True)
            self._database.run(lambda tx: guards.refuse(tx, key, "renew its lease"))
        return lease

    def stage(self, key: ProcessKey, manifest: Manifest) -> None:
        """See `Ledger.stage`."""
        try:
            self._database.run(lambda tx: staging.stage(tx, key, manifest), durable=True)
        except guards.GuardFailed as error:
            self._refused(key, manifest, error)

    def commit(self, key: ProcessKey, manifest: Manifest) -> tuple[StoredOutput, ...]:
        """See `Ledger.commit`."""
        try:
            return self._database.run(lambda tx: commit.commit(tx, key, manifest), durable=True)
        except guards.GuardFailed as error:
            self._refused(key, manifest, error)
            return self.outputs_of(key)

    def roll_back(
        self,
        key: ProcessKey,
        reason: str,
        *,
        step: str | None = None,
        counted: bool = True,
        marks: Sequence[FileMark] = (),
        evidence: Evidence | None = None,
    ) -> Fate:
        """See `Ledger.roll_back`."""
        reason = redacted(reason)
        judge: retries.Judge = retries.nobody_failed
        if counted:
            known = without_secrets((evidence or Evidence(message=reason, step=step)).shortened())
            judge = retries.judge_of(self._database, key.id, known)
        move = partial(giveback.roll_back, key=key, reason=reason, judge=judge, marks=marks)
        return self._database.run(move, durable=True)

    def published(self, key: ProcessKey, output_ids: Sequence[int]) -> None:
        """See `Ledger.published`."""

        def move(tx: Tx) -> None:
            tx.lock_request(process=key.id)
            _refuse_rolled_back(tx, key)
            outputs.published(tx, key.id, output_ids)

        self._database.run(move)

    def outputs_of(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """See `Ledger.outputs_of`."""
        return self._of_known(key, outputs.outputs_of)

    def to_publish(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """See `Ledger.to_publish`."""
        return self._of_known(key, outputs.to_publish)

    def deliveries_of(self, key: ProcessKey) -> tuple[tuple[FileInfo, FileMark | None], ...]:
        """See `Ledger.deliveries_of`."""
        return self._of_known(key, deliver.deliveries_of)

    def will_write_to(self, key: ProcessKey, destination: str) -> None:
        """See `Ledger.will_write_to`."""

        def move(tx: Tx) -> None:
            _refuse_rolled_back(tx, key)
            outputs.will_write_to(tx, destination)

        self._database.run(move, durable=True)

    def record(self, key: ProcessKey, events_: Sequence[EventRecord]) -> None:
        """See `Ledger.record`."""

        def move(tx: Tx) -> None:
            guards.fate(tx, key)
            for one in events_:
                events.record(tx, one.kind, one.body, process=key.id, file=one.file_id)

        self._database.run(move)

    def fate(self, key: ProcessKey) -> Fate:
        """See `Ledger.fate`."""
        return self._database.run(lambda tx: guards.fate(tx, key)[0], durable=True)

    def sole_publisher(self) -> AbstractContextManager[bool]:
        """See `Ledger.sole_publisher`."""
        return self._database.sole_publisher()

    def close(self) -> None:
        """See `Ledger.close`. The database stays open: it is its opener's."""

    def _of_known(self, key: ProcessKey, question: Callable[[Tx, int], T]) -> T:
        """Answer a question about a process to whoever knows its token."""

        def move(tx: Tx) -> T:
            guards.fate(tx, key)
            return question(tx, key.id)

        return self._database.run(move)

    def _refused(self, key: ProcessKey, manifest: Manifest, error: guards.GuardFailed) -> None:
        """Roll back a process whose manifest failed a guard and say so; of its files, those it calls bad are charged.

        Returns only where another call of the process committed it meanwhile.
        """
        reason = f"commit refused: {error}"
        if self.roll_back(key, reason, step=Step.OUTPUT_STORAGE, marks=manifest.files) is not Fate.COMMITTED:
            raise RolledBack(
                f"process {key.id} was rolled back: {error}", remedy="its files are free for other processes"
            ) from error


def _refuse_rolled_back(tx: Tx, key: ProcessKey) -> None:
    became, reason = guards.fate(tx, key)
    if became is Fate.ROLLED_BACK:
        raise giveback.fenced(key.id, reason)


@operation("work", raised={"grace": "operate"}, again=True)
def sweep(database: Database, *, grace: bool = True) -> int:
    """Roll back every process whose lease or `max_wall` has passed; return how many.

    ``grace=False`` (an explicit ``expire``) gives nobody a lease for an outage of ours.
    """
    if not database.rows(guards.ANY_OVERDUE):
        return 0
    doomed = database.run(lambda tx: giveback.overdue(tx, grace=grace))
    if not doomed:
        return 0
    expired, judge = 0, retries.judge()
    for process in doomed:
        expired += database.run(partial(giveback.expire, process=process, judge=judge), durable=True)
    return expired


@operation("work", again=True)
def forgive(database: Database, reason: str) -> None:
    """Give every live process one lease, once: an outage kept their heartbeats away, not their deaths."""
    database.run(lambda tx: giveback.grace_all(tx, reason))


@operation("work", process="process", again=True)
def bury(
    database: Database, process: int, reason: str, *, evidence: Evidence | None = None, counted: bool = True
) -> bool:
    """Roll back a process whose worker is known to be dead, without waiting for its lease; tell whether it was live.

    ``evidence`` is what is known of its death; ``counted=False`` says that nothing failed: a person took it away. Should
    the worker live after all, it is fenced. A process whose outputs wait for their transfer needs no worker.
    """
    judge: retries.Judge = retries.nobody_failed
    if counted:
        known = without_secrets((evidence or Evidence(message=reason)).shortened())
        judge = retries.judge_of(database, process, known)
    return database.run(lambda tx: giveback.bury(tx, process, redacted(reason), judge), durable=True)
