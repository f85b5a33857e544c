"""`JournalLedger`: the `Ledger` protocol without a catalog, over a ticket and an append-only file.

What a job says is written down; what it is answered comes from the ticket and from what was written before. Nothing is
decided here: the end record is the manifest, and `ingest` brings it through the catalog's own guards.

Killed at any instruction, the journal has the records so far and at most one torn line, which the next opening cuts off.
On disk before they are answered: the first record, `stage`, `commit`, `roll_back`, `will_write_to`, durable marks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from bookkeeper import wire
from bookkeeper.errors import Conflict, Fenced, NotAllowed, NotFound, RolledBack, StorageError, UsageError
from bookkeeper.failures.evidence import Evidence
from bookkeeper.failures.redaction import redacted, without_secrets
from bookkeeper.journal import chain, story
from bookkeeper.journal.tickets import SignedTicket, sync_folder
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

RUN_BYTES: Final = 8
"""Random bytes in the name of a run: no two jobs with one ticket share a temporary name."""


class JournalLedger:
    """What a job may say, written into a journal. Safe to use from several threads; one job at a time has it open.

    ``on_record(n)`` is called when the n-th record is in the file. Raises `Conflict` where the file is another
    ticket's, was changed, or another job has it open; `StorageError` where it cannot be written.
    """

    def __init__(
        self, signed: SignedTicket, path: Path, *, node: str = "", on_record: Callable[[int], None] = lambda n: None
    ) -> None:
        self.ticket, self.path = signed.ticket, path
        self._token, self._key, self._on_record = signed.token, chain.key_of(signed.token), on_record
        self._lock = threading.RLock()
        self._broken = ""
        self.run = secrets.token_hex(RUN_BYTES)
        self._story = story.Story(signed.ticket)
        with self._translated("opened"):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._open(signed, node)
        except BaseException:
            os.close(self._file)
            raise

    # -- the verbs -------------------------------------------------------------------------------------------------

    def start_process(self, start_: StartProcess) -> Started:
        """Return the process of the ticket; it was started when the ticket was made."""
        with self._lock:
            if start_.project != self.ticket.project:
                raise NotFound(
                    f"the ticket is for project {self.ticket.project}, not {start_.project}",
                    remedy="take a ticket of that project",
                )
            if self._story.fate is Fate.ROLLED_BACK:
                self._refuse("start")
            return self.ticket.started(self._token, self.run)

    def next_files(self, key: ProcessKey, seq: int, limit: int, done: Sequence[FileMark] = ()) -> Delivered:
        """Hand out files of the ticket; there are never more."""
        if seq < 1 or limit < 1:
            raise UsageError("next_files counts its calls and its files from 1")
        with self._live(key, "take files"):
            self._story.check(done)
            self._append("next_files", wire.NextFiles(key.id, seq, limit, tuple(done)))
            return self._story.given(seq)

    def mark(self, key: ProcessKey, marks: Sequence[FileMark], *, durable: bool = False) -> None:
        """Write down what became of files, forward only."""
        with self._live(key, "mark files"):
            self._story.check(marks)
            self._append("mark", wire.MarkFiles(key.id, tuple(marks), durable), durable=durable)

    def heartbeat(self, key: ProcessKey) -> float:
        """Return the ticket's lease: nobody hears a heart without a network, and no lease is renewed."""
        with self._live(key, "renew its lease", staged=True):
            return self.ticket.lease

    def stage(self, key: ProcessKey, manifest: Manifest) -> None:
        """Write down outputs that wait for a commit; a job without a network stores them where they are to be."""
        if any(one.near is not None for one in manifest.outputs):
            raise NotAllowed(
                "outputs that are stored near need a catalog while the job runs",
                remedy="leave out near: whoever takes the journal in proves and publishes what was stored",
            )
        with self._lock:
            self._known(key)
            staged = self._story.staged if self._story.fate is Fate.LIVE else None
            if staged is not None and tuple(staged.outputs) == tuple(manifest.outputs):
                return
            with self._live(key, "stage outputs"):
                if len({one.file_id for one in manifest.files}) != len(self._story.taken):
                    self._refused(key, manifest, "the manifest does not decide every file that was delivered")
                self._append("stage", wire.WithManifest(key.id, manifest), durable=True)

    def commit(self, key: ProcessKey, manifest: Manifest) -> tuple[StoredOutput, ...]:
        """Write the end record: what is to count, if the catalog's guards let it. Nothing may be published here."""
        with self._lock:
            self._known(key)
            if self._story.fate is Fate.COMMITTED:
                return ()
            with self._live(key, "commit", staged=True):
                problem = self._story.problem(manifest)
                if problem:
                    self._refused(key, manifest, problem)
                whole = self._story.whole(manifest)
                self._append("commit", wire.WithManifest(key.id, whole), durable=True)
                return ()

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
        """Write the end record of a run that failed: nothing of it is to count."""
        with self._lock:
            self._known(key)
            if self._story.fate is Fate.LIVE:
                known = None if evidence is None else without_secrets(evidence.shortened())
                body = wire.RollBack(key.id, redacted(reason), step, counted, tuple(marks), known)
                self._append("roll_back", body, durable=True)
            return self._story.fate

    def published(self, key: ProcessKey, output_ids: Sequence[int]) -> None:
        """Refuse: a final name is given by the catalog's side only."""
        with self._lock:
            self._known(key)
            if self._story.fate is Fate.ROLLED_BACK:
                self._refuse("publish")
            if output_ids:
                raise NotAllowed("a job without a catalog publishes nothing", remedy="`bookkeeper ingest` publishes")

    def outputs_of(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """Return none: outputs are recorded by `ingest`."""
        self._known(key)
        return ()

    def to_publish(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """Return none: a job without a catalog publishes nothing."""
        self._known(key)
        return ()

    def deliveries_of(self, key: ProcessKey) -> tuple[tuple[FileInfo, FileMark | None], ...]:
        """Return the files it took, each with its last mark."""
        with self._lock:
            self._known(key)
            return tuple((one, self._story.marks.get(one.id)) for one in self._story.taken)

    def will_write_to(self, key: ProcessKey, destination: str) -> None:
        """Write down a destination. Raises `NotAllowed` where the ticket names another one."""
        with self._lock:
            self._known(key)
            if self._story.fate is Fate.ROLLED_BACK:
                self._refuse("write outputs")
            if self.ticket.destination not in (None, destination):
                raise NotAllowed(
                    f"the ticket is for outputs in {self.ticket.destination}, not in {destination}",
                    remedy="leave the destination out, or take a ticket for that one",
                )
            self._append("will_write_to", wire.WillWriteTo(key.id, destination), durable=True)

    def record(self, key: ProcessKey, events: Sequence[EventRecord]) -> None:
        """Write events down; also after the end."""
        with self._lock:
            self._known(key)
            self._append("record", wire.Record(key.id, tuple(events)))

    def fate(self, key: ProcessKey) -> Fate:
        """Tell how this run ended; what became of its process is the catalog's to say."""
        with self._lock:
            self._known(key)
            return self._story.fate

    @property
    def ended(self) -> Fate:
        """How the runs of this journal ended: live where there is no end record."""
        return self._story.fate

    @property
    def reason(self) -> str:
        """Why it was rolled back, if it was."""
        return self._story.reason

    def sole_publisher(self) -> AbstractContextManager[bool]:
        """Never."""
        return contextlib.nullcontext(False)

    def close(self) -> None:
        """Close the file; another job may go on with it."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    # -- guards ----------------------------------------------------------------------------------------------------

    def _known(self, key: ProcessKey) -> None:
        if key.id != self.ticket.process or not secrets.compare_digest(key.token.encode(), self._token.encode()):
            raise NotFound(
                f"there is no process {key.id} with this token", remedy="a ticket speaks for its own process only"
            )

    @contextlib.contextmanager
    def _live(self, key: ProcessKey, verb: str, *, staged: bool = False) -> Any:
        with self._lock:
            self._known(key)
            if self._story.fate is not Fate.LIVE or (self._story.staged is not None and not staged):
                self._refuse(verb)
            yield

    def _refuse(self, verb: str) -> None:
        process = self.ticket.process
        if self._story.fate is Fate.ROLLED_BACK:
            raise Fenced(
                f"process {process} was rolled back: {self._story.reason}",
                remedy="its files are free when its journal is ingested, or its lease has passed",
            )
        state = "committed" if self._story.fate is Fate.COMMITTED else "staged"
        raise NotAllowed(f"process {process} is {state}: it can no longer {verb}", remedy="ingest its journal")

    def _refused(self, key: ProcessKey, manifest: Manifest, problem: str) -> None:
        """End as the catalog would: a manifest that its guards refuse rolls back."""
        self.roll_back(key, f"commit refused: {problem}", step="output-storage", marks=manifest.files)
        raise RolledBack(
            f"process {key.id} was rolled back: {problem}", remedy="its files are free when its journal is ingested"
        )

    # -- the file --------------------------------------------------------------------------------------------------

    def _open(self, signed: SignedTicket, node: str) -> None:
        """Begin the journal, or go on with one whose job died."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"another job is writing {self.path}", remedy="name another journal") from error
        with self._translated("read"), open(self._file, "rb", closefd=False) as stream:
            data = stream.read()
        try:
            found = chain.read(data, lambda begin: self._token if begin.ticket == self.ticket else "")
        except chain.NotAuthentic as error:
            raise Conflict(
                f"{self.path} is no journal of this ticket, or was changed ({error})", remedy="name another journal"
            ) from error
        if found is None:
            self._count, self._size, self._last = 0, 0, self.ticket.digest()
            self._append(chain.BEGIN, chain.Begin(self.ticket, signed.seal, self.run, node), durable=True)
            with self._translated("written"):
                sync_folder(self.path.absolute().parent)
            return
        self._count, self._size, self._last = len(found.records), found.size, found.last
        for one in found.records:
            self._story.tell(one)
        if self._story.fate is Fate.LIVE:
            self._append(chain.RUN, chain.Run(self.run, node), durable=True)
        else:
            self.run = found.runs[-1]

    def _append(self, verb: str, body: Any, *, durable: bool = False) -> None:
        """Write one record, whole or not at all. After a sync that failed nobody knows, and nothing more is written."""
        if self._broken:
            raise StorageError(self._broken, remedy="whatever the journal says stands; ingest it")
        record = chain.record(self._count + 1, round(time.time(), 3), verb, body)
        code, line = chain.line(self._key, self._last, wire.encode(record))
        with self._translated("written"):
            os.ftruncate(self._file, self._size)  # what is left of a line that could not be written, or was torn
            try:
                written = 0
                while written < len(line):
                    written += os.pwrite(self._file, line[written:], self._size + written)
            except OSError:
                try:
                    os.ftruncate(self._file, self._size)
                except OSError as error:
                    self._broken = f"the journal {self.path} cannot be written any more: {error.strerror}"
                raise
            if durable:
                try:
                    os.fsync(self._file)
                except OSError as error:
                    self._broken = f"the journal {self.path} may not have reached the disk: {error.strerror}"
                    raise
        self._count, self._size, self._last = record.n, self._size + len(line), code
        self._story.tell(record)
        self._on_record(record.n)

    @contextlib.contextmanager
    def _translated(self, done: str) -> Any:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"the journal {self.path} cannot be {done}: {error.strerror}", remedy="name another with --journal"
            ) from error
