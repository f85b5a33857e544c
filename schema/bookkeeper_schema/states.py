"""The states of everything that has one, and the legal moves between them, as data.

The tables take their CHECK constraints from here, the reference page its table of moves, the tests their
expectations.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FileState(StrEnum):
    """A catalogued file."""

    CURRENT = "current"
    """may be given to jobs"""
    RETIRED = "retired"
    """withdrawn: new snapshots leave it out, standing ones park it"""


class LedgerState(StrEnum):
    """One file of one request."""

    AVAILABLE = "available"
    """waits for a process of the row's project"""
    HELD = "held"
    """a live process has it"""
    COMMITTED = "committed"
    """it contributed to a committed output, once"""
    PARKED = "parked"
    """out of delivery until a person decides"""


class DeliveryState(StrEnum):
    """One file in one process. Rows stay for ever: they are the history."""

    DELIVERED = "delivered"
    """the process was told its locations"""
    OPENED = "opened"
    """reading began"""
    CONSUMED = "consumed"
    """reading ended and the output contains it"""
    SKIPPED = "skipped"
    """the job left it out on purpose: nothing of it is in the output"""
    FAILED = "failed"
    """the job could not read it: nothing of it is in the output"""


class ProcessState(StrEnum):
    """One job's transaction."""

    ACTIVE = "active"
    """takes and reads files; its lease runs"""
    STAGED = "staged"
    """its outputs wait for transfer; the lease is the transfer's deadline"""
    COMMITTED = "committed"
    """what it consumed counts"""
    ROLLED_BACK = "rolled_back"
    """what it consumed does not count; its files went back"""
    REVOKING = "revoking"
    """its outputs are being deleted; its files still count as committed"""
    REVOKED = "revoked"
    """its outputs are gone and its files free again"""


class ProjectState(StrEnum):
    """A computational request's current effort."""

    OPEN = "open"
    """processes start and files are delivered"""
    PAUSED = "paused"
    """nothing new is delivered; what runs may commit"""
    ENDED = "ended"
    """for ever; what is missing goes to a recovery project"""


class OutputState(StrEnum):
    """One file that a process produced."""

    STAGED = "staged"
    """recorded under its temporary name, the process not yet committed"""
    COMMITTED = "committed"
    """counts; still under its temporary name or already renamed"""
    PUBLISHED = "published"
    """seen under its final name with the recorded checksum"""
    DISCARDED = "discarded"
    """its process was rolled back; the temporary may be deleted"""
    REVOKED = "revoked"
    """its process was reopened; all its objects are to be deleted"""


class PartitionBy(StrEnum):
    """What a partition is measured in."""

    FILES = "files"
    """number of files"""
    BYTES = "bytes"
    """catalogued sizes"""
    ENTRIES = "entries"
    """catalogued entries"""


class Step(StrEnum):
    """The five steps of a job, as SAM named them."""

    STAGE_EXECUTABLE = "stage-executable"
    """bring the program to the node"""
    STAGE_INPUTS = "stage-inputs"
    """take files and bring them within reach"""
    ANALYSIS = "analysis"
    """run the program"""
    VERIFICATION = "verification"
    """prove that the outputs are whole"""
    OUTPUT_STORAGE = "output-storage"
    """copy the outputs to their destination and prove that they arrived"""


class JobState(StrEnum):
    """A batch job, as its batch system tells of it. What it did to its files is its process's to say."""

    INTENDED = "intended"
    """about to be submitted: nobody knows yet whether the batch system has it"""
    IDLE = "idle"
    """waits in the queue"""
    RUNNING = "running"
    """runs on a node"""
    SUSPENDED = "suspended"
    """on a node, and stopped there"""
    HELD = "held"
    """waits until somebody releases it"""
    COMPLETED = "completed"
    """ended, with an exit code or by a signal"""
    REMOVED = "removed"
    """taken out of the queue before it ended"""
    LOST = "lost"
    """neither in the queue nor in its history, or never submitted"""


class TransferState(StrEnum):
    """One output on its way from a near storage to its destination."""

    WAITING = "waiting"
    """lies at the near storage; to be copied as soon as its time has come"""
    RUNNING = "running"
    """a transfer worker claimed it and copies"""
    ARRIVED = "arrived"
    """whole at its destination; the near copy goes when the output is published"""
    GIVEN_UP = "given_up"
    """its process was rolled back; the near copy is to be deleted"""
    DONE = "done"
    """the near copy is gone"""


class Scope(StrEnum):
    """What a token for the catalog server allows, weakest first; each allows all before it."""

    READ = "read"
    """look: projects, files, history, reports, queries"""
    WORK = "work"
    """process: start projects and processes, declare files, define datasets"""
    OPERATE = "operate"
    """run things: pause, end, recover, park, reopen, exclude nodes"""
    ADMIN = "admin"
    """everything: give out and revoke tokens, change declarations, repair"""


LIVE: Final = (ProcessState.ACTIVE, ProcessState.STAGED)
"""A process that may still commit."""

OVER: Final = (JobState.COMPLETED, JobState.REMOVED, JobState.LOST)
"""A batch job that runs no more, as far as is known."""

Moves = dict[str, tuple[str, ...]]

LEDGER_MOVES: Final[Moves] = {
    "available": ("held", "parked"),
    "held": ("committed", "available", "parked"),
    "committed": ("available",),
    "parked": ("available",),
}
DELIVERY_MOVES: Final[Moves] = {
    "delivered": ("opened", "consumed", "skipped", "failed"),
    "opened": ("consumed", "skipped", "failed"),
    "consumed": (),
    "skipped": (),
    "failed": (),
}
PROCESS_MOVES: Final[Moves] = {
    "active": ("staged", "committed", "rolled_back"),
    "staged": ("committed", "rolled_back"),
    "committed": ("revoking",),
    "revoking": ("revoked",),
    "rolled_back": (),
    "revoked": (),
}
PROJECT_MOVES: Final[Moves] = {
    "open": ("paused", "ended"),
    "paused": ("open", "ended"),
    "ended": (),
}
OUTPUT_MOVES: Final[Moves] = {
    "staged": ("committed", "discarded"),
    "committed": ("published", "revoked"),
    "published": ("revoked",),
    "discarded": (),
    "revoked": (),
}
TRANSFER_MOVES: Final[Moves] = {
    "waiting": ("running", "given_up"),
    "running": ("waiting", "arrived", "given_up"),
    "arrived": ("given_up", "done"),
    "given_up": ("done",),
    "done": (),
}
MOVES: Final[dict[str, tuple[type[StrEnum], Moves]]] = {
    "ledger": (LedgerState, LEDGER_MOVES),
    "delivery": (DeliveryState, DELIVERY_MOVES),
    "process": (ProcessState, PROCESS_MOVES),
    "project": (ProjectState, PROJECT_MOVES),
    "output": (OutputState, OUTPUT_MOVES),
    "transfer": (TransferState, TRANSFER_MOVES),
}
"""Every state machine: its states and, from each state, where it may go."""
