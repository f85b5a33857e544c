"""Take journals in: any number, in any order, twice, half-written, late. Every journal gets one verdict.

Authentic or not is decided first, by the catalog's secret and the chain of the records. Then the end record goes through
the guards that a job with a catalog meets. Of the runs of one ticket the first to be ingested decides: that is written
down before anything else. Killed at any instruction, `ingest` of the same journal goes on: each step is one transaction,
or is done again without harm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from bookkeeper import stageout
from bookkeeper.catalog import Database
from bookkeeper.errors import (
    BookkeeperError,
    Fenced,
    NotFound,
    RolledBack,
    StorageError,
    UsageError,
    ValidationError,
)
from bookkeeper.journal import chain, proving, tickets
from bookkeeper.journal.story import Story
from bookkeeper.journal.tickets import Ticket
from bookkeeper.ledger import SqlLedger, journals
from bookkeeper.ledger.restore import RESTORED
from bookkeeper.operations import operation
from bookkeeper.process.publication import publish_all
from bookkeeper.protocol import Fate, Manifest, Mark, ProcessKey
from bookkeeper_schema.states import Step

REASON: Final = "SELECT reason FROM processes WHERE id = :id"

OUTPUT: Final = "SELECT state FROM outputs WHERE temp_url = :url"


class Verdict(StrEnum):
    """What a journal came to."""

    COMMITTED = "committed"
    """what it consumed counts now"""
    ALREADY = "already committed"
    """what it consumed counts, since an earlier ingest"""
    ROLLED_BACK = "rolled back"
    """the job itself said that it failed: its files are free"""
    INCOMPLETE = "incomplete"
    """it has no end record: nothing is decided, its history was taken in"""
    REFUSED = "refused"
    """what it says does not count, and never will"""
    NOT_AUTHENTIC = "not authentic"
    """it is not what a job with a ticket of this catalog wrote: nothing of it was used"""
    WAITING = "waiting"
    """its storage cannot be reached: nothing is decided, ingest it again"""


@dataclass(frozen=True, slots=True)
class Ingested:
    """One journal's verdict and why; which process and run it is of, as far as that is proved.

    ``files`` of them count; ``outputs`` are final addresses; ``discarded`` are temporaries that were deleted, ``kept``
    those of a refused journal that were not. ``note`` tells of what has to wait: a publication, say.
    """

    journal: str
    verdict: Verdict
    reason: str = ""
    project: str | None = None
    process: int | None = None
    run: str | None = None
    files: int = 0
    outputs: tuple[str, ...] = ()
    discarded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    note: str = ""

    @property
    def exit_code(self) -> int:
        """0 counts, or was rolled back in good order; 10 incomplete, 7 refused, 8 not authentic, 9 waiting."""
        return {
            Verdict.INCOMPLETE: 10,
            Verdict.REFUSED: Fenced.exit_code,
            Verdict.NOT_AUTHENTIC: ValidationError.exit_code,
            Verdict.WAITING: StorageError.exit_code,
        }.get(self.verdict, 0)


def ingest(
    database: Database,
    journals_: Iterable[str | os.PathLike[str]],
    *,
    discard: bool = True,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[Ingested]:
    """Take journals into the catalog, and return the verdict on each, in the given order.

    Outputs of a refused journal are deleted, exactly these temporaries, where their process is over in this time line;
    with ``discard=False`` they are kept. Raises `NotFound` for a journal that is not there, before any is taken in.
    """
    texts: list[tuple[str, str]] = []
    for path in map(Path, journals_):
        try:
            texts.append((str(path), path.read_bytes().decode("utf-8", "replace")))
        except FileNotFoundError:
            raise NotFound(f"there is no journal {path}", remedy="name files that `bookkeeper work` wrote") from None
        except OSError as error:
            raise UsageError(f"the journal {path} cannot be read: {error.strerror}") from error
    verdicts = []
    for name, text in texts:
        on_step(name)
        try:
            begin = chain.begin_of(text.encode())
        except chain.NotAuthentic as error:
            verdicts.append(Ingested(name, Verdict.NOT_AUTHENTIC, str(error)))
            continue
        if begin is None:
            verdicts.append(Ingested(name, Verdict.INCOMPLETE, "it has no whole record"))
            continue
        verdicts.append(take_in(database, begin.ticket.project, name, text, discard))
    return verdicts


@operation("work", name="journal.ingest", project="project", slow=True)
def take_in(database: Database, project: str, name: str, text: str, discard: bool = True) -> Ingested:
    """Take in one journal of a project, given as its text; ``name`` is what its verdict calls it."""
    secret = tickets.secret_of(database.folder, make=False)
    data = text.encode("utf-8", "replace")
    try:
        begin = chain.begin_of(data)
        if begin is None or begin.ticket.project != project:
            return Ingested(name, Verdict.NOT_AUTHENTIC, f"it is of another project than {project}")
        if begin.ticket.catalog != database.id:
            return Ingested(
                name, Verdict.REFUSED, f"it is of catalog {begin.ticket.catalog}; this one is {database.id}"
            )
        if secret is None or not secret.sealed(begin.ticket, begin.seal):
            return Ingested(name, Verdict.NOT_AUTHENTIC, "its ticket was not made by this catalog")
        token = secret.token(database.id, begin.ticket.salt)
        found = chain.read(data, lambda _: token)
    except chain.NotAuthentic as error:
        return Ingested(name, Verdict.NOT_AUTHENTIC, str(error))
    assert found is not None
    try:
        return Settling(database, name, found, token, discard).run()
    except UsageError as error:  # proved, and still not to be understood: another version, or its writer is wrong
        return Ingested(name, Verdict.REFUSED, str(error), begin.ticket.project, begin.ticket.process, found.runs[0])


class Settling:
    """One authentic journal on its way in. ``prove`` raises for outputs that are not what the manifest says."""

    def __init__(
        self,
        database: Database,
        name: str,
        journal: chain.Journal,
        token: str,
        discard: bool,
        prove: Callable[[Ticket, tuple[str, ...], Manifest], None] = proving.prove,
    ) -> None:
        self._proved = prove
        self.database, self.name, self.discard = database, name, discard
        self.ticket, self.runs = journal.begin.ticket, journal.runs
        self.run_name = self.runs[0]
        self.key = ProcessKey(self.ticket.process, token)
        self.ledger = SqlLedger(database)
        self.story = Story(self.ticket)
        for record in journal.records:
            self.story.tell(record)

    def run(self) -> Ingested:
        """Return the verdict."""
        if self.ticket.epoch != self.database.epoch:
            reason = (
                f"its ticket is of epoch {self.ticket.epoch}; the catalog was restored since, to {self.database.epoch}"
            )
            return self._verdict(Verdict.REFUSED, reason, kept=self._temporaries())
        try:
            fate = self.ledger.fate(self.key)
        except NotFound as error:
            return self._verdict(Verdict.REFUSED, str(error), kept=self._temporaries())
        self._history()
        if fate is Fate.ROLLED_BACK and self.story.rolled_back is None and self.story.manifest is not None:
            return self._refused()
        if self.story.fate is Fate.LIVE:
            return self._verdict(Verdict.INCOMPLETE, self._standing(fate))
        if not self._decides(fate):
            return self._refused()
        return self._commit() if self.story.manifest is not None else self._roll_back()

    # -- how it can end ----------------------------------------------------------------------------------------------

    def _commit(self) -> Ingested:
        manifest = self.story.manifest
        assert manifest is not None
        already = self.ledger.fate(self.key) is Fate.COMMITTED
        try:
            if not already:
                self._prove(manifest)
            stored = self.ledger.commit(self.key, manifest)
        except proving.Wrong as error:
            self.ledger.roll_back(self.key, f"ingest refused: {error}", step=Step.OUTPUT_STORAGE, marks=manifest.files)
            return self._refused()
        except (Fenced, RolledBack):
            return self._refused()
        except StorageError as error:
            return self._verdict(Verdict.WAITING, str(error))
        problems = publish_all(self.ledger, self.key, stored)
        note = f"not published yet: {problems[0]}" if problems else ""
        return self._verdict(
            Verdict.ALREADY if already else Verdict.COMMITTED,
            files=sum(one.mark is Mark.CONSUMED for one in manifest.files),
            outputs=tuple(one.record.final_url for one in stored),
            note=note,
        )

    def _roll_back(self) -> Ingested:
        end = self.story.rolled_back
        assert end is not None
        marks = [*self.story.marks.values(), *end.marks]
        became = self.ledger.roll_back(
            self.key, end.reason, step=end.step, counted=end.counted, marks=marks, evidence=end.evidence
        )
        if became is Fate.COMMITTED:
            return self._refused()
        return self._verdict(Verdict.ROLLED_BACK, end.reason)

    def _refused(self) -> Ingested:
        """Say why it does not count, and delete what it stored: its process is over, and these are none of its outputs."""
        fate = self.ledger.fate(self.key)
        first = self.database.run(partial(journals.decided_by, key=self.key))
        if fate is Fate.COMMITTED or (first is not None and first != self.run_name):
            reason = f"another run of its ticket ({first or 'with the token itself'}) was taken in first"
        else:
            row = self.database.one(REASON, {"id": self.key.id})
            reason = f"process {self.key.id} was rolled back: {row['reason'] if row else ''}"
        doomed = self._temporaries()
        if not self.discard or fate is Fate.LIVE or reason.endswith(RESTORED):
            return self._verdict(Verdict.REFUSED, reason, kept=doomed)
        gone, kept = [], []
        for url in doomed:
            try:
                known = self.database.one(OUTPUT, {"url": url})
                if known is None or known["state"] == "discarded":
                    stageout.require_claim(stageout.parse_temporary(url).destination, self.database.id)
                    if stageout.discard(url):
                        gone.append(url)
            except BookkeeperError:  # its storage is away: `check --repair` deletes it one day
                kept.append(url)
        return self._verdict(Verdict.REFUSED, reason, discarded=tuple(gone), kept=tuple(kept))

    def _prove(self, manifest: Manifest) -> None:
        """Prove the outputs; a storage that this host does not know is one that it cannot reach."""
        try:
            self._proved(self.ticket, self.runs, manifest)
        except UsageError as error:
            raise StorageError(str(error), remedy=error.remedy) from error

    # -- what it takes -------------------------------------------------------------------------------------------------

    def _history(self) -> None:
        """Take in what it tells besides its end; each event once, however often it is ingested."""
        for destination in self.story.destinations:
            if self.ledger.fate(self.key) is not Fate.ROLLED_BACK:
                self.ledger.will_write_to(self.key, destination)
        marks = list(self.story.marks.values()) if self.story.fate is Fate.LIVE else []
        move = partial(
            journals.take_in,
            key=self.key,
            run=self.run_name,
            events=self.story.events,
            marks=marks,
            last=self.story.last,
        )
        self.database.run(move)

    def _decides(self, fate: Fate) -> bool:
        """Make this run's end record the one that decides, unless another's does, or the process ended without any."""
        if fate is not Fate.LIVE:
            first = self.database.run(partial(journals.decided_by, key=self.key))
            return first == self.run_name or (first is None and self.story.rolled_back is not None)
        return self.database.run(partial(journals.decide, key=self.key, run=self.run_name), durable=True)

    def _standing(self, fate: Fate) -> str:
        if fate is Fate.LIVE:
            return f"it has no end record; process {self.key.id} is live until its lease has passed"
        return f"it has no end record; process {self.key.id} is {fate.value.replace('_', ' ')}"

    def _temporaries(self) -> tuple[str, ...]:
        """Return the uploads that this journal names and that only its runs can have made."""
        manifest = self.story.manifest
        outputs = () if manifest is None else manifest.outputs
        return tuple(one.temp_url for one in outputs if not proving.foreign(self.ticket, self.runs, one))

    def _verdict(self, verdict: Verdict, reason: str = "", **more: object) -> Ingested:
        about = (self.ticket.project, self.ticket.process, self.run_name)
        return Ingested(self.name, verdict, reason, *about, **more)  # type: ignore[arg-type]
