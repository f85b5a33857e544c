"""The journal as a ledger for the contract suite: lent at the first `next_files`, written offline, ingested at each word.

Before its ticket is made a job speaks to the catalog, as `bookkeeper ticket` does for it; from then on to a
`JournalLedger` alone. What a job without a network cannot be told is in `NOT_OFFLINE`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bookkeeper.api import Catalog
from bookkeeper.errors import Fenced, RolledBack
from bookkeeper.failures import Evidence
from bookkeeper.journal import JournalLedger, chain, lending, tickets
from bookkeeper.journal.ingesting import Ingested, Settling, Verdict
from bookkeeper.ledger import SqlLedger
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

NOT_OFFLINE: dict[str, tuple[str, ...]] = {
    "a job without a network does not hear that it was rolled back: its end record is refused when it is ingested": (
        "test_a_process_that_was_rolled_back_is_told_so_and_why[[]journal-expired-*",
        "test_a_process_that_was_rolled_back_is_told_so_and_why[[]journal-fenced-*",
        "test_a_process_that_was_rolled_back_is_told_so_and_why[[]journal-revoked-*",
        "test_a_later_end_with_fence_fences[[]*",
        "test_max_wall_ends_a_process_whose_heart_beats[[]*",
        "test_a_staged_process_is_under_max_wall_too[[]*",
    ),
    "no lease is renewed from afar: it is as long as the job may take": (
        "test_a_sign_of_life_renews_the_lease_even_after_it_ran_out_unnoticed[[]*",
        "test_a_stage_is_on_disk_as_a_deadline_that_a_heartbeat_moves[[]*",
    ),
    "files are lent at once, when the ticket is made: what changes later in the catalog gives and takes none": (
        "test_the_same_number_again_gets_the_same_list_and_takes_nothing[[]*",
        "test_full_is_said_when_the_process_has_all_it_may_have[[]*",
        "test_none_now_is_said_while_another_holds_and_exhausted_when_none_does[[]*",
        "test_nothing_is_delivered_while_paused_and_after_the_end[[]*",
        "test_skipped_and_failed_files_never_come_back_to_the_same_process[[]*",
        "test_a_node_where_different_files_fail_while_others_do_well_is_excluded[[]*",
        "test_the_limit_holds_for_all_that_a_process_is_given_not_for_one_call[[]*",
        "test_files_that_failed_less_come_first_and_no_group_grows_past_its_smallest_limit[[]*",
        "test_a_process_does_not_mix_files_that_failed_into_a_group_already_too_large[[]*",
    ),
    "what is staged stands in the journal alone until the end record is ingested": (
        "test_a_staged_process_holds_its_files_and_commits_what_it_staged[[]*",
        "test_outputs_that_differ_from_the_staged_ones_are_refused[[]*",
        "test_a_stage_that_is_refused_rolls_back[[]journal-taken * name]",
        "test_an_output_is_published_once_it_counts[[]*",
    ),
}
"""The cases of the contract that presuppose a conversation with a catalog, by the reason. They must fail: one that
passes does not belong here."""


class IngestedLedger:
    """Every verb of a process whose ticket was made is written into its journal, which is then ingested."""

    def __init__(self, catalog: Catalog) -> None:
        self._database = catalog.database
        self._live = SqlLedger(catalog.database)
        self._folder = TemporaryDirectory(prefix="bookkeeper-")
        self._journals: dict[ProcessKey, JournalLedger] = {}
        self._started: dict[ProcessKey, tuple[str, Started]] = {}
        secret = tickets.secret_of(Path(self._folder.name), make=True)
        assert secret is not None
        self._secret = secret

    def __enter__(self) -> IngestedLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for journal in self._journals.values():
            journal.close()
        self._folder.cleanup()

    def start_process(self, start: StartProcess) -> Started:
        salt = hashlib.sha256(start.nonce.encode()).hexdigest()[:32]
        token = self._secret.token(self._database.id, salt)
        started = self._live.start_process(replace(start, nonce=token))
        self._started.setdefault(started.key, (salt, started))
        return started

    def next_files(self, key: ProcessKey, seq: int, limit: int, done: Sequence[FileMark] = ()) -> Delivered:
        if key in self._journals or key not in self._started:
            return self._ledger(key).next_files(key, seq, limit, done)
        given = self._live.next_files(key, seq, limit, done)
        if given.files:
            salt, started = self._started[key]
            signed = lending.sign(self._database, self._secret, salt, started, given)
            journal = JournalLedger(signed, Path(self._folder.name) / f"{key.id}.journal")
            self._journals[key] = journal
            given = replace(given, files=journal.next_files(key, seq, limit).files)
        return given

    def mark(self, key: ProcessKey, marks: Sequence[FileMark], *, durable: bool = False) -> None:
        self._ledger(key).mark(key, marks, durable=durable)
        self._ingest(key)

    def heartbeat(self, key: ProcessKey) -> float:
        return self._ledger(key).heartbeat(key)

    def stage(self, key: ProcessKey, manifest: Manifest) -> None:
        try:
            self._ledger(key).stage(key, manifest)
        finally:
            self._ingest(key)

    def commit(self, key: ProcessKey, manifest: Manifest) -> tuple[StoredOutput, ...]:
        before = self._live.fate(key)
        try:
            stored = self._ledger(key).commit(key, manifest)
        finally:
            verdict = self._ingest(key)
        if verdict is None:
            return stored
        if verdict.verdict not in (Verdict.COMMITTED, Verdict.ALREADY):
            raise (Fenced if before is Fate.ROLLED_BACK else RolledBack)(verdict.reason)
        return self._live.outputs_of(key)

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
        self._ledger(key).roll_back(key, reason, step=step, counted=counted, marks=marks, evidence=evidence)
        self._ingest(key)
        return self._live.fate(key)

    def published(self, key: ProcessKey, output_ids: Sequence[int]) -> None:
        """The catalog's side publishes; the job has no such verb."""
        self._live.published(key, output_ids)

    def outputs_of(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        return self._live.outputs_of(key)

    def to_publish(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        return self._live.to_publish(key)

    def deliveries_of(self, key: ProcessKey) -> tuple[tuple[FileInfo, FileMark | None], ...]:
        return self._ledger(key).deliveries_of(key)

    def will_write_to(self, key: ProcessKey, destination: str) -> None:
        self._ledger(key).will_write_to(key, destination)
        self._ingest(key)

    def record(self, key: ProcessKey, events: Sequence[EventRecord]) -> None:
        self._ledger(key).record(key, events)
        self._ingest(key)

    def fate(self, key: ProcessKey) -> Fate:
        return self._ledger(key).fate(key)

    def sole_publisher(self) -> AbstractContextManager[bool]:
        return self._live.sole_publisher()

    def _ledger(self, key: ProcessKey) -> Any:
        return self._journals.get(key, self._live)

    def _ingest(self, key: ProcessKey) -> Ingested | None:
        """Take the journal in as it is now. The outputs of the contract suite were never written: they are not proved."""
        if key not in self._journals:
            return None
        data = self._journals[key].path.read_bytes()
        journal = chain.read(data, lambda _: key.token)
        assert journal is not None
        return Settling(self._database, "j", journal, key.token, discard=False, prove=lambda *_: None).run()
