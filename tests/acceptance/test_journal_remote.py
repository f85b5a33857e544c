"""Tickets and journals through a server: the secret stays there, and what is refused is said as here."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bookkeeper.catalog import open_existing
from bookkeeper.journal import Verdict, ingest, ticket
from journaling import exactly_once, worked
from ledgers import World
from services.servers import ServerProcess


def test_a_ticket_and_its_journal_travel_through_a_server(tmp_path: Path) -> None:
    world = World.create(tmp_path / "c.db", 4)
    with (
        ServerProcess(world.database.url, tmp_path, "--open") as server,
        contextlib.closing(open_existing(server.url)) as there,
    ):
        made = ticket(there, "p", out=tmp_path, count=2, files_per_process=2, destination=tmp_path / "out")
        journals = [worked(one, one.with_suffix(".journal")) for one in made]
        half = tmp_path / "half"
        half.write_bytes(journals[0].read_bytes()[:-300])
        assert [one.verdict for one in ingest(there, [*journals, journals[0], half])] == [
            Verdict.COMMITTED,
            Verdict.COMMITTED,
            Verdict.ALREADY,
            Verdict.INCOMPLETE,
        ]
        assert [one.verdict for one in ingest(there, journals)] == [Verdict.ALREADY] * 2
    assert (world.database.folder / "tickets.key").exists()
    assert len(world.files("committed")) == 4
    exactly_once(world, tmp_path)
    world.close()
