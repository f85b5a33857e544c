"""The protocol's messages as JSON, for whatever carries them: HTTP, a ticket, a journal.

`Call` classes are what a verb is told, `ANSWERS` what it answers; both decode straight into the plain messages of
`bookkeeper.protocol`, strictly: a number in quotes is no number, a state that is none is refused. An error travels as
``{"error": "<class>", "message": …, "remedy": …}`` and comes back as the same class.

A token is never part of a call's body, except the nonce by which a job introduces itself.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from bookkeeper import errors
from bookkeeper.errors import BookkeeperError, UsageError
from bookkeeper.failures.evidence import Evidence
from bookkeeper.protocol import (
    Delivered,
    EventRecord,
    Fate,
    FileInfo,
    FileMark,
    Manifest,
    Started,
    StartProcess,
    StoredOutput,
)

PROTOCOL: Final = 1
"""The version of what is said here; it is in the path of every call (``/v1``)."""

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every verb but ``start_process`` is told: which process calls."""

    process: int


class NextFiles(Call, frozen=True):
    """See `Ledger.next_files`."""

    seq: int
    limit: int
    done: tuple[FileMark, ...] = ()


class MarkFiles(Call, frozen=True):
    """See `Ledger.mark`."""

    marks: tuple[FileMark, ...]
    durable: bool = False


class WithManifest(Call, frozen=True):
    """See `Ledger.stage` and `Ledger.commit`."""

    manifest: Manifest


class RollBack(Call, frozen=True):
    """See `Ledger.roll_back`."""

    reason: str
    step: str | None = None
    counted: bool = True
    marks: tuple[FileMark, ...] = ()
    evidence: Evidence | None = None


class Published(Call, frozen=True):
    """See `Ledger.published`."""

    outputs: tuple[int, ...]


class WillWriteTo(Call, frozen=True):
    """See `Ledger.will_write_to`."""

    destination: str


class Record(Call, frozen=True):
    """See `Ledger.record`. ``once`` is made by the caller for this call: repeated, nothing is recorded again."""

    events: tuple[EventRecord, ...]
    once: str = ""


CALLS: Final[dict[str, type]] = {
    "start_process": StartProcess,
    "next_files": NextFiles,
    "mark": MarkFiles,
    "heartbeat": Call,
    "stage": WithManifest,
    "commit": WithManifest,
    "roll_back": RollBack,
    "published": Published,
    "outputs_of": Call,
    "to_publish": Call,
    "deliveries_of": Call,
    "will_write_to": WillWriteTo,
    "record": Record,
    "fate": Call,
}
"""The verbs, by the names of `Ledger`, and what each is told."""

ANSWERS: Final[dict[str, Any]] = {
    "start_process": Started,
    "next_files": Delivered,
    "mark": None,
    "heartbeat": float,
    "stage": None,
    "commit": tuple[StoredOutput, ...],
    "roll_back": Fate,
    "published": None,
    "outputs_of": tuple[StoredOutput, ...],
    "to_publish": tuple[StoredOutput, ...],
    "deliveries_of": tuple[tuple[FileInfo, FileMark | None], ...],
    "will_write_to": None,
    "record": None,
    "fate": Fate,
}
"""What each verb answers."""


class Problem(msgspec.Struct, frozen=True):
    """An error on its way."""

    error: str
    message: str
    remedy: str = ""


def encode(message: Any) -> bytes:
    """Return a message as JSON. What is no character (a byte of a file name, say) becomes ``\\udce9``."""
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        return _encoder.encode(_storable(msgspec.to_builtins(message, enc_hook=str, str_keys=True)))


def decode(body: bytes | str, kind: Any) -> Any:
    """Return the message of this kind that JSON says. Raises `UsageError` naming the field that is wrong."""
    try:
        return decoder(kind).decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"the message cannot be read: {error}", remedy="the reference page of the protocol says how"
        ) from error


def decoder(kind: Any, *, strict: bool = True) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a kind of message, made once; safe to ask for from several threads at once."""
    with _making:
        return _decoder(kind, strict)


@functools.cache
def _decoder(kind: Any, strict: bool) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=strict)


def encode_error(error: BookkeeperError) -> bytes:
    """Return an error as JSON. A class that only one side knows travels as the nearest that both know."""
    known = next(kind for kind in type(error).__mro__ if kind.__name__ in _classes())
    return encode(Problem(known.__name__, error.message, error.remedy))


def decode_error(body: bytes | str) -> BookkeeperError | None:
    """Return the error that JSON says, of its class; None where this is no error of ours."""
    try:
        problem = decoder(Problem).decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _classes().get(problem.error, BookkeeperError)(problem.message, remedy=problem.remedy)


@functools.cache
def _classes() -> Mapping[str, type[BookkeeperError]]:
    """Return the tree of `bookkeeper.errors`, by name."""
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, BookkeeperError)
    }


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(one) for one in value]
    return value


_encoder: Final = msgspec.json.Encoder(enc_hook=str)
_making: Final = threading.RLock()
"""msgspec notes what it knows of a class on the class before it knows it all: another thread that reads it crashes."""
