"""What a journal's records come to: which files were taken, what is known of each, and how it ended. No file, no catalog.

The ledger that writes a journal, and `ingest` that reads it, tell it record by record.
"""

from __future__ import annotations

from collections.abc import Sequence

from bookkeeper import wire
from bookkeeper.errors import NotAllowed, NotFound, UsageError
from bookkeeper.journal import chain
from bookkeeper.journal.tickets import Ticket
from bookkeeper.protocol import Delivered, EventRecord, Fate, FileInfo, FileMark, Manifest, Mark, Status

_CLOSING = (Mark.SKIPPED, Mark.FAILED)


class Story:
    """The state that a journal describes. The first end record ends it; after it only events come."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.fate = Fate.LIVE
        self.reason = ""
        self.taken: list[FileInfo] = []
        self.marks: dict[int, FileMark] = {}
        self.staged: Manifest | None = None
        self.manifest: Manifest | None = None
        self.rolled_back: wire.RollBack | None = None
        self.destinations: list[str] = []
        self.events: dict[int, tuple[EventRecord, ...]] = {}
        self.last = 0
        self._answers: dict[int, tuple[FileInfo, ...]] = {}

    def tell(self, record: chain.Record) -> None:
        """Take one record in. Raises `UsageError` for one that says nothing known."""
        self.last = record.n
        if record.verb == chain.RUN:
            self._begin_again()
            return
        if record.verb == chain.BEGIN:
            return
        if record.verb not in wire.CALLS:
            raise UsageError(f"record {record.n} is a {record.verb!r}, which this bookkeeper does not know")
        said = chain.message(record, wire.CALLS[record.verb])
        if record.verb == "record":
            self.events[record.n] = tuple(said.events)
        elif record.verb == "will_write_to":
            if said.destination not in self.destinations:
                self.destinations.append(said.destination)
        elif self.fate is Fate.LIVE:
            self._act(record.verb, said)

    def _act(self, verb: str, said: wire.Call) -> None:
        match said:
            case wire.NextFiles():
                self._note(said.done)
                self._answer(said.seq, said.limit)
            case wire.MarkFiles():
                self._note(said.marks)
            case wire.WithManifest() if verb == "stage":
                self.staged = said.manifest
            case wire.WithManifest():
                self.fate, self.manifest = Fate.COMMITTED, said.manifest
            case wire.RollBack():
                self.fate, self.rolled_back = Fate.ROLLED_BACK, said
                self.reason = said.reason

    def _begin_again(self) -> None:
        """Let another job go on where one died: what that one said of files was of its own outputs."""
        self.staged, self.taken, self._answers = None, [], {}
        self.marks = {file: one for file, one in self.marks.items() if one.mark is Mark.OPENED}

    def _answer(self, seq: int, limit: int) -> None:
        if seq in self._answers or any(seq < other for other in self._answers):
            return
        smallest = len(self.ticket.files) if self.ticket.partitioned else limit
        self._answers[seq] = self.ticket.files[len(self.taken) : len(self.taken) + smallest]
        self.taken += self._answers[seq]

    def given(self, seq: int) -> Delivered:
        """Return the answer to a call of `next_files` that was told."""
        files = self._answers.get(seq, ())
        return Delivered(files, Status.FILES if files else Status.FULL, self.ticket.partition)

    def _note(self, marks: Sequence[FileMark]) -> None:
        for one in marks:
            before = self.marks.get(one.file_id)
            if not (one.mark is Mark.OPENED and before is not None) and (before is None or before.mark is Mark.OPENED):
                self.marks[one.file_id] = one

    def check(self, marks: Sequence[FileMark]) -> None:
        """Raise where a mark is of a file not taken, or contradicts what was said before."""
        known = {one.id: one.name for one in self.taken}
        process, told = self.ticket.process, dict(self.marks)
        for one in marks:
            if one.mark is Mark.UNREAD:
                raise UsageError("unread is said in a manifest only")
            if self.ticket.partitioned and one.mark in _CLOSING:
                raise NotAllowed(
                    f"process {process} has a whole partition: a file of it cannot be {one.mark} alone",
                    remedy="roll the process back; `bookkeeper project park` takes a bad file out of its partition",
                )
            if one.file_id not in known:
                raise NotFound(
                    f"process {process} was given no file {one.file_id}", remedy="mark files that next_files returned"
                )
            before = told.get(one.file_id)
            if _contradicts(before, one.mark):
                assert before is not None
                raise NotAllowed(
                    f"{known[one.file_id]} is {before.mark} in process {process}: it cannot become {one.mark}",
                    remedy="roll back instead",
                )
            if before is None or before.mark is Mark.OPENED:
                told[one.file_id] = one

    def problem(self, manifest: Manifest) -> str:
        """Return why the catalog would refuse this manifest; empty where nothing that is known here speaks against it."""
        decided = [one.file_id for one in manifest.files]
        if sorted(decided) != sorted(one.id for one in self.taken):
            return f"the manifest decides {len(decided)} files, not exactly the {len(self.taken)} delivered"
        if any(one.mark is Mark.OPENED for one in manifest.files):
            return "the manifest leaves an opened file undecided"
        if any(_denies(self.marks.get(one.file_id), one.mark) for one in manifest.files):
            return "the manifest contradicts what was marked before"
        if manifest.no_output and manifest.outputs:
            return "the manifest names outputs and says that there are none"
        if not manifest.outputs and not manifest.no_output:
            return "there is no output, and none was declared (no_output)"
        if manifest.no_output and self.ticket.output_required:
            return "the project requires an output of every process"
        if self.staged is not None and tuple(self.staged.outputs) != tuple(manifest.outputs):
            return "the manifest does not prove the staged outputs"
        consumed = sum(one.mark is Mark.CONSUMED for one in manifest.files)
        if self.ticket.partitioned and consumed != len(self.ticket.files):
            size = len(self.ticket.files)
            return f"partition {self.ticket.partition} has {size} files, {consumed} were consumed: whole or not at all"
        return ""

    def whole(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the files that were lent and never taken: they are unread."""
        decided = {one.file_id for one in manifest.files}
        unread = [FileMark(one.id, Mark.UNREAD) for one in self.ticket.files if one.id not in decided]
        return Manifest([*manifest.files, *unread], tuple(manifest.outputs), manifest.no_output)


def _contradicts(before: FileMark | None, now: Mark) -> bool:
    """Tell whether a mark goes back on an earlier one."""
    if before is None or before.mark is now:
        return False
    return (now in _CLOSING and before.mark is not Mark.OPENED) or (now is Mark.CONSUMED and before.mark in _CLOSING)


def _denies(before: FileMark | None, now: Mark) -> bool:
    """Tell whether a manifest's word on a file contradicts its last mark."""
    if before is None:
        return False
    return now is Mark.UNREAD or _contradicts(before, now)
