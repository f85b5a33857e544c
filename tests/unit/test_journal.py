"""Tickets out, journals home: every verdict, and the same one again."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bookkeeper import backup
from bookkeeper.api import create_catalog, open_catalog
from bookkeeper.errors import Conflict, Fenced, NotAllowed, NothingToDo, UsageError
from bookkeeper.journal import JournalLedger, Offline, Verdict, chain, ticket, tickets
from bookkeeper.ledger.restore import put_to_use
from bookkeeper.protocol import EventRecord, FileMark, Manifest, Mark, ProcessKey, StartProcess
from journaling import exactly_once, lend, take_in, uploads, work, worked
from ledgers import World, sound


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World.create(tmp_path / "c.db", 4)
    yield one
    sound(one)
    one.close()


def verdict(world: World, journal: Path, **how: bool) -> Verdict:
    (one,) = take_in(world, journal, **how)
    return one.verdict


def test_twice_and_late_it_is_the_same(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j")
    assert world.files("held") == world.column("SELECT name FROM files")
    assert verdict(world, journal) is Verdict.COMMITTED
    before = world.dump(clocks=True), world.value("SELECT count(*) FROM events")
    assert verdict(world, journal) is Verdict.ALREADY
    assert (world.dump(clocks=True), world.value("SELECT count(*) FROM events")) == before
    exactly_once(world, tmp_path)
    assert uploads(tmp_path) == []
    assert world.value("SELECT count(*) FROM events WHERE kind = 'job.said'") == 2


def test_two_jobs_with_one_ticket_share_no_name_and_the_first_to_be_ingested_counts(
    world: World, tmp_path: Path
) -> None:
    lent = lend(world, tmp_path)
    one, two = worked(lent, tmp_path / "one"), worked(lent, tmp_path / "two")
    assert len(uploads(tmp_path)) == 2
    assert verdict(world, two) is Verdict.COMMITTED
    (refused,) = take_in(world, one)
    assert (refused.verdict, len(refused.discarded)) == (Verdict.REFUSED, 1)
    assert [verdict(world, two), verdict(world, one)] == [Verdict.ALREADY, Verdict.REFUSED]
    exactly_once(world, tmp_path)
    assert uploads(tmp_path) == []


def test_of_two_jobs_without_output_the_first_counts_too(world: World, tmp_path: Path) -> None:
    lent, ends = lend(world, tmp_path), []
    for name in ("one", "two"):
        with Offline(lent, tmp_path / name) as offline:
            ledger = offline.ledger()
            key = ledger.start_process(StartProcess("p", "x")).key
            files = ledger.next_files(key, 1, 100).files
            ledger.commit(key, Manifest([FileMark(one.id, Mark.CONSUMED) for one in files], no_output=True))
        ends.append(verdict(world, tmp_path / name))
    assert ends == [Verdict.COMMITTED, Verdict.REFUSED]
    assert verdict(world, tmp_path / "one") is Verdict.ALREADY


def test_one_that_failed_and_one_that_did_not_with_one_ticket(world: World, tmp_path: Path) -> None:
    lent = lend(world, tmp_path)
    bad, good = worked(lent, tmp_path / "bad", end="roll_back"), worked(lent, tmp_path / "good")
    assert [verdict(world, good), verdict(world, bad)] == [Verdict.COMMITTED, Verdict.REFUSED]
    exactly_once(world, tmp_path)


def test_a_job_that_failed_gives_its_files_back(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j", end="roll_back")
    assert uploads(tmp_path) == []
    assert [verdict(world, journal), verdict(world, journal)] == [Verdict.ROLLED_BACK] * 2
    assert len(world.files("available")) == 4
    assert world.attempts("f000") == (1, 0)


def test_without_an_end_nothing_is_decided_and_the_history_is_taken_in(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j", end="none")
    lease = world.value("SELECT lease_until FROM processes")
    assert [verdict(world, journal), verdict(world, journal)] == [Verdict.INCOMPLETE] * 2
    assert world.value("SELECT count(*) FROM deliveries WHERE state = 'opened'") == 4
    assert world.value("SELECT count(*) FROM events WHERE kind = 'job.said'") == 2
    assert world.value("SELECT lease_until FROM processes") == lease, "nobody knows whether it runs"
    world.change("UPDATE processes SET lease_until = 1")
    assert world.catalog.expire() == 1
    assert world.setbacks("f000") == 1, "it had opened its files"
    (one,) = take_in(world, journal)
    assert (one.verdict, "rolled back" in one.reason) == (Verdict.INCOMPLETE, True)


def test_an_end_that_comes_after_the_lease_is_refused_and_its_output_deleted(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j")
    world.change("UPDATE processes SET lease_until = 1")
    world.catalog.expire()
    (kept,) = take_in(world, journal, discard=False)
    assert (kept.verdict, len(kept.kept), "lease expired" in kept.reason) == (Verdict.REFUSED, 1, True)
    assert len(uploads(tmp_path)) == 1
    assert [verdict(world, journal), verdict(world, journal)] == [Verdict.REFUSED] * 2
    assert uploads(tmp_path) == []
    assert len(world.files("available")) == 4


def test_a_lease_that_has_passed_unnoticed_still_commits(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j")
    world.change("UPDATE processes SET lease_until = 1")
    assert verdict(world, journal) is Verdict.COMMITTED


def test_every_beginning_of_a_journal_is_incomplete_and_no_byte_may_be_changed(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j")
    whole, part = journal.read_bytes(), tmp_path / "part"
    ended = whole.rindex(b"\n", 0, len(whole) - 1) + 1  # before the last event; the end record is right before it
    ended = whole.rindex(b"\n", 0, ended - 1) + 1
    for size in [*range(200), *range(200, ended, 97), ended]:
        part.write_bytes(whole[:size])
        assert verdict(world, part) is Verdict.INCOMPLETE, size
    for place in [*range(70), *range(70, len(whole), 61)]:
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if b"\n" in (whole[place : place + 1], bytes([whole[place] ^ 1])):
            continue
        assert verdict(world, part) in (Verdict.NOT_AUTHENTIC, Verdict.REFUSED), place
    lines = whole.splitlines(keepends=True)
    for changed in (lines[1:], lines[:2] + lines[3:], [*lines[:2], lines[1], *lines[2:]], [lines[1], lines[0]]):
        part.write_bytes(b"".join(changed))
        assert verdict(world, part) is Verdict.NOT_AUTHENTIC
    assert len(world.files("held")) == 4
    assert verdict(world, journal) is Verdict.COMMITTED


def test_who_has_the_ticket_can_rewrite_it_and_the_seal_tells(world: World, tmp_path: Path) -> None:
    lent = lend(world, tmp_path)
    signed = tickets.read(lent)
    edited = msgspec.structs.replace(signed.ticket, destination=None)
    check = tickets.code(signed.token.encode(), b"check", edited.content())
    tickets.write_new(tmp_path / "edited", tickets.SignedTicket(edited, signed.token, signed.seal, check).as_text())
    with contextlib.closing(JournalLedger(tickets.read(tmp_path / "edited"), tmp_path / "j")) as ledger:
        ledger.record(ProcessKey(edited.process, signed.token), [EventRecord("job.said")])
    assert verdict(world, tmp_path / "j") is Verdict.NOT_AUTHENTIC


def test_an_output_that_is_not_what_the_journal_says_rolls_back(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j")
    (stored,) = (tmp_path / "out/.bookkeeper").glob("1-*/*.txt")
    stored.write_text("something else")
    (one,) = take_in(world, journal)
    assert (one.verdict, "the job stored" in one.reason) == (Verdict.REFUSED, True)
    assert verdict(world, journal) is Verdict.REFUSED
    assert (len(world.files("available")), uploads(tmp_path)) == (4, [])


def test_a_storage_that_is_away_decides_nothing(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j")
    (tmp_path / "out").rename(tmp_path / "away")
    assert verdict(world, journal) is Verdict.WAITING
    assert len(world.files("held")) == 4
    (tmp_path / "away").rename(tmp_path / "out")
    assert verdict(world, journal) is Verdict.COMMITTED
    exactly_once(world, tmp_path)


def test_a_journal_of_another_catalog_or_of_an_older_time_line(world: World, tmp_path: Path) -> None:
    journal = worked(lend(world, tmp_path), tmp_path / "j")
    other = World(create_catalog(f"sqlite:///{tmp_path}/other.db"))
    (one,) = take_in(other, journal)
    assert (one.verdict, "it is of catalog" in one.reason) == (Verdict.REFUSED, True)
    other.close()
    backup.backup(world.database, tmp_path / "again.db")
    shutil.copytree(world.database.folder, tmp_path / "again.db.d")
    restored = World(open_catalog(f"sqlite:///{tmp_path}/again.db"))
    put_to_use(restored.database)
    (one,) = take_in(restored, journal)
    assert (one.verdict, "epoch 1" in one.reason, len(one.kept)) == (Verdict.REFUSED, True, 1)
    restored.close()
    assert verdict(world, journal) is Verdict.COMMITTED


def test_a_journal_goes_on_where_its_job_died_and_takes_no_other(world: World, tmp_path: Path) -> None:
    lent, journal = lend(world, tmp_path, files_per_process=2), tmp_path / "j"
    worked(lent, journal, end="none")
    with journal.open("ab") as stream:
        stream.write(b"torn")
    running = work(lent, journal, end="none")
    with pytest.raises(Conflict, match="another job"):
        Offline(lent, journal)
    running.close()
    with pytest.raises(Conflict, match="no journal of this ticket"):
        Offline(lend(world, tmp_path), journal)
    assert verdict(world, worked(lent, journal)) is Verdict.COMMITTED
    assert len(uploads(tmp_path)) == 2, "of the jobs that died; `check --repair` deletes them"
    exactly_once(world, tmp_path)


def test_who_ends_a_run_is_told_the_same_again(world: World, tmp_path: Path) -> None:
    lent = lend(world, tmp_path)
    with work(lent, tmp_path / "bad", end="roll_back") as offline, pytest.raises(Fenced, match="it crashed"):
        offline.ledger().start_process(StartProcess("p", "x"))
    with work(lent, tmp_path / "good") as offline:
        ledger, key = offline.ledger(), offline.ledger().start_process(StartProcess("p", "x")).key
        assert ledger.commit(key, Manifest([])) == ()
        with pytest.raises(NotAllowed, match="publishes nothing"):
            ledger.published(key, [1])
        with pytest.raises(NotAllowed, match="committed"):
            ledger.next_files(key, 2, 1)


def test_nobody_but_its_owner_may_read_a_ticket_and_no_journal_tells_its_token(world: World, tmp_path: Path) -> None:
    lent = lend(world, tmp_path)
    assert lent.stat().st_mode & 0o777 == 0o600
    token = tickets.read(lent).token
    journal = worked(lent, tmp_path / "j")
    assert journal.stat().st_mode & 0o777 == 0o600
    assert token.encode() not in journal.read_bytes()
    lent.chmod(0o640)
    with pytest.raises(UsageError, match="can be read"):
        tickets.read(lent)


def test_a_ticket_that_was_not_written_to_its_end_is_finished_by_the_same_command(world: World, tmp_path: Path) -> None:
    """Killed after the process was started: its draft is there, and names it."""
    lent = lend(world, tmp_path, files_per_process=2)
    salt = tickets.read(lent).ticket.salt
    terms = {"project": "p", "lease": 32400.0, "files_per_process": 2, "destination": str(tmp_path / "out")}
    draft = tmp_path / f"tickets/.ticket-{salt}.draft"
    draft.write_text(json.dumps({"catalog": world.database.id, "salt": salt, "terms": terms}))
    text = lent.read_text()
    lent.unlink()
    assert lend(world, tmp_path, files_per_process=2) == lent
    assert lent.read_text() == text
    draft.write_text(json.dumps({"catalog": world.database.id, "salt": salt, "terms": terms}))
    assert lend(world, tmp_path, files_per_process=2) == lent, "killed between the ticket and the end of its draft"
    assert world.value("SELECT count(*) FROM processes") == 1
    assert not list((tmp_path / "tickets").glob(".*"))


def test_a_draft_whose_process_is_over_is_forgotten(world: World, tmp_path: Path) -> None:
    lent = lend(world, tmp_path, files_per_process=2)
    salt = tickets.read(lent).ticket.salt
    terms = {"project": "p", "lease": 32400.0, "files_per_process": 2, "destination": str(tmp_path / "out")}
    world.change("UPDATE processes SET lease_until = 1")
    world.catalog.expire()
    draft = tmp_path / f"tickets/.ticket-{salt}.draft"
    draft.write_text(json.dumps({"catalog": world.database.id, "salt": salt, "terms": terms}))
    assert tickets.read(lend(world, tmp_path, files_per_process=2)).ticket.process == 2


def test_a_ticket_that_nobody_brings_home_frees_its_files_when_its_lease_has_passed(
    world: World, tmp_path: Path
) -> None:
    lend(world, tmp_path)
    with pytest.raises(NothingToDo):
        lend(world, tmp_path)
    assert world.value("SELECT lease FROM processes WHERE id = 1") == 9 * 3600
    world.change("UPDATE processes SET lease_until = 1 WHERE id = 1")
    world.catalog.expire()
    assert world.attempts("f000") == (0, 0), "no file was opened: none is charged"
    assert lend(world, tmp_path).name == "p-3.ticket"


def test_a_lease_longer_than_max_wall_is_refused(tmp_path: Path) -> None:
    world = World.create(tmp_path / "c.db", max_wall=3600)
    with pytest.raises(NotAllowed, match="max_wall"):
        lend(world, tmp_path)
    lend(world, tmp_path, wall="30m", grace="10m")
    world.close()


def test_an_old_ticket_is_not_worked_on(world: World, tmp_path: Path) -> None:
    lent = lend(world, tmp_path, wall=0.001, grace=0.001)
    with pytest.raises(Fenced, match="was good until"):
        Offline(lent, tmp_path / "j")


def test_a_partition_is_lent_whole(tmp_path: Path) -> None:
    world = World.create(tmp_path / "c.db", 5, partition_by={"files": 2})
    journal = worked(lend(world, tmp_path, partition=1), tmp_path / "j")
    assert verdict(world, journal) is Verdict.COMMITTED
    assert world.files("committed") == ["f002", "f003"]
    exactly_once(world, tmp_path)
    world.close()


def test_a_disk_that_is_full_ends_the_journal_at_a_whole_record(world: World, tmp_path: Path) -> None:
    import resource

    lent = lend(world, tmp_path)
    with work(lent, tmp_path / "j", end="none") as offline:
        ledger = offline.ledger()
        key = ledger.start_process(StartProcess("p", "x")).key
        size = (tmp_path / "j").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
        try:
            with pytest.raises(Exception, match="cannot be written"):
                ledger.record(key, [EventRecord("job.said", {"text": "x" * 1000})])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (tmp_path / "j").stat().st_size == size
        ledger.record(key, [EventRecord("job.said", {"text": "x" * 1000})])
    journal = chain.read((tmp_path / "j").read_bytes(), lambda _: tickets.read(lent).token)
    assert journal is not None
    assert verdict(world, worked(lent, tmp_path / "j")) is Verdict.COMMITTED


def test_several_tickets_at_once(world: World, tmp_path: Path) -> None:
    made = ticket(world.database, "p", out=tmp_path, count=5, files_per_process=3)
    assert [len(tickets.read(one).ticket.files) for one in made] == [3, 1]
