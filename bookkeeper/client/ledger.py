"""`HttpLedger`: the `Ledger` protocol, answered by a server.

Every verb is repeated until it is answered or patience ends. That is safe because each carries what makes it one call
however often it arrives: the nonce of a start, the number of a ``next_files``, the manifest of a commit, the state of
the process; what is recorded carries a word of its own.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from bookkeeper import wire
from bookkeeper.client.transport import Response, Transport
from bookkeeper.errors import CatalogError
from bookkeeper.failures.evidence import Evidence
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
    Status,
    StoredOutput,
)

PATIENCE: Final = 600.0
"""Seconds for which a job waits for its server: a lease, as it is by default."""

HEARTBEAT_PATIENCE: Final = 20.0
"""Seconds for one heartbeat: another follows."""


class HttpLedger:
    """What a job may say, answered over HTTP. Safe to use from several threads.

    ``token`` is what `start_process` needs on a server that is not open; every other verb is authorised by its
    process's own.
    """

    def __init__(self, transport: Transport, token: str | None = None, *, patience: float = PATIENCE) -> None:
        self._transport = transport
        self._token = token
        self._patience = patience

    def start_process(self, start: StartProcess) -> Started:
        """See `Ledger.start_process`."""
        started: Started = self._call("start_process", start, self._token)
        return started

    def next_files(self, key: ProcessKey, seq: int, limit: int, done: Sequence[FileMark] = ()) -> Delivered:
        """See `Ledger.next_files`."""
        answer = self._post("next_files", wire.NextFiles(key.id, seq, limit, tuple(done)), key.token)
        if answer.status == 204:
            partition = answer.headers.get("bookkeeper-partition")
            state = answer.headers.get("bookkeeper-project-state", "open")
            return Delivered((), Status.EXHAUSTED, None if partition is None else int(partition), state)
        delivered: Delivered = _read(answer, Delivered)
        return delivered

    def mark(self, key: ProcessKey, marks: Sequence[FileMark], *, durable: bool = False) -> None:
        """See `Ledger.mark`."""
        self._call("mark", wire.MarkFiles(key.id, tuple(marks), durable), key.token)

    def heartbeat(self, key: ProcessKey) -> float:
        """See `Ledger.heartbeat`."""
        patience = min(HEARTBEAT_PATIENCE, self._patience)
        lease: float = self._call("heartbeat", wire.Call(key.id), key.token, patience=patience)
        return lease

    def stage(self, key: ProcessKey, manifest: Manifest) -> None:
        """See `Ledger.stage`."""
        self._call("stage", wire.WithManifest(key.id, manifest), key.token)

    def commit(self, key: ProcessKey, manifest: Manifest) -> tuple[StoredOutput, ...]:
        """See `Ledger.commit`."""
        outputs: tuple[StoredOutput, ...] = self._call("commit", wire.WithManifest(key.id, manifest), key.token)
        return outputs

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
        """See `Ledger.roll_back`. Secrets in the reason or the evidence do not leave this host."""
        from bookkeeper.failures.redaction import redacted, without_secrets

        known = None if evidence is None else without_secrets(evidence.shortened())
        call = wire.RollBack(key.id, redacted(reason), step, counted, tuple(marks), known)
        fate: Fate = self._call("roll_back", call, key.token)
        return fate

    def published(self, key: ProcessKey, output_ids: Sequence[int]) -> None:
        """See `Ledger.published`."""
        self._call("published", wire.Published(key.id, tuple(output_ids)), key.token)

    def outputs_of(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """See `Ledger.outputs_of`."""
        outputs: tuple[StoredOutput, ...] = self._call("outputs_of", wire.Call(key.id), key.token)
        return outputs

    def to_publish(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        """See `Ledger.to_publish`."""
        outputs: tuple[StoredOutput, ...] = self._call("to_publish", wire.Call(key.id), key.token)
        return outputs

    def deliveries_of(self, key: ProcessKey) -> tuple[tuple[FileInfo, FileMark | None], ...]:
        """See `Ledger.deliveries_of`."""
        given: tuple[tuple[FileInfo, FileMark | None], ...] = self._call("deliveries_of", wire.Call(key.id), key.token)
        return given

    def will_write_to(self, key: ProcessKey, destination: str) -> None:
        """See `Ledger.will_write_to`."""
        self._call("will_write_to", wire.WillWriteTo(key.id, destination), key.token)

    def record(self, key: ProcessKey, events: Sequence[EventRecord]) -> None:
        """See `Ledger.record`."""
        self._call("record", wire.Record(key.id, tuple(events), secrets.token_hex(8)), key.token)

    def fate(self, key: ProcessKey) -> Fate:
        """See `Ledger.fate`."""
        fate: Fate = self._call("fate", wire.Call(key.id), key.token)
        return fate

    def sole_publisher(self) -> AbstractContextManager[bool]:
        """See `Ledger.sole_publisher`: never this side, but the server, which publishes what is left on its tick."""
        return _not_this_side()

    def close(self) -> None:
        """See `Ledger.close`. The transport stays open: it is its opener's."""

    def _call(self, verb: str, call: Any, token: str | None, *, patience: float | None = None) -> Any:
        kind = wire.ANSWERS[verb]
        answer = self._post(verb, call, token, patience)
        return None if kind is None else _read(answer, kind)

    def _post(self, verb: str, call: Any, token: str | None, patience: float | None = None) -> Response:
        patience = self._patience if patience is None else patience
        return self._transport.post(f"/v1/ledger/{verb}", wire.encode(call), token, patience=patience)


def _read(answer: Response, kind: Any) -> Any:
    """Return what was answered. Raises `CatalogError` where it is not what the verb answers."""
    import msgspec

    try:
        return wire.decoder(kind).decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CatalogError(
            f"the server's answer cannot be read: {error}", remedy="is it of another version?"
        ) from error


@contextlib.contextmanager
def _not_this_side() -> Iterator[bool]:
    yield False
