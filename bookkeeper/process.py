"""What a job sees of its transaction: `Process` and `DeliveredFile`.

Speaks to the narrow `Ledger` protocol and to storage, never to a database.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from bookkeeper.errors import BookkeeperError, CatalogError, Fenced, FileChanged, NotAllowed, StorageError, UsageError
from bookkeeper.protocol import (
    Delivered,
    EventRecord,
    Fate,
    FileInfo,
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

Expect = Mapping[str, Any]


class DeliveredFile:
    """A file that a process was given.

    ``size`` is in bytes, ``locations`` are absolute paths or URLs.
    """

    __slots__ = ("_last", "_process", "bytes_read", "changed", "entries_read", "info", "reason")

    def __init__(self, process: Process, info: FileInfo) -> None:
        self._process = process
        self.info = info
        self._last = Mark.UNREAD
        self.entries_read: int | None = None
        self.bytes_read: int | None = None
        self.reason: str | None = None
        self.changed = False

    def __repr__(self) -> str:
        return f"<DeliveredFile {self.name} {self.state}>"

    @property
    def state(self) -> str:
        """What this job knows: delivered, opened, consumed, skipped or failed."""
        return "delivered" if self._last is Mark.UNREAD else self._last.value

    @property
    def id(self) -> int:
        """The file's number in the catalog."""
        return self.info.id

    @property
    def name(self) -> str:
        """The logical name."""
        return self.info.name

    @property
    def size(self) -> int:
        """The pinned size in bytes."""
        return self.info.size

    @property
    def checksum(self) -> str | None:
        """The pinned checksum, ``adler32:0a1b2c3d``, where one is known."""
        return self.info.checksum

    @property
    def entries(self) -> int | None:
        """The catalogued number of entries, where known."""
        return self.info.entries

    @property
    def locations(self) -> tuple[str, ...]:
        """Where copies lie: absolute paths or URLs."""
        return self.info.locations

    def location(self) -> str:
        """Return the first location that answers with the pinned size.

        Raises `FileChanged` where one answers with another size, `StorageError` where none answers; the file is
        `failed` then (and parked, where it changed).
        """
        problems: list[str] = []
        for place in self.locations:
            found = _size_of(place)
            if found == self.size:
                return place
            problems.append(f"{place}: {found if isinstance(found, str) else f'{found} bytes, {self.size} declared'}")
            if isinstance(found, int):
                self.unusable(f"changed since it was declared: {problems[-1]}", changed=True)
                raise FileChanged(f"{self.name} is not what was declared: {problems[-1]}")
        reason = "; ".join(problems) or "it has no location"
        self.unusable(f"cannot be reached: {reason}")
        raise StorageError(
            f"{self.name} cannot be reached: {reason}", remedy="`bookkeeper file locate` shows its locations"
        )

    def unusable(self, reason: str, *, changed: bool = False) -> None:
        """Fail the file; in a partition, which is whole or not at all, only note it for the roll back."""
        if self._process.started.partitioned:
            self.decided(Mark.FAILED, reason=reason, changed=changed)
        else:
            self.failed(reason, changed=changed)

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        """Give the path (or URL) to read; opened when the block begins, consumed when it ends without an exception."""
        place = self.location()
        self.opened()
        yield place
        if self.state == "opened":
            self._process._later(self, Mark.CONSUMED)

    def opened(self) -> None:
        """Say that reading begins."""
        self._process._mark(self, Mark.OPENED)

    def consumed(self, entries: int | None = None, bytes: int | None = None) -> None:
        """Say that reading ended and the output contains the file."""
        self.entries_read, self.bytes_read = entries, bytes
        self._process._mark(self, Mark.CONSUMED)

    def skipped(self, reason: str) -> None:
        """Say that the file was left out on purpose: nothing of it is in the output."""
        self.reason = reason
        self._process._mark(self, Mark.SKIPPED)

    def failed(self, reason: str, *, changed: bool = False) -> None:
        """Say that the file could not be read: nothing of it is in the output. ``changed`` parks it at once."""
        self.reason, self.changed = reason, changed
        self._process._mark(self, Mark.FAILED)

    def decided(
        self,
        mark: Mark,
        *,
        entries: int | None = None,
        bytes: int | None = None,
        reason: str | None = None,
        changed: bool = False,
    ) -> None:
        """Note what became of the file without a call to the catalog: the manifest, or the roll back, will tell it."""
        self.entries_read, self.bytes_read, self.reason, self.changed = entries, bytes, reason, changed
        self._process._advance(self, mark)

    def _as_mark(self, mark: Mark) -> FileMark:
        return FileMark(self.id, mark, self.entries_read, self.bytes_read, self.reason, self.changed)

    def _verdict(self) -> FileMark:
        return self._as_mark(self._last)


class Process:
    """One job's transaction over its input files.

    Used as a context manager it beats its heart by itself, commits and publishes when the block is left, and rolls back
    when it is left by an exception.
    """

    def __init__(self, ledger: Ledger, started: Started, *, on_end: Callable[[], None] | None = None) -> None:
        self._ledger = ledger
        self._started = started
        self._key = started.key
        self._files: dict[int, DeliveredFile] = {}
        self._done: list[FileMark] = []
        self._outputs: list[OutputRecord] = []
        self._seq = 0
        self._status: Status | None = None
        self._project_state = "open"
        self._fate = Fate.LIVE
        self._heart: Heart | None = None
        self._on_end = on_end
        self._partition = started.partition

    # -- who it is -------------------------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """The process number in the catalog."""
        return self._key.id

    @property
    def key(self) -> ProcessKey:
        """Number and token: what speaks for this process."""
        return self._key

    @property
    def project(self) -> str:
        """The project's name."""
        return self._started.project

    @property
    def partition(self) -> int | None:
        """The number of its partition, where the project has partitions and one was delivered."""
        return self._partition

    @property
    def started(self) -> Started:
        """The answer to start_process: the rules it works under."""
        return self._started

    @property
    def files(self) -> list[DeliveredFile]:
        """Every file it was given so far, in order."""
        return list(self._files.values())

    @property
    def outputs(self) -> list[OutputRecord]:
        """Every output staged so far."""
        return list(self._outputs)

    @property
    def status(self) -> Status | None:
        """Why the last `next_files` gave what it gave."""
        return self._status

    @property
    def exhausted(self) -> bool:
        """Whether the last `next_files` said that no file is left; otherwise others may give some back."""
        return self._status is Status.EXHAUSTED

    @property
    def project_state(self) -> str:
        """The state of the project as the last `next_files` told it: open, paused or ended."""
        return self._project_state

    @property
    def fate(self) -> Fate:
        """What this job knows of its process: live, committed or rolled back."""
        return self._fate

    # -- files -----------------------------------------------------------------------------------------------------

    def next_files(self, n: int | None = None, *, done: Sequence[DeliveredFile] = ()) -> list[DeliveredFile]:
        """Ask for up to ``n`` more files (all it may have where None); ``done`` were consumed meanwhile.

        An empty list means none: `exhausted` and `status` tell why.
        """
        for file in done:
            self._later(file, Mark.CONSUMED)
        seq, marks, limit = self._seq + 1, self._done, n or self._started.files_per_process
        answer: Delivered = self._call(lambda: self._ledger.next_files(self._key, seq, limit, marks))
        self._seq, self._done = seq, []
        self._status, self._project_state = answer.status, answer.project_state
        if answer.partition is not None:
            self._partition = answer.partition
        files = [DeliveredFile(self, info) for info in answer.files]
        self._files.update((file.id, file) for file in files)
        return files

    def __iter__(self) -> Iterator[DeliveredFile]:
        """Take files one by one until there are none; wait on "none now" only while it holds nothing."""
        first, longest = POLL_SECONDS
        pause = first
        while True:
            files = self.next_files(1)
            yield from files
            if files:
                pause = first
            elif self._status is not Status.NONE_NOW or self._files:
                return
            else:
                threading.Event().wait(pause)
                pause = min(pause * 1.5, longest)

    def opened_all(self) -> None:
        """Say, durably, that a command which does not tell begins to read every file that is not decided yet."""
        files = [file for file in self._files.values() if file.state == "delivered"]
        marks = [*self._done, *(file._as_mark(Mark.OPENED) for file in files)]
        self._call(lambda: self._ledger.mark(self._key, marks, durable=True))
        self._done = []
        for file in files:
            self._advance(file, Mark.OPENED)

    def _mark(self, file: DeliveredFile, mark: Mark) -> None:
        self._call(lambda: self._ledger.mark(self._key, [*self._done, file._as_mark(mark)]))
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
        """Return an output's final name: ``{process}`` and ``{partition}`` filled in.

        Raises `UsageError` where the name could not be unique.
        """
        if "{partition}" in template and self._partition is None:
            raise UsageError(f"{template!r} names an output by partition, but project {self.project} has none")
        if "{process}" not in template and "{partition}" not in template:
            raise UsageError(
                f"{template!r} is the same for every process", remedy="put {process} or {partition} into it"
            )
        return template.replace("{process}", str(self.id)).replace("{partition}", str(self._partition))

    def stage_out(
        self,
        source: str | os.PathLike[str],
        destination: str | os.PathLike[str],
        name: str,
        *,
        key: str | None = None,
        validate: Literal["deep", "quick"] | Sequence[str] | None = "deep",
        expect: Expect | None = None,
        adopt: bool = False,
        checksum: str | None = None,
        proof: Validation | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> OutputRecord:
        """Validate a local file, copy it to the destination under a temporary name and prove that it arrived.

        ``name`` is the final name with ``{process}`` or ``{partition}`` in it. ``validate`` is a level or a command;
        ``expect`` is ``{"tree": …, "entries": number | "consumed"}``; ``checksum`` is that of the file when the
        payload ended (taken now where None); ``proof`` is what an earlier `validate` of it returned, and takes the place
        of another. May be called several times; changes no state.
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
        self._call(lambda: self._ledger.will_write_to(self._key, place))
        stageout.claim(place, self._started.catalog_id, adopt=adopt)
        if stageout.exists(final):
            raise StorageError(
                f"{final} exists already: this process would have to overwrite it",
                remedy="move it away, or name another output",
            )
        temporary = stageout.temporary_url(
            place, self.id, f"{self._started.tag}{secrets.token_hex(3)}", len(self._outputs), final_name
        )
        staged = stageout.stage_out(path, temporary, expected_checksum=expected, on_progress=on_progress)
        record = OutputRecord(
            key=key or f"output{len(self._outputs) or ''}",
            destination=place,
            temp_url=staged.url,
            final_url=final,
            size=staged.size,
            checksum=staged.checksum,
            entries=_entries_of(proof, expect),
            unproved="not validated" if proof is None else "; ".join(proof.unproved) or None,
        )
        self._outputs.append(record)
        return record

    def validate(
        self, path: Path, level: Literal["deep", "quick"] | Sequence[str] | None, expect: Expect | None
    ) -> Validation | None:
        """Prove what can be proved about an output; None where nothing was asked. Raises `ValidationError`."""
        if level is None:
            return None
        from bookkeeper.validation import validate

        resolved = dict(expect) if expect else None
        if resolved and resolved.get("entries") == "consumed":
            resolved["entries"] = self.entries_consumed()
        if isinstance(level, str):
            return validate(path, level, resolved)
        return validate(path, "quick", resolved, command=list(level))

    def entries_consumed(self) -> int:
        """Return the entries of all consumed files: as reported, else as catalogued. Raises `UsageError` if unknown."""
        total = 0
        for file in self._files.values():
            if file.state == "consumed":
                entries = file.entries if file.entries_read is None else file.entries_read
                if entries is None:
                    raise UsageError(f"the entries of {file.name} are not known", remedy="declare them, or report them")
                total += entries
        return total

    # -- the end ---------------------------------------------------------------------------------------------------

    def commit(self, no_output: bool = False, *, done: Sequence[DeliveredFile] = ()) -> None:
        """Make everything this process consumed count, then publish its outputs. Repeated, it succeeds.

        Raises `NotAllowed` where a file is opened and undecided, `Fenced` where the process was rolled back,
        `RolledBack` where the commit was refused, `StorageError` where publication has to wait (the commit stands).
        """
        for file in done:
            self._later(file, Mark.CONSUMED)
        undecided = [file.name for file in self._files.values() if file._last is Mark.OPENED]
        if undecided:
            raise NotAllowed(
                f"{', '.join(undecided[:3])} opened and neither consumed, skipped nor failed",
                remedy="say what became of every opened file, then commit",
            )
        manifest = Manifest([file._verdict() for file in self._files.values()], tuple(self._outputs), no_output)
        stored = self._call(lambda: self._ledger.commit(self._key, manifest))
        self._fate = Fate.COMMITTED
        self._stop()
        self.publish(stored)

    def publish(self, outputs: Sequence[StoredOutput]) -> None:
        """Bring committed outputs to their final names; after trying all, raise the first `StorageError` or `NotAllowed`."""
        problems = publish_all(self._ledger, self._key, outputs)
        if problems:
            raise problems[0]

    def roll_back(self, reason: str, *, step: str | None = None, counted: bool = True) -> Fate:
        """Give everything back; return what the process is now. Its temporaries are deleted once it is answered."""
        marks = [file._verdict() for file in self._files.values() if file.state != "delivered"]
        became = self._ledger.roll_back(self._key, reason, step=step, counted=counted, marks=marks)
        self._fate = became
        self._stop()
        if became is Fate.ROLLED_BACK:
            self.clean_up()
        else:
            self.publish(self._ledger.outputs_of(self._key))
        return became

    def clean_up(self) -> None:
        """Delete the temporaries of a process that was answered "rolled back"; what cannot be deleted is left to `check`."""
        from bookkeeper import stageout

        for output in self._outputs:
            with contextlib.suppress(StorageError):
                stageout.discard(output.temp_url)

    def heartbeat(self) -> float:
        """Renew the lease; return its seconds."""
        lease: float = self._call(lambda: self._ledger.heartbeat(self._key))
        return lease

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Append an event of this process."""
        self._ledger.record(self._key, [EventRecord(kind, body)])

    # -- as a context manager --------------------------------------------------------------------------------------

    def __enter__(self) -> Process:
        self.keep_alive()
        self.roll_forward()
        return self

    def roll_forward(self) -> None:
        """Publish what earlier processes of the request committed and could not publish; problems are recorded."""
        publish_all(self._ledger, self._key, self._ledger.to_publish(self._key))

    def keep_alive(self, on_fenced: Callable[[BookkeeperError], None] | None = None) -> None:
        """Renew the lease from a thread of its own until the process ends; ``on_fenced`` is called from there."""
        if self._heart is None:
            self._heart = Heart(self._ledger, self._key, self._started.lease, on_fenced)
            self._heart.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._fate is not Fate.LIVE:
                return
            if error is None and (self._files or self._outputs):
                self._commit_or_roll_back()
            elif error is None:
                self.roll_back("nothing to do", counted=False)
            elif not isinstance(error, Fenced):
                self._give_up(error)
        finally:
            self._stop()

    def _commit_or_roll_back(self) -> None:
        try:
            self.commit()
        except BookkeeperError as error:
            if self._fate is Fate.LIVE:
                self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        """Roll back on the way out; the exception that led here is the one to tell."""
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"[:1000]
        with contextlib.suppress(Fenced, CatalogError):
            self.roll_back(reason, counted=not interrupted)

    def _stop(self) -> None:
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
        if self._on_end is not None:
            last, self._on_end = self._on_end, None
            last()

    def _call(self, verb: Callable[[], Any]) -> Any:
        try:
            return verb()
        except Fenced:
            self._fate = Fate.ROLLED_BACK
            self.clean_up()
            raise


class Heart(threading.Thread):
    """Renews a lease three times in its length until it is stopped or the process is over."""

    def __init__(
        self, ledger: Ledger, key: ProcessKey, lease: float, on_fenced: Callable[[BookkeeperError], None] | None = None
    ) -> None:
        super().__init__(name=f"heart-{key.id}", daemon=True)
        self._ledger, self._key, self._lease, self._on_fenced = ledger, key, lease, on_fenced
        self._halt = threading.Event()

    def run(self) -> None:
        """Beat."""
        while not self._halt.wait(self._lease / 3):
            try:
                self._ledger.heartbeat(self._key)
            except CatalogError:
                continue  # the lease outlives a catalog that is away for a moment
            except BookkeeperError as error:
                if not self._halt.is_set() and self._on_fenced is not None:
                    self._on_fenced(error)
                return

    def stop(self) -> None:
        """Stop, and wait for a beat under way."""
        self._halt.set()
        if threading.current_thread() is not self:
            self.join()


def new_nonce() -> str:
    """Return the secret that a job makes at its start: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def start(ledger: Ledger, request: StartProcess) -> Process:
    """Open a process of a project. Raises as `Ledger.start_process` does."""
    return Process(ledger, ledger.start_process(request))


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


def _size_of(place: str) -> int | str:
    """Return the size of the object at a path or URL, or why it cannot be told."""
    from bookkeeper import stageout

    try:
        if "://" not in place:
            return Path(place).stat().st_size
        return stageout.object_size(place)
    except OSError as error:
        return error.strerror or str(error)
    except StorageError as error:
        return str(error)


def _entries_of(proof: Validation | None, expect: Expect | None) -> int | None:
    """Return the entries of an output: of the expected tree, else the only one, else the largest."""
    if not proof:
        return None
    tree = str(expect.get("tree")) if expect else ""
    return proof[tree] if tree in proof else max(proof.values(), default=None)
