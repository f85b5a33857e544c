"""What is PostgreSQL's own: its words for our statements, what is kept apart, and errors that say what to do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bookkeeper import events
from bookkeeper.api import create_catalog, open_catalog
from bookkeeper.database import NOW
from bookkeeper.errors import CatalogError, CatalogMissing, CatalogTooNew, QueryError, UsageError
from bookkeeper.plugins import log
from bookkeeper.postgres import translated
from bookkeeper.postgres.catalogs import name_of
from bookkeeper.protocol import Status
from ledgers import World, sound
from services import postgres


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Forty files and the project p, on a server."""
    made = World.create(tmp_path, 40, backend="postgresql", files_per_process=1)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT :name", "SELECT %(name)s"),
        ("VALUES (?, ?)", "VALUES (%s, %s)"),
        ("SELECT :n/*bigint*/", "SELECT %(n)s::bigint"),
        ("SELECT 'a: b' LIKE '%x'", "SELECT 'a: b' LIKE '%%x'"),
        ("SELECT 1\n--pg FOR UPDATE", "SELECT 1\nFOR UPDATE"),
        ("SELECT group_concat(url, char(10))", "SELECT string_agg(url, chr(10))"),
        ("name GLOB :glob_0", "name ~ bookkeeper_glob(%(glob_0)s)"),
        (f"lease_until < {NOW}", "lease_until < EXTRACT(EPOCH FROM statement_timestamp())::double precision"),
        ("SELECT 'x'::text", "SELECT 'x'::text"),
    ],
)
def test_a_statement_in_the_words_of_postgresql(ours: str, theirs: str) -> None:
    assert translated(ours) == theirs


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("zmumu-*.root", "zmumu-1.root", True),
        ("zmumu-*.root", "zmumu-1xroot", False),
        ("a?c", "abc", True),
        ("a?c", "a\nc", True),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[]]x", "]x", True),
        ("[[]x", "[x", True),
        ("a.b+c(d)|{e}$^\\", "a.b+c(d)|{e}$^\\", True),
        ("é*", "é1", True),
        ("[\\d]", "d", True),
        ("[\\d]", "7", False),
        ("*", "", True),
    ],
)
def test_a_glob_means_the_same_on_both_databases(
    world: World, tmp_path: Path, glob: str, name: str, fits: bool
) -> None:
    here = World.create(tmp_path / "glob.db", 1)
    for one in (world, here):
        (row,) = one.catalog.sql("SELECT CASE WHEN files.name GLOB :glob THEN 1 ELSE 0 END AS fits"
                                 " FROM (SELECT :name/*text*/ AS name) AS files", {"glob": glob, "name": name})  # fmt: skip
        assert bool(row["fits"]) is fits
    here.close()


def test_processes_that_ask_at_once_get_different_files(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: world.start().take(1), range(40)))
    names = [name for names in given for name in names]
    assert sorted(names) == sorted(set(names)) == world.files("held")
    sound(world)


def test_a_file_that_another_is_about_to_take_is_no_reason_to_say_that_none_is_left(world: World) -> None:
    taken = [world.start().take(1) for _ in range(39)]
    assert len(taken) == 39
    with contextlib.closing(psycopg.connect(world.catalog.url)) as other:
        other.execute("SELECT * FROM ledger WHERE state = 'available' FOR UPDATE")
        answer = world.start().ask(1)
        assert (answer.files, answer.status) == ((), Status.NONE_NOW)


def test_an_end_waits_for_the_moves_of_processes_and_leaves_no_file_behind(world: World) -> None:
    job = world.start()
    job.take(1)
    ended = threading.Event()
    with world.database.transaction() as tx:
        tx.lock_request(process=job.key.id)
        thread = threading.Thread(target=lambda: (world.recover(), ended.set()))
        thread.start()
        assert not ended.wait(0.3)
    thread.join()
    assert ended.is_set()
    job.roll_back()
    assert (
        world.value("SELECT count(*) FROM ledger l JOIN projects j ON j.id = l.project_id WHERE j.state = 'ended'") == 0
    )
    sound(world)


def test_moves_that_block_each_other_are_made_again(world: World) -> None:
    """Two moves that take two rows in opposite order: one is undone by the server, and made again."""
    barrier, rounds = threading.Barrier(2), []

    def move(tx: Any, rows: tuple[int, int]) -> None:
        rounds.append(rows)
        tx.run("UPDATE files SET entries = entries + 1 WHERE id = :id", {"id": rows[0]})
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(120)
        barrier.abort()
        tx.run("UPDATE files SET entries = entries + 1 WHERE id = :id", {"id": rows[1]})

    before = world.value("SELECT sum(entries) FROM files")
    with ThreadPoolExecutor(2) as pool:
        for rows in ((1, 2), (2, 1)):
            pool.submit(world.database.run, lambda tx, rows=rows: move(tx, rows))
    assert world.value("SELECT sum(entries) FROM files") == before + 4
    assert len(rounds) == 3


def test_events_are_read_in_the_order_of_their_numbers_though_they_are_committed_in_another(world: World) -> None:
    last = log.newest(world.database)
    with contextlib.closing(psycopg.connect(world.catalog.url)) as slow:
        slow.execute("INSERT INTO events (at, kind, body) VALUES (0, 'slow', '{}')")
        world.database.run(lambda tx: events.record(tx, "quick", {}))
        assert log.read(world.database, last, 10) == []
        slow.commit()
    assert [event.kind for event in log.read(world.database, last, 10)] == ["slow", "quick"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger",
        "WITH gone AS (DELETE FROM locations RETURNING 1) SELECT count(*) FROM gone",
        "SET default_transaction_read_only = off",
        "COPY files TO '/tmp/files'",
        "SELECT nextval('files_id_seq')",
        "SELECT 1; DELETE FROM ledger",
    ],
)
def test_a_query_changes_nothing(world: World, statement: str) -> None:
    with pytest.raises(QueryError):
        world.catalog.sql(statement)
    assert len(world.files("available")) == 40


def test_tokens_read_as_null(world: World) -> None:
    world.start()
    assert world.catalog.sql("SELECT token FROM processes") == [{"token": None}]


def test_what_is_written_once_is_refused_by_the_database(world: World) -> None:
    for statement in ("DELETE FROM events", "UPDATE snapshot_files SET version = 2", "DELETE FROM ledger"):
        with pytest.raises(UsageError, match="refuses this"), world.database.transaction() as tx:
            tx.run(statement)


def test_catalogs_that_are_not_there_are_named_with_the_next_step(tmp_path: Path) -> None:
    server = postgres.shared().server
    with pytest.raises(CatalogMissing, match="there is no database at postgresql://bookkeeper") as missing:
        open_catalog(server.url("nowhere"))
    assert "bookkeeper init" in missing.value.remedy
    with pytest.raises(CatalogMissing, match="no catalog at"):
        open_catalog(server.url("postgres"))
    with pytest.raises(CatalogError, match="does not answer"):
        open_catalog("postgresql://bookkeeper@127.0.0.1:1/nowhere")
    with pytest.raises(UsageError, match="names no database"):
        open_catalog("postgresql://127.0.0.1")


def test_a_database_of_others_is_left_alone(tmp_path: Path) -> None:
    server = postgres.shared().server
    with contextlib.closing(psycopg.connect(server.url("postgres"), autocommit=True)) as connection:
        connection.execute("CREATE DATABASE others")
    with contextlib.closing(psycopg.connect(server.url("others"), autocommit=True)) as connection:
        connection.execute("CREATE TABLE theirs (id int)")
    with pytest.raises(CatalogError, match="a database but no catalog"):
        create_catalog(server.url("others"))


def test_a_newer_catalog_is_refused(tmp_path: Path) -> None:
    url = postgres.shared().new()
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for door in (open_catalog, create_catalog):
        with pytest.raises(CatalogTooNew, match="9999"):
            door(url)


def test_a_password_is_not_shown() -> None:
    assert name_of("postgresql://me:secret@host:5432/db?sslmode=require") == "postgresql://me@host:5432/db"
