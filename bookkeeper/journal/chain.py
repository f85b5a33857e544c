"""The journal as a file: a line a record, each chained to the one before it. Nothing here knows what a record means.

A line is the code of a record in hexadecimal, a space, the record as JSON, a line feed. The code is HMAC-SHA-256, under
a key made from the ticket's token, over the code before it and the record; before the first stands the digest of the
ticket. So a line can be changed, left out or put elsewhere only by who has the ticket. The first record says which
ticket and which run it is of.

A last line without its line feed is torn: its record never happened.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bookkeeper import wire
from bookkeeper.journal.tickets import Ticket, code, decoded

BEGIN: Final = "journal"
"""What the first record is."""

RUN: Final = "run"
"""A later record that says: another job goes on with this journal, under this name."""

_CODE: Final = 64


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One record: its number from 1, when it was made (epoch seconds by that host), the verb, and what was said."""

    n: int
    at: float
    verb: str
    body: msgspec.Raw


_BEGINNING: Final = re.compile(rb"[0-9a-f]{0,63}|[0-9a-f]{64}( \{?)?")
"""What a line begins with, cut off anywhere."""


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first record: the ticket without its secret, its seal, and the name that this run made for itself."""

    ticket: Ticket
    seal: str
    run: str
    node: str


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job that goes on with a journal whose job died."""

    run: str
    node: str


class NotAuthentic(Exception):
    """A record is not what the job wrote. ``number`` is that of the line."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}")


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal whose every record is proved. ``size`` is where its last whole line ends; ``last`` is its code."""

    begin: Begin
    records: tuple[Record, ...]
    size: int
    last: str

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the jobs that wrote it, the first one's first: by that the journal is known."""
        return (
            self.begin.run,
            *(message(one, Run).run for one in self.records if one.verb == RUN),
        )


def key_of(token: str) -> bytes:
    """Return the key of a journal's codes."""
    return bytes.fromhex(code(token.encode(), b"journal", b""))


def record(number: int, at: float, verb: str, body: Any) -> Record:
    """Return the record that says this."""
    return Record(number, at, verb, msgspec.Raw(wire.encode(body)))


def line(key: bytes, before: str, content: bytes) -> tuple[str, bytes]:
    """Return the code of a record and its whole line."""
    found = _link(key, before, content)
    return found, found.encode() + b" " + content + b"\n"


def _link(key: bytes, before: str, content: bytes) -> str:
    return code(key, b"record", before.encode() + b" " + content)


def begin_of(data: bytes) -> Begin | None:
    """Return what the first line claims to be of; None where there is no whole line. Raises `NotAuthentic`."""
    end = data.find(b"\n")
    if end < 0 and _BEGINNING.fullmatch(data[: _CODE + 2]):
        return None
    first = decoded(data[_CODE + 1 : end], Record)
    begin = decoded(bytes(first.body), Begin) if end >= 0 and first is not None and first.verb == BEGIN else None
    if not isinstance(begin, Begin):
        raise NotAuthentic(1, "it is no first record of a journal of this version")
    return begin


def read(data: bytes, token_of: Callable[[Begin], str]) -> Journal | None:
    """Prove a journal record by record; None where it has no whole one. Raises `NotAuthentic`.

    ``token_of`` returns the token of the ticket that the first record names.
    """
    begin = begin_of(data)
    if begin is None:
        return None
    key, before, records, size = key_of(token_of(begin)), begin.ticket.digest(), [], 0
    for number, one in enumerate(data.split(b"\n")[:-1], 1):
        found, text = one[:_CODE], one[_CODE + 1 :]
        if one[_CODE : _CODE + 1] != b" " or not hmac.compare_digest(_link(key, before, text).encode(), found):
            raise NotAuthentic(number, "it is not what the job wrote there")
        told = decoded(text, Record)
        if told is None or told.n != number:
            raise NotAuthentic(number, "it is no record of this version")
        records.append(told)
        before, size = found.decode(), size + len(one) + 1
    return Journal(begin, tuple(records), size, before)


def message(told: Record, kind: Any) -> Any:
    """Return what a proved record says. Raises `UsageError`."""
    return wire.decode(bytes(told.body), kind)
