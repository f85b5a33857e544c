"""Lend files to jobs that will have no network: start a process for each, and write its ticket.

A draft with the ticket's name for itself (its salt) is on disk before the process is started, and goes when the ticket
is there. Killed in between, the same command again finds the draft, asks with the same salt, and gets the same process
with the same files. Nobody asking again, the lease passes and the files are free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from bookkeeper import durations, stageout
from bookkeeper.catalog import Database
from bookkeeper.errors import (
    BookkeeperError,
    CatalogError,
    Conflict,
    Fenced,
    NotAllowed,
    NotFound,
    NothingToDo,
    UsageError,
)
from bookkeeper.journal import tickets
from bookkeeper.journal.tickets import SignedTicket, Ticket
from bookkeeper.ledger import SqlLedger
from bookkeeper.operations import operation
from bookkeeper.protocol import Delivered, Fate, ProcessKey, Started, StartProcess

WALL: Final = "8h"
GRACE: Final = "1h"
EXECUTOR: Final = "ticket"

MAX_WALL: Final = """
SELECT r.max_wall FROM projects j JOIN requests r ON r.id = j.request_id WHERE j.name = :project
"""

TIMES: Final = "SELECT started_at FROM processes WHERE id = :id"

_SALT: Final = re.compile(r"[0-9a-f]{32}")


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a ticket is asked for. ``lease`` is in seconds; ``destination`` an address of `stageout.resolve`."""

    project: str
    lease: float
    files_per_process: int | None = None
    partition: int | None = None
    destination: str | None = None
    validate: str = "deep"


class _Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    catalog: str
    salt: str
    terms: Terms


def ticket(
    database: Database,
    project: str,
    *,
    out: str | os.PathLike[str] = ".",
    count: int = 1,
    wall: float | str = WALL,
    grace: float | str = GRACE,
    files_per_process: int | None = None,
    partition: int | None = None,
    destination: str | os.PathLike[str] | None = None,
    validate: str = "deep",
    adopt: bool = False,
) -> list[Path]:
    """Lend files of a project to ``count`` jobs without a network; return the files with their tickets.

    ``out`` is a folder, or for one ticket a file that is not there yet. ``wall`` is the jobs' wall-clock limit and
    ``grace`` what it takes to bring a journal home: both together are the lease (seconds or ``"8h"``). Outputs go to
    ``destination`` alone, where it is given; ``validate`` is how `ingest` proves them (deep or quick).

    Where fewer files are left than for ``count`` jobs, fewer tickets are written. Raises `NothingToDo` where none is,
    `NotFound`, `Paused`, `NotAllowed` (ended; ``max_wall`` is shorter than the lease), `Conflict` (``out`` is there).
    """
    if count < 1 or (partition is not None and count > 1):
        raise UsageError("count must be 1 or more, and 1 for a given partition", remedy="one ticket is for one process")
    if validate not in ("deep", "quick"):
        raise UsageError(f"{validate!r} is no level of validation", remedy="use deep or quick")
    place = None if destination is None else stageout.resolve(destination)
    lease = durations.seconds(wall) + durations.seconds(grace)
    terms = Terms(project, lease, files_per_process, partition, place, validate)
    target = Path(out)
    folder = target if target.is_dir() else target.parent
    if not folder.is_dir():
        raise NotFound(f"the folder {folder} does not exist", remedy=f"mkdir -p {folder}")
    if folder is not target and (count > 1 or os.path.lexists(target)):
        taken = "exists already" if count == 1 else f"is no folder, and {count} tickets are asked for"
        raise Conflict(f"{target} {taken}", remedy="name another file, or a folder")
    if place is not None:
        stageout.final_url(place, "name")
        stageout.claim(place, database.id, adopt=adopt)
    written: list[Path] = []
    while len(written) < count:
        try:
            written.append(_one(database, terms, folder, None if folder is target else target))
        except NothingToDo:
            if not written:
                raise
            break
    return written


def _one(database: Database, terms: Terms, folder: Path, file: Path | None) -> Path:
    """Write one ticket: of a draft that an earlier call left, else a new one."""
    with _draft(database.id, terms, folder) as (path, draft, fresh):
        try:
            signed = lend(database, terms.project, draft.salt, terms)
        except CatalogError:
            raise  # it may have been done: the draft stays
        except (Fenced, NotAllowed):  # of an old draft: its ticket was used, or its lease has passed
            path.unlink()
            if fresh:
                raise
            return _one(database, terms, folder, file)
        except BookkeeperError:
            path.unlink()
            raise
        target = file or folder / f"{terms.project}-{signed.ticket.process}.ticket"
        if not tickets.write_new(target, signed.as_text()) and not _is_it(target, signed):
            take_back(database, terms.project, draft.salt, signed.ticket.process)
            path.unlink()
            raise Conflict(f"{target} exists already and is another ticket", remedy="name another folder")
        path.unlink()
    return target


def _is_it(path: Path, signed: SignedTicket) -> bool:
    """Tell whether a file holds this ticket: it was written by a call that was killed before its draft went."""
    try:
        return tickets.read(path).ticket.salt == signed.ticket.salt
    except BookkeeperError:
        return False


@contextlib.contextmanager
def _draft(catalog: str, terms: Terms, folder: Path) -> Iterator[tuple[Path, _Draft, bool]]:
    """Take up a draft of the same terms that nobody works on, or write one; nobody else takes it up meanwhile.

    The third of what it gives tells whether the draft is new.
    """
    for path in sorted(folder.glob(".ticket-*.draft")):
        try:
            stream = path.open("rb")
        except OSError:  # another call finished it just now
            continue
        with stream:
            found = tickets.decoded(stream.read(), _Draft)
            mine = isinstance(found, _Draft) and (found.catalog, found.terms) == (catalog, terms)
            if mine and _locked(stream) and path.exists():
                yield path, found, False
                return
    draft = _Draft(catalog, secrets.token_hex(16), terms)
    path = folder / f".ticket-{draft.salt}.draft"
    try:
        tickets.write_new(path, msgspec.json.encode(draft).decode())
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(
            f"no ticket can be written into {folder}: {error.strerror}", remedy="name another folder with --out"
        ) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield path, draft, True


def _locked(stream: IO[bytes]) -> bool:
    """Take a draft for this call alone; False where another has it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@operation("work", name="journal.lend", project="project")
def lend(database: Database, project: str, salt: str, terms: Terms) -> SignedTicket:
    """Start a process, lend it its files, and return its ticket; the same salt again gets the same ticket."""
    if _SALT.fullmatch(salt) is None or terms.project != project:
        raise UsageError("a ticket is named by 32 hexadecimal digits, and is of one project")
    _check_wall(database, terms)
    secret = tickets.secret_of(database.folder, make=True)
    assert secret is not None
    ledger = SqlLedger(database)
    started = ledger.start_process(
        StartProcess(
            project=project,
            nonce=secret.token(database.id, salt),
            executor=EXECUTOR,
            job_id=salt[:12],
            lease=terms.lease,
            files_per_process=terms.files_per_process,
            partition=terms.partition,
        )
    )
    given = ledger.next_files(started.key, 1, started.files_per_process)
    if not given.files:
        ledger.roll_back(started.key, "nothing to lend", counted=False)
        raise NothingToDo(
            f"no file of {project} can be lent now: {given.reason or given.status.value}",
            remedy=f"`bookkeeper status {project}` tells where they are",
        )
    if terms.destination is not None:
        ledger.will_write_to(started.key, terms.destination)
    ledger.mark(started.key, (), durable=True)  # what is lent is on disk before anybody has its ticket
    return sign(database, secret, salt, started, given, destination=terms.destination, validate=terms.validate)


def sign(
    database: Database,
    secret: tickets.Secret,
    salt: str,
    started: Started,
    given: Delivered,
    *,
    destination: str | None = None,
    validate: str = "deep",
) -> SignedTicket:
    """Return the ticket of a process and of the files that it was given; the same again for the same process."""
    times = database.one(TIMES, {"id": started.key.id})
    assert times is not None
    return secret.sign(
        Ticket(
            format=tickets.FORMAT,
            catalog=database.id,
            epoch=database.epoch,
            salt=salt,
            process=started.key.id,
            tag=started.tag,
            request=started.request,
            project=started.project,
            lease=started.lease,
            issued_at=round(times["started_at"], 3),
            expires_at=round(times["started_at"] + started.lease, 3),
            files_per_process=started.files_per_process,
            partitioned=started.partitioned,
            partition=given.partition,
            output_required=started.output_required,
            destination=destination,
            validate=validate,
            files=given.files,
        )
    )


@operation("work", name="journal.take_back", project="project")
def take_back(database: Database, project: str, salt: str, process: int) -> Fate:
    """Roll back the process of a ticket that could not be handed over; ``salt`` is the ticket's name for itself."""
    secret = tickets.secret_of(database.folder, make=False)
    if secret is None:
        raise NotFound(f"no ticket was made from this catalog for {project}")
    key = ProcessKey(process, secret.token(database.id, salt))
    return SqlLedger(database).roll_back(key, "its ticket could not be written", counted=False)


def _check_wall(database: Database, terms: Terms) -> None:
    row = database.one(MAX_WALL, {"project": terms.project})
    if row is not None and row["max_wall"] is not None and row["max_wall"] < terms.lease:
        raise NotAllowed(
            f"project {terms.project} ends processes after {durations.words(row['max_wall'])} (max_wall), "
            f"and this ticket would be lent for {durations.words(terms.lease)}",
            remedy="give a shorter --wall and --grace, or raise the project's max_wall",
        )
