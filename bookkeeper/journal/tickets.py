"""The ticket: what a job without a network has instead of a catalog. A file that only its owner reads.

It holds the process's token and is as secret. Two codes are on it, both HMAC-SHA-256 over its content: ``seal`` under a
secret of the catalog, by which `ingest` knows its own; ``check`` under the token, by which the worker notices a ticket
that was damaged or edited. A journal carries the content and the seal, never the token.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

from bookkeeper import wire
from bookkeeper.errors import NotFound, UsageError
from bookkeeper.protocol import FileInfo, ProcessKey, Started

FORMAT: Final = 1
"""The version of a ticket and of a journal. It rises when older programs could misread one."""

LARGEST: Final = 256 << 20


class Ticket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a ticket says, without its secret.

    ``catalog`` and ``epoch`` are the time line it belongs to, ``salt`` names the ticket, ``process`` is lent ``files``.
    ``lease`` is in seconds, ``issued_at`` and ``expires_at`` in epoch seconds by the catalog's clock. ``destination`` is
    where alone outputs may go, None: anywhere. ``validate`` is how `ingest` proves them: deep or quick.
    """

    format: int
    catalog: str
    epoch: int
    salt: str
    process: int
    tag: str
    request: str
    project: str
    lease: float
    issued_at: float
    expires_at: float
    files_per_process: int
    partitioned: bool
    partition: int | None
    output_required: bool
    destination: str | None
    validate: str
    files: tuple[FileInfo, ...]

    def content(self) -> bytes:
        """Return the bytes that the codes are of: one encoding for one content."""
        return wire.encode(self)

    def digest(self) -> str:
        """Return the SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content()).hexdigest()

    def started(self, token: str, run: str) -> Started:
        """Return the process as the job is told of it: what it stores carries the name of its run."""
        return Started(
            key=ProcessKey(self.process, token),
            request=self.request,
            project=self.project,
            lease=self.lease,
            files_per_process=self.files_per_process,
            partitioned=self.partitioned,
            partition=self.partition,
            output_required=self.output_required,
            catalog_id=self.catalog,
            tag=f"{self.tag}{run}",
        )


class SignedTicket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ticket as it stands in its file."""

    ticket: Ticket
    token: str
    seal: str
    check: str

    def __repr__(self) -> str:
        return f"<ticket of process {self.ticket.process} in {self.ticket.project}>"

    def as_text(self) -> str:
        """Return what is written into the file."""
        return msgspec.json.format(wire.encode(self), indent=1).decode() + "\n"


class Secret:
    """The secret of a catalog, of which seals and tokens are made."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, catalog: str, salt: str) -> str:
        """Return the token of a ticket's process: whoever has the secret needs no copy of it."""
        return code(self._key, b"token", f"{catalog} {salt}".encode())[:32]

    def seal(self, ticket: Ticket) -> str:
        """Return the catalog's code on a ticket."""
        return code(self._key, b"seal", ticket.content())

    def sealed(self, ticket: Ticket, seal: str) -> bool:
        """Tell whether this catalog made that ticket."""
        return hmac.compare_digest(self.seal(ticket).encode(), seal.encode())

    def sign(self, ticket: Ticket) -> SignedTicket:
        """Return the ticket with its token and its codes."""
        token = self.token(ticket.catalog, ticket.salt)
        return SignedTicket(ticket, token, self.seal(ticket), code(token.encode(), b"check", ticket.content()))


def code(key: bytes, purpose: bytes, content: bytes) -> str:
    """Return an HMAC-SHA-256 in hexadecimal; a code of one purpose is none of another."""
    return hmac.new(key, b"bookkeeper " + purpose + b" 1\n" + content, hashlib.sha256).hexdigest()


def secret_of(folder: Path, *, make: bool) -> Secret | None:
    """Return the secret that lies beside a catalog; None where there is none and none is to be made.

    Raises `CatalogError` where others can read it.
    """
    from bookkeeper.access.keys import private_text

    path = folder / "tickets.key"
    if not path.exists():
        if not make:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        write_new(path, secrets.token_hex(32) + "\n")  # of two makers one is first, and both read its
    text = private_text(path).strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < 32:
        raise UsageError(f"{path} holds no secret", remedy="restore it; without it no ticket given out so far is known")
    return Secret(key)


def write_new(path: Path, text: str) -> bool:
    """Write a file of mode 0600, whole or not at all, on disk when this returns; False where there is one: it is kept."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        sync_folder(path.parent)
        return True
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> SignedTicket:
    """Return the ticket in a file. Raises `NotFound`, and `UsageError` for one that others can read, or that was changed."""
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(LARGEST)
    except FileNotFoundError:
        raise NotFound(f"there is no ticket {path}", remedy="`bookkeeper ticket PROJECT` makes one") from None
    except OSError as error:
        raise UsageError(f"the ticket {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise UsageError(
            f"the ticket {path} can be read or written by others (mode {mode & 0o777:04o}): it is not used",
            remedy=f"chmod 600 {path}; if others may have read it, let its lease pass and take another ticket",
        )
    return parse(text, str(path))


def parse(text: bytes | str, name: str = "it") -> SignedTicket:
    """Return the ticket that a text holds. Raises `UsageError`."""
    signed: SignedTicket | None = decoded(text, SignedTicket)
    if signed is None:
        raise UsageError(f"{name} is no ticket of this version", remedy="take what `bookkeeper ticket` wrote, as it is")
    if not hmac.compare_digest(code(signed.token.encode(), b"check", signed.ticket.content()), signed.check):
        raise UsageError(f"{name} was changed since it was made", remedy="copy the ticket again, or take another one")
    return signed


def decoded(text: bytes | str, kind: Any) -> Any:
    """Return the message of this kind that a text says; None where it says none of this version."""
    try:
        found = wire.decode(text, kind)
    except UsageError:
        return None
    ticket = getattr(found, "ticket", found)
    return found if getattr(ticket, "format", FORMAT) == FORMAT else None
