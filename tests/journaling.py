"""Jobs without a network for the tests: real tickets, real journals, real outputs, over files that need not exist."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bookkeeper.api import open_catalog
from bookkeeper.journal import Offline, ingest, ticket
from bookkeeper.journal.ingesting import Ingested
from bookkeeper.process import start
from bookkeeper.protocol import Mark, StartProcess
from ledgerfaults import Fuse, breakable, broken
from ledgers import World, sound


def lend(world: World, folder: Path, **terms: Any) -> Path:
    """Make one ticket for outputs in ``folder/out``."""
    (folder / "tickets").mkdir(exist_ok=True)
    (one,) = ticket(world.database, "p", out=folder / "tickets", destination=folder / "out", **terms)
    return one


def work(ticket_: Path, journal: Path, *, end: str = "commit", dies_at: int = 0) -> Offline:
    """Be the worker: take the files, open them, store an output of their names, end. Its journal stays open.

    ``end`` is commit, roll_back, or none; ``dies_at`` is the record after which kill -9 strikes.
    """

    def on_record(number: int) -> None:
        if number == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    offline = Offline(ticket_, journal, node="n1", on_record=on_record)
    process = start(offline.ledger(), StartProcess(offline.ticket.project, "no nonce"))
    files = process.next_files()
    process.opened_all()
    process.record("job.said", {"files": len(files)})
    path = journal.with_name(f"{journal.name}.txt")
    path.write_text("".join(f"{file.name}\n" for file in files))
    for file in files:
        file.decided(Mark.CONSUMED)
    process.stage_out(path, offline.ticket.destination or "", "out-{process}.txt")
    if end == "commit":
        process.commit()
    elif end == "roll_back":
        process.roll_back("it crashed")
    process.record("job.said", {"end": end})
    return offline


def worked(ticket_: Path, journal: Path, **how: Any) -> Path:
    """Be the worker and close the journal; return it."""
    work(ticket_, journal, **how).close()
    return journal


def take_in(world: World, *journals: Path, **how: Any) -> list[Ingested]:
    """Ingest."""
    return ingest(world.database, journals, **how)


def ingest_until_killed(url: str, journals: Sequence[Path], n: int) -> None:
    """In a child: ingest, and die at the n-th statement."""
    with breakable():
        catalog = open_catalog(url)
        catalog.database.rows("SELECT 1")
        with broken(Fuse(n, "kills")):
            ingest(catalog.database, journals)


def exactly_once(world: World, folder: Path) -> None:
    """Fail unless what is published has every committed file once and no other, and nothing else is violated."""
    sound(world)
    published = sorted(
        name for path in sorted((folder / "out").glob("*.txt")) for name in path.read_text().splitlines()
    )
    assert published == world.files("committed")


def uploads(folder: Path) -> list[str]:
    """What lies under temporary names."""
    return sorted(path.name for path in (folder / "out" / ".bookkeeper").glob("*-*-*"))
