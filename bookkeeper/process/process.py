"""`Process`: one job's transaction, as the job sees it."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import BookkeeperError, Fenced, RolledBack, StorageError
from bookkeeper.failures.evidence import Evidence
from bookkeeper.process.files import DeliveredFile, refuse_undecided
from bookkeeper.process.heart import Heart
from bookkeeper.process.outputs import Expect, claim_for, entries_of, name_of, prove, resolved
from bookkeeper.process.publication import publish_all
from bookkeeper.protocol import (
    Delivered,
    EventRecord,
    Fate,
    FileMark,
    Ledger,
    Manifest,
    Mark,
    OutputRecord,
    ProcessKey,
    Started,
    StartProcess,
    Status,
    StoredOutput,
)

if TYPE_CHECKING:
    from bookkeeper.validation import Validation

POLL_SECONDS: Final = (0.2, 5.0)
"""How long to wait before asking again after "none now": first and longest."""


class Process:
    """One job's transaction over its input files.

    Used as a context manager it beats its heart by itself, commits and publishes when the block is left, and rolls back
    when it is left by an exception.

    ``id`` is its number in the catalog, ``key`` speaks for it, ``started`` has the rules it works under; ``partition`` is
    the number of the partition it was given, where the project has partitions. ``status``, ``project_state`` and ``why``
    are what the last `next_files` said; ``fate`` is what this job knows of its process; ``staged``: it needs no job.
    """

    def __init__(self, ledger: Ledger, started: Started) -> None:
        self.started = started
        self.key: ProcessKey = started.key
        self.id = started.key.id
        self.project = started.project
        self.partition = started.partition
        self.status: Status | None = None
        self.project_state = "open"
        self.why = ""
        self.fate = Fate.LIVE
        self.staged = False
        self._ledger = ledger
        self._files: dict[int, DeliveredFile] = {}
        self._done: list[FileMark] = []
        self._outputs: list[OutputRecord] = []
        self._seq = 0
        self._heart: Heart | None = None

    @property
    def files(self) -> list[DeliveredFile]:
        """Every file it was given so far, in order."""
        return list(self._files.values())

    @property
    def outputs(self) -> list[OutputRecord]:
        """Every output staged so far."""
        return list(self._outputs)

    @property
    def exhausted(self) -> bool:
        """Whether the last `next_files` said that no file is left; otherwise others may give some back."""
        return self.status is Status.EXHAUSTED

    # -- files -----------------------------------------------------------------------------------------------------

    def next_files(self, n: int | None = None, *, done: Sequence[DeliveredFile] = ()) -> list[DeliveredFile]:
        """Ask for up to ``n`` more files (all it may have where None); ``done`` were consumed meanwhile.

        An empty list means none: `exhausted` and `status` tell why.
        """
        for file in done:
            self._later(file, Mark.CONSUMED)
        seq, marks, limit = self._seq + 1, self._done, n or self.started.files_per_process
        answer: Delivered = self._call(lambda: self._ledger.next_files(self.key, seq, limit, marks))
        self._seq, self._done = seq, []
        self.status, self.project_state, self.why = answer.status, answer.project_state, answer.reason
        if answer.partition is not None:
            self.partition = answer.partition
        files = [DeliveredFile(self, info) for info in answer.files]
        self._files.update((file.id, file) for file in files)
        return files

    def __iter__(self) -> Iterator[DeliveredFile]:
        """Take files one by one until there are none; wait on "none now" only while it holds nothing.

        Ends at once where the project is paused or ended: `project_state` tells.
        """
        first, longest = POLL_SECONDS
        pause = first
        while True:
            files = self.next_files(1)
            yield from files
            if files:
                pause = first
            elif self.status is not Status.NONE_NOW or self._files or self.project_state != "open":
                return
            else:
                threading.Event().wait(pause)
                pause = min(pause * 1.5, longest)

    def opened_all(self) -> None:
        """Say, durably, that a command which does not tell begins to read every file that is not decided yet."""
        files = [file for file in self._files.values() if file.state == "delivered"]
        marks = [*self._done, *(file._as_mark(Mark.OPENED) for file in files)]
        self._call(lambda: self._ledger.mark(self.key, marks, durable=True))
        self._done = []
        for file in files:
            self._advance(file, Mark.OPENED)

    def _mark(self, file: DeliveredFile, mark: Mark) -> None:
        self._call(lambda: self._ledger.mark(self.key, [*self._done, file._as_mark(mark)]))
        self._done = []
        self._advance(file, mark)

    def _later(self, file: DeliveredFile, mark: Mark) -> None:
        """Let a mark ride on the next call: it is history, and the manifest decides."""
        self._done.append(file._as_mark(mark))
        self._advance(file, mark)

    def _advance(self, file: DeliveredFile, mark: Mark) -> None:
        if not (file._last is Mark.CONSUMED and mark is Mark.OPENED):
            file._last = mark

    # -- outputs ---------------------------------------------------------------------------------------------------

    def name_of(self, template: str) -> str:
        """Return an output's final name, ``{process}`` and ``{partition}`` filled in. Raises `UsageError`."""
        return name_of(template, self.id, self.partition)

    def stage_out(
        self,
        source: str | os.PathLike[str],
        destination: str | os.PathLike[str],
        name: str,
        *,
        key: str | None = None,
        validate: str | Sequence[str] | None = "deep",
        expect: Expect | None = None,
        near: str | os.PathLike[str] | None = None,
        adopt: bool = False,
        checksum: str | None = None,
        proof: Validation | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> OutputRecord:
        """Validate a local file, copy it to the destination under a temporary name and prove that it arrived.

        With ``near``, it is copied to that folder or URL instead, and `commit` leaves the rest to the catalog's side.
        ``name`` is the final name with ``{process}`` or ``{partition}`` in it. ``validate`` is a level, the name of a
        plug-in's validator, or a command; ``expect`` is ``{"tree": …, "entries": number | "consumed"}``; ``checksum`` is
        that of the file when the payload ended (taken now where None); ``proof`` is what an earlier `validate` of it
        returned, and takes the place of another. May be called several times; changes no state.
        Raises `ValidationError`, `StorageError`, `NotAllowed` (another catalog's destination).
        """
        from bookkeeper import stageout
        from bookkeeper.checksums import adler32_of

        final_name = self.name_of(name)
        place = stageout.resolve(destination)
        final = stageout.final_url(place, final_name)
        path = Path(source)
        try:
            expected = checksum or adler32_of(path)
        except OSError as error:
            raise StorageError(f"the output {path} cannot be read: {error.strerror}") from error
        if proof is None:
            proof = self.validate(path, validate, expect)
        target = stageout.resolve(near or place)
        self._call(lambda: self._ledger.will_write_to(self.key, target))
        claim_for(final, target, self.started.catalog_id, adopt=adopt)
        temporary = stageout.temporary_url(
            target, self.id, f"{self.started.tag}{secrets.token_hex(3)}", len(self._outputs), final_name
        )
        staged = stageout.stage_out(path, temporary, expected_checksum=expected, on_progress=on_progress)
        one = OutputRecord(
            key=key or f"output{len(self._outputs) or ''}",
            destination=place,
            temp_url=staged.url,
            final_url=final,
            size=staged.size,
            checksum=staged.checksum,
            entries=entries_of(proof, expect),
            unproved="not validated" if proof is None else "; ".join(proof.unproved) or None,
            near=None if target == place else target,
        )
        self._outputs.append(one)
        return one

    def validate(
        self, path: Path, level: str | Sequence[str] | None, expect: Expect | None, *, plugins: Sequence[str] = ()
    ) -> Validation | None:
        """Prove what can be proved about an output; None where nothing was asked. Raises `ValidationError`.

        ``plugins`` are modules which may have the validator that ``level`` names.
        """
        if level is None:
            return None
        return prove(path, level, resolved(expect, self._files.values()), plugins)

    # -- the end ---------------------------------------------------------------------------------------------------

    def commit(self, no_output: bool = False, *, done: Sequence[DeliveredFile] = ()) -> None:
        """Make everything this process consumed count, then publish its outputs. Repeated, it succeeds.

        Raises `NotAllowed` where a file is opened and undecided, or an output is there and not a word on any file;
        `Fenced` where the process was rolled back, `RolledBack` where the commit was refused, `StorageError` where
        publication has to wait (the commit stands). With outputs near it is `staged`, and commits when they have arrived.
        """
        for file in done:
            self._advance(file, Mark.CONSUMED)
        refuse_undecided(self._files.values(), made=bool(self._outputs) and not no_output)
        manifest = Manifest([file._verdict() for file in self._files.values()], tuple(self._outputs), no_output)
        if any(output.near is not None for output in self._outputs):
            self.staged = self._call(lambda: self._ledger.stage(self.key, manifest)) is None  # else it raised
            self._stop()
            return
        stored = self._call(lambda: self._ledger.commit(self.key, manifest))
        self.fate = Fate.COMMITTED
        self._stop()
        self.publish(stored)

    def publish(self, outputs: Sequence[StoredOutput]) -> None:
        """Bring committed outputs to their final names; after trying all, raise the first `StorageError` or `NotAllowed`."""
        problems = publish_all(self._ledger, self.key, outputs)
        if problems:
            raise problems[0]

    def roll_back(
        self, reason: str, *, step: str | None = None, counted: bool = True, evidence: Evidence | None = None
    ) -> Fate:
        """Give everything back; return what the process is now. Its temporaries are deleted once it is answered."""
        marks = [file._verdict() for file in self._files.values() if file.state != "delivered"]
        became = self._ledger.roll_back(self.key, reason, step=step, counted=counted, marks=marks, evidence=evidence)
        self.fate = became
        self._stop()
        if became is Fate.ROLLED_BACK:
            self.clean_up()
        else:
            self.publish(self._ledger.outputs_of(self.key))
        return became

    def clean_up(self) -> None:
        """Delete the temporaries of a process that was answered "rolled back"; what cannot be deleted is left to `check`."""
        from bookkeeper import stageout

        for output in self._outputs:
            with contextlib.suppress(StorageError):
                stageout.discard(output.temp_url)

    def heartbeat(self) -> float:
        """Renew the lease; return its seconds."""
        lease: float = self._call(lambda: self._ledger.heartbeat(self.key))
        return lease

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Append an event of this process."""
        self._ledger.record(self.key, [EventRecord(kind, body)])

    # -- as a context manager --------------------------------------------------------------------------------------

    def __enter__(self) -> Process:
        self.keep_alive()
        self._or_give_up(self.roll_forward)
        return self

    def roll_forward(self) -> None:
        """Publish what earlier processes of the request committed and could not publish; problems are recorded."""
        publish_all(self._ledger, self.key, self._ledger.to_publish(self.key))

    def keep_alive(self, on_fenced: Callable[[BookkeeperError], None] | None = None) -> None:
        """Renew the lease from a thread of its own until the process ends; ``on_fenced`` is called from there."""
        if self._heart is None:
            self._heart = Heart(self._ledger, self.key, self.started.lease, on_fenced)
            self._heart.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.fate is not Fate.LIVE or self.staged:
                return
            if error is not None:
                self._give_up(error)
            elif self._files or self._outputs:
                self._or_give_up(self.commit)
            else:
                self.roll_back("nothing to do", counted=False)
        finally:
            self._stop()

    def _or_give_up(self, act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:
            if self.fate is Fate.LIVE:
                self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        """Roll back on the way out; the exception that led here is the one to tell."""
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"[:1000]
        with contextlib.suppress(BookkeeperError):
            self.roll_back(reason, counted=not interrupted, evidence=Evidence.of(error))

    def _stop(self) -> None:
        if self._heart is not None:
            self._heart.stop()
            self._heart = None

    def _call(self, verb: Callable[[], Any]) -> Any:
        try:
            return verb()
        except (Fenced, RolledBack):
            self.fate = Fate.ROLLED_BACK
            self._stop()
            self.clean_up()
            raise


def new_nonce() -> str:
    """Return the secret that a job makes at its start: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def start(ledger: Ledger, request: StartProcess) -> Process:
    """Open a process of a project. Raises as `Ledger.start_process` does."""
    return Process(ledger, ledger.start_process(request))
