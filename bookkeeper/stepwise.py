"""One process, step by step: each call of a shell script finds again, in the catalog, what the last one left.

What `Process` keeps in memory comes from the process's row (the number of calls), its deliveries (files and their
last marks) and its ``output.copied`` events (outputs brought to storage, not yet committed). The key of the process
travels in ``$BOOKKEEPER_PROCESS``, never on a command line, where everyone on the host could read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from bookkeeper import stageout
from bookkeeper.catalog import Database
from bookkeeper.errors import FileChanged, NotAllowed, NotFound, StorageError, UsageError
from bookkeeper.ledger import ledger_of
from bookkeeper.operations import operation
from bookkeeper.process import DeliveredFile, Process, publish_all
from bookkeeper.protocol import (
    EventRecord,
    Fate,
    FileInfo,
    FileMark,
    Mark,
    OutputRecord,
    ProcessKey,
    Started,
    StartProcess,
)

VARIABLE: Final = "BOOKKEEPER_PROCESS"
COPIED: Final = "output.copied"

_PROJECT: Final = """
SELECT j.name, p.last_seq FROM processes p JOIN projects j ON j.id = p.project_id WHERE p.id = :id
"""
_OUTPUTS: Final = "SELECT body FROM events WHERE process_id = :id AND kind = :kind ORDER BY id"
_STALE: Final = """
SELECT f.state FROM processes p JOIN ledger l ON l.request_id = p.request_id JOIN files f ON f.id = l.file_id
 WHERE p.id = :id AND l.file_id = :file AND (f.state <> 'current' OR f.version <> l.version)
"""
_KEY: Final = re.compile(r"([0-9]{1,18}):([!-~]{1,200})")


def key_of(environment: Mapping[str, str] = os.environ) -> ProcessKey:
    """Return the key of the process that the environment names. Raises `UsageError`; never shows the token."""
    text = environment.get(VARIABLE, "")
    found = _KEY.fullmatch(text)
    if found is None:
        problem = f"${VARIABLE} is not <process>:<token>" if text else f"${VARIABLE} is not set: there is no process"
        raise UsageError(problem, remedy='eval "$(bookkeeper process start PROJECT --shell)" starts one and sets it')
    return ProcessKey(int(found[1]), found[2])


def text_of(key: ProcessKey) -> str:
    """Return a key as the environment carries it."""
    return f"{key.id}:{key.token}"


@dataclass(frozen=True, slots=True)
class Recalled:
    """A live process as its last call left it: what it was given, each with the last mark, and what it copied out."""

    started: Started
    last_seq: int
    deliveries: tuple[tuple[FileInfo, FileMark | None], ...]
    copied: tuple[OutputRecord, ...]


@operation(None, again=True)
def recall(database: Database, key: ProcessKey) -> Recalled:
    """Find a live process again. Raises `Fenced`, `NotFound` (no such id and token), `NotAllowed` (committed)."""
    ledger = ledger_of(database)
    if ledger.fate(key) is Fate.COMMITTED:
        raise NotAllowed(f"process {key.id} is committed: its work is done", remedy="start another process")
    row = database.one(_PROJECT, {"id": key.id}) or {}
    # The token is the nonce of its start, and the same nonce again gets the same answer.
    started = ledger.start_process(StartProcess(row["name"], nonce=key.token))
    rows = database.rows(_OUTPUTS, {"id": key.id, "kind": COPIED})
    copied = tuple(OutputRecord(**json.loads(one["body"])) for one in rows)
    return Recalled(started, row["last_seq"], ledger.deliveries_of(key), copied)


@operation(None, again=True)
def stale(database: Database, key: ProcessKey, file: int) -> str | None:
    """Tell what became of a file since the snapshot that the process works on; None where it is as it was."""
    ledger_of(database).fate(key)
    row = database.one(_STALE, {"id": key.id, "file": file})
    if row is None:
        return None
    return "was retired" if row["state"] != "current" else "changed"


class SteppedProcess(Process):
    """A live process as an earlier call left it. Raises `Fenced`, `NotFound` (no such id and token)."""

    def __init__(self, database: Database, key: ProcessKey) -> None:
        self._database = database
        recalled = recall(database, key)
        super().__init__(ledger_of(database), recalled.started)
        self._seq = recalled.last_seq
        for info, last in recalled.deliveries:
            file = self._files[info.id] = DeliveredFile(self, info)
            if last is not None:
                _recall(file, last)
        self._outputs = list({record.final_url: record for record in recalled.copied}.values())

    def file_called(self, name: str) -> DeliveredFile:
        """Return the file that was given under this logical name, or that lies at this path or URL."""
        absolute = os.path.abspath(name) if "://" not in name else name  # noqa: PTH100 - a text, which may be a URL
        for file in self.files:
            if name == file.name or name in file.locations or absolute in file.locations:
                return file
        given = ", ".join(file.name for file in self.files[:5]) or "nothing yet"
        raise NotFound(f"process {self.id} was not given {name[:200]!r}", remedy=f"it was given {given}")

    def mark(
        self, name: str, mark: Mark, *, entries: int | None, bytes: int | None, reason: str | None
    ) -> DeliveredFile:
        """Record what became of a file. A skip or failure needs a reason.

        A file that is not what the project pinned is not opened: it fails, and is parked when the process ends; a
        partition is rolled back at once. Raises `FileChanged` then.
        """
        file = self.file_called(name)
        if mark in (Mark.SKIPPED, Mark.FAILED):
            if not (reason or "").strip():
                raise UsageError(f"{file.name} is not marked {mark} without a reason", remedy="give --reason")
        elif reason is not None:
            raise UsageError("a reason is given for what was skipped or failed only", remedy="leave --reason out")
        if mark is not Mark.CONSUMED and (entries is not None or bytes is not None):
            raise UsageError("entries and bytes are told of what was consumed only", remedy="leave them out")
        if mark is Mark.OPENED:
            self._require_pinned(file)
        said = FileMark(file.id, mark, entries, bytes, reason)
        self._call(lambda: self._ledger.mark(self.key, [said], durable=mark is Mark.OPENED))
        _recall(file, said)
        return file

    def _require_pinned(self, file: DeliveredFile) -> None:
        try:
            what = stale(self._database, self.key, file.id)
            if what is not None:
                file.unusable(f"{what} since the snapshot", changed=True)
                raise FileChanged(f"{file.name} {what} since the snapshot")
            file.require_unchanged()
        except FileChanged as error:
            if self.started.partitioned:
                self.roll_back(str(error))
            raise

    def copy_out(
        self,
        source: str,
        destination: str,
        name: str,
        *,
        key: str | None = None,
        validate: Literal["deep", "quick"] | Sequence[str] | None = "deep",
        expect: Mapping[str, Any] | None = None,
        adopt: bool = False,
    ) -> OutputRecord:
        """Prove an output and bring it to storage under a temporary name; the same again replaces it.

        Raises as `Process.stage_out`.
        """
        record = self.stage_out(source, destination, name, key=key, validate=validate, expect=expect, adopt=adopt)
        earlier = [output for output in self._outputs[:-1] if output.final_url == record.final_url]
        if any(output.key == record.key for output in self._outputs[:-1] if output not in earlier):
            stageout.discard(record.temp_url)
            raise UsageError(f"another output has the key {record.key}", remedy="give each output a --key of its own")
        self._call(lambda: self._ledger.record(self.key, [EventRecord(COPIED, asdict(record))]))
        for output in earlier:
            self._outputs.remove(output)
            with contextlib.suppress(StorageError):  # left to `check`
                stageout.discard(output.temp_url)
        return record


def commit(database: Database, key: ProcessKey, *, no_output: bool = False) -> tuple[int, int]:
    """Commit the process and publish its outputs; return how many of its files count, of how many. Repeated, it succeeds.

    Raises as `Process.commit`.
    """
    ledger = ledger_of(database)
    if ledger.fate(key) is Fate.COMMITTED:
        problems = publish_all(ledger, key, ledger.outputs_of(key))
        if problems:
            raise problems[0]
    else:
        SteppedProcess(database, key).commit(no_output)
    marks = [last for _, last in ledger.deliveries_of(key)]
    return sum(last is not None and last.mark is Mark.CONSUMED for last in marks), len(marks)


def roll_back(database: Database, key: ProcessKey, reason: str, *, step: str | None = None) -> Fate:
    """Give everything back; return what the process is: rolled back, or committed earlier (then its outputs are published)."""
    ledger = ledger_of(database)
    fate = ledger.fate(key)
    if fate is Fate.LIVE:
        return SteppedProcess(database, key).roll_back(reason, step=step)
    if fate is Fate.COMMITTED:
        commit(database, key)
    return fate


def _recall(file: DeliveredFile, last: FileMark) -> None:
    file.decided(last.mark, entries=last.entries, bytes=last.bytes, reason=last.reason, changed=last.changed)
