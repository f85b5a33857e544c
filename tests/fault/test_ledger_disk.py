"""A full disk, a locked catalog, a long reader, other threads, forks."""

from __future__ import annotations

import os
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bookkeeper.errors import CatalogBusy, CatalogError
from bookkeeper.protocol import EventRecord, Fate
from bookkeeper.sqlite import connections
from forking import forks
from ledgerfaults import forks_inside
from ledgers import Job, World, sound

pytestmark = pytest.mark.fault


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path / "c.db", 50)
    yield world
    sound(world)
    world.close()


def until_it_fails(say: Callable[[], object]) -> CatalogError:
    for _ in range(2000):
        try:
            say()
        except CatalogError as error:
            return error
    raise AssertionError("it never failed")


def fill(job: Job) -> Callable[[], None]:
    return lambda: job.ledger.record(job.key, [EventRecord("noise", {"text": "x" * 3000})])


def still_works(world: World, job: Job) -> None:
    job.commit()
    assert world.ledger.fate(job.key) is Fate.COMMITTED
    assert len(world.files("committed")) == len(job.ids)


def test_a_database_that_may_not_grow_says_so_changes_nothing_and_works_again_with_room(world: World) -> None:
    job = world.start()
    job.take(10)
    for durable in (False, True):
        with world.database.transaction(durable=durable) as tx:
            now = tx.run("PRAGMA page_count").fetchone()[0]
            tx.run(f"PRAGMA max_page_count = {now + 3}")
    error = until_it_fails(fill(job))
    assert "disk is full" in str(error)
    assert "free some space" in error.remedy
    before = world.dump(clocks=True)
    events = world.value("SELECT count(*) FROM events")
    with pytest.raises(CatalogError):
        fill(job)()
    with pytest.raises(CatalogError):
        for n in range(2000):
            world.ledger.will_write_to(job.key, f"/d{n}" + "x" * 3000)
    assert world.value("SELECT count(*) FROM events") == events
    after = world.dump(clocks=True)
    assert {**after, "destinations": []} == {**before, "destinations": []}
    for durable in (False, True):
        with world.database.transaction(durable=durable) as tx:
            tx.run("PRAGMA max_page_count = 1000000")
    still_works(world, job)


def test_a_write_ahead_log_that_may_not_grow_is_an_error_of_the_disk(world: World) -> None:
    job = world.start()
    job.take(10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal = Path(f"{world.database.path}-wal").stat().st_size
    before = world.dump(clocks=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 5000, hard))
    try:
        error = until_it_fails(fill(job))
        with pytest.raises(CatalogError):
            job.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.remedy
    assert world.dump(clocks=True) == before
    still_works(world, job)


def test_a_catalog_locked_by_a_stranger_is_busy_and_nothing_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_SECONDS", 0.05)
    job = world.start()
    job.take(10)
    world.catalog.database.close()  # connections with the short timeout from here on
    before = world.dump(clocks=True)
    stranger = sqlite3.connect(world.database.path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    for say in (job.take, job.commit, job.roll_back, world.start, world.recover):
        with pytest.raises(CatalogBusy) as caught:
            say()
        assert "lsof" in caught.value.remedy
    assert world.dump(clocks=True) == before
    stranger.execute("ROLLBACK")
    stranger.close()
    still_works(world, job)


def test_a_long_reader_stops_nobody_and_sees_one_moment(world: World) -> None:
    reader = sqlite3.connect(world.database.path, isolation_level=None)
    reader.execute("BEGIN")
    count = "SELECT count(*) FROM ledger WHERE state = 'committed'"
    assert reader.execute(count).fetchone() == (0,)
    job = world.start()
    job.take(50)
    job.commit()
    assert reader.execute(count).fetchone() == (0,)
    reader.execute("ROLLBACK")
    assert reader.execute(count).fetchone() == (50,)
    reader.close()


def test_one_job_may_speak_from_several_threads(world: World) -> None:
    job = world.start()
    job.take(20)
    problems: list[BaseException] = []

    def beat() -> None:
        try:
            for _ in range(30):
                world.ledger.heartbeat(job.key)
        except BaseException as error:  # noqa: BLE001 the test looks at it
            problems.append(error)

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for name in list(job.ids):
        job.open(name)
    for thread in threads:
        thread.join()
    assert problems == []
    still_works(world, job)


def test_threads_that_ended_leave_no_connections_behind(world: World) -> None:
    job = world.start()

    def beat() -> None:
        thread = threading.Thread(target=lambda: world.ledger.heartbeat(job.key))
        thread.start()
        thread.join()

    for _ in range(3):
        beat()
    before = len(os.listdir("/dev/fd"))
    for _ in range(30):
        beat()
    assert len(os.listdir("/dev/fd")) <= before + 6


def test_a_child_forked_while_a_transaction_is_open_disturbs_nobody(tmp_path: Path) -> None:
    child = forks().Process(target=forks_inside, args=(tmp_path / "c.db",))
    child.start()
    child.join(600)
    assert child.exitcode == 0
