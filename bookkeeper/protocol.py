"""What a job may say to the ledger, and what it is answered: plain messages, no database.

`Ledger` is the narrow door that everything a job does goes through. ``bookkeeper.ledger.SqlLedger`` implements it over
a database; whatever else implements it passes the same contract tests.

Every verb may be lost, repeated, or arrive late. A repeated call gets the same answer; a call of a process that was
rolled back is `Fenced`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from bookkeeper.failures.evidence import Evidence


class Status(StrEnum):
    """Why `Ledger.next_files` gave what it gave."""

    FILES = "files"
    """here are files"""
    FULL = "full"
    """this process has all it may have: commit"""
    NONE_NOW = "none now"
    """others hold files and may give some back; wait only while holding nothing"""
    EXHAUSTED = "exhausted"
    """no file of the request is available or held by another"""
    EXCLUDED = "excluded"
    """the process's node is given nothing for a while: commit what it has"""


class Fate(StrEnum):
    """What became of a process."""

    LIVE = "live"
    """it may go on"""
    COMMITTED = "committed"
    """what it consumed counts"""
    ROLLED_BACK = "rolled_back"
    """what it consumed does not count"""


class Mark(StrEnum):
    """What a job says of a file."""

    OPENED = "opened"
    """reading begins"""
    CONSUMED = "consumed"
    """reading ended and the output contains it"""
    SKIPPED = "skipped"
    """left out on purpose: nothing of it is in the output"""
    FAILED = "failed"
    """unreadable: nothing of it is in the output"""
    UNREAD = "unread"
    """never opened: free again, without charge (in a manifest only)"""


@dataclass(frozen=True, slots=True)
class StartProcess:
    """A job introduces itself.

    ``nonce`` is a secret that the job makes at its start (a batch job id may run twice); it is the job's token from
    then on. ``lease`` is in seconds; None takes the project's.
    """

    project: str
    nonce: str
    node: str | None = None
    executor: str | None = None
    job_id: str | None = None
    lease: float | None = None
    files_per_process: int | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessKey:
    """Who calls: the process and the token that only its job knows."""

    id: int
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Started:
    """The process that a job is, and the rules it works under.

    ``lease`` is in seconds; ``tag`` is a public piece of the token's hash, for names that no other job uses.
    """

    key: ProcessKey
    request: str
    project: str
    lease: float
    files_per_process: int
    partitioned: bool
    partition: int | None
    output_required: bool
    catalog_id: str
    tag: str


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as it is delivered: its pinned size (bytes) and checksum, and where it lies."""

    id: int
    name: str
    size: int
    checksum: str | None
    entries: int | None
    tree: str | None
    locations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The answer to `Ledger.next_files`. ``project_state`` and ``reason`` tell why nothing comes."""

    files: tuple[FileInfo, ...]
    status: Status
    partition: int | None = None
    project_state: str = "open"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileMark:
    """What became of one file. ``changed``: its content is not what the ledger pinned, so it is parked at once."""

    file_id: int
    mark: Mark
    entries: int | None = None
    bytes: int | None = None
    reason: str | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One output as the manifest states it: ``size`` in bytes, ``checksum`` taken as soon as the payload ended.

    ``near`` is where ``temp_url`` lies, if it is not the destination: from there the catalog's side brings it.
    """

    key: str
    destination: str
    temp_url: str
    final_url: str
    size: int
    checksum: str
    entries: int | None = None
    unproved: str | None = None
    near: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a process did: every file it was given and every output it made. The commit is decided by this alone."""

    files: Sequence[FileMark]
    outputs: Sequence[OutputRecord] = ()
    no_output: bool = False


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output as the catalog knows it."""

    id: int
    process_id: int
    state: str
    record: OutputRecord


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One thing that happened, for the append-only record. ``kind`` is dotted, ``body`` is JSON."""

    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)
    file_id: int | None = None


class Ledger(Protocol):
    """What a job may say.

    Every verb but `start_process` names its process by `ProcessKey` and raises `bookkeeper.errors.Fenced` where that
    process was rolled back, and `bookkeeper.errors.NotFound` where there is none of that id and token.
    """

    def start_process(self, start: StartProcess) -> Started:
        """Open a transaction; the same nonce again gets the same answer. Durable before it is answered.

        Raises `NotFound` (project), `Paused`, `NotAllowed` (ended, no such partition), `NodeExcluded`, `Fenced` (a
        process of this nonce was rolled back).
        """
        ...

    def next_files(self, key: ProcessKey, seq: int, limit: int, done: Sequence[FileMark] = ()) -> Delivered:
        """Record what is done and ask for up to ``limit`` more files.

        ``seq`` counts this process's calls from 1; the same number again gets the same list.
        """
        ...

    def mark(self, key: ProcessKey, marks: Sequence[FileMark], *, durable: bool = False) -> None:
        """Record what became of files, forward only. History: what counts is the manifest."""
        ...

    def heartbeat(self, key: ProcessKey) -> float:
        """Renew the lease; return the seconds it lasts."""
        ...

    def stage(self, key: ProcessKey, manifest: Manifest) -> None:
        """Record outputs that wait for their transfer; the lease becomes its deadline. Durable.

        Where some lie near, the manifest is kept: the process commits by itself as soon as all have arrived, and its job
        has nothing more to do.
        """
        ...

    def commit(self, key: ProcessKey, manifest: Manifest) -> tuple[StoredOutput, ...]:
        """Make everything the process consumed count, whole or not at all; return its outputs, to be published.

        Repeated, it answers the same. A guard that fails rolls back and raises `RolledBack`. Durable.
        """
        ...

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
        """Give everything back; return what the process is now: rolled back, or committed earlier. Durable.

        ``step`` is the failed step, where the job knows it; ``counted=False`` says that nothing failed (an
        interruption, an operator); ``marks`` are what the job knows of single files. What follows from the failure is
        decided by its ``evidence``; without any, by the reason and the step.
        """
        ...

    def published(self, key: ProcessKey, output_ids: Sequence[int]) -> None:
        """Record that outputs were seen under their final names."""
        ...

    def outputs_of(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """Return the outputs recorded for the process."""
        ...

    def to_publish(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """Return every output of the request that counts and was not yet seen under its final name."""
        ...

    def deliveries_of(self, key: ProcessKey) -> tuple[tuple[FileInfo, FileMark | None], ...]:
        """Return what the process was given, each with the last mark recorded; for jobs that speak step by step."""
        ...

    def will_write_to(self, key: ProcessKey, destination: str) -> None:
        """Record a destination before the first byte goes there, so that `check` looks for orphans in it. Durable."""
        ...

    def record(self, key: ProcessKey, events: Sequence[EventRecord]) -> None:
        """Append events of the process; also of one that ended."""
        ...

    def fate(self, key: ProcessKey) -> Fate:
        """Tell what became of the process. Raises `NotFound` only."""
        ...

    def sole_publisher(self) -> AbstractContextManager[bool]:
        """Tell, for the length of a block, whether this side alone publishes to stores that cannot rename atomically.

        Reopening a process excludes such publishers, so what they find committed stays so while the block lasts.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
