"""An export is the history of one request in one SQLite file: of one moment, whole, findable, and without secrets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.api import Catalog, open_catalog
from bookkeeper.catalog import open_existing
from bookkeeper.copying import copy
from bookkeeper.errors import Conflict, NotFound, StorageError
from bookkeeper.export import export
from bookkeeper.export.contents import EXPORTED, FAILURES, LEFT_OUT, VIEWS
from bookkeeper_schema.migrate import view_sources
from bookkeeper_schema.tables import METADATA
from commandline import ok, run
from failing import FULL, SEGFAULT, commit, fail, world
from goodcatalog import lived, started
from services.postgres import shared

SECRET = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJib29ra2VlcGVyIn0.c2lnbmF0dXJlc2lnbmF0dXJl"


@pytest.fixture
def history(tmp_path: Path) -> Catalog:
    return lived(tmp_path)[0]


def rows(path: Path, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, parameters).fetchall()


def test_an_export_has_the_rows_of_its_request_and_no_other(history: Catalog, tmp_path: Path) -> None:
    info = export(history.database, "mass", tmp_path / "out.db")
    assert info.request == "mass"
    with closing(sqlite3.connect(history.database.path)) as catalog:
        for table in EXPORTED:
            if table is FAILURES:
                continue
            columns = ", ".join(
                f'"{column.name}"'
                for column in METADATA.tables[table.name].columns
                if column.name not in (LEFT_OUT.get(table.name) or ())
            )
            mine = rows(tmp_path / "out.db", f"SELECT {columns} FROM {table.name} ORDER BY 1, 2")
            theirs = catalog.execute(f"SELECT {columns} FROM {table.name} ORDER BY 1, 2").fetchall()
            assert len(mine) == info.rows[table.name]
            assert set(mine) <= set(theirs), table.name
    assert rows(tmp_path / "out.db", "SELECT name FROM projects ORDER BY id") == [("mass",), ("mass-recovery-1",)]
    assert rows(tmp_path / "out.db", "SELECT count(*), count(DISTINCT request_id) FROM ledger") == [(12, 1)]
    other = export(history.database, "parts", tmp_path / "parts.db")
    assert (other.rows["processes"], other.rows["deliveries"]) == (1, 4)


def test_an_export_of_a_recovery_is_that_of_its_request(history: Catalog, tmp_path: Path) -> None:
    assert export(history.database, "mass-recovery-1", tmp_path / "out.db").request == "mass"


@pytest.mark.parametrize("view", sorted(view_sources()))
def test_the_views_say_the_same_as_in_the_catalog(history: Catalog, tmp_path: Path, view: str) -> None:
    export(history.database, "mass", tmp_path / "out.db")
    of = {"process_summary": "project LIKE 'mass%'", "lineage": "project LIKE 'mass%'"}.get(view, "request = 'mass'")
    query = f"SELECT * FROM {view} WHERE {of}"
    with closing(sqlite3.connect(tmp_path / "out.db")) as connection:
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description if not column[0].endswith("_utc")]
        mine = sorted((row[: len(names)] for row in cursor), key=repr)
    expected, theirs = history.database.table(query)
    assert names == (expected if view != "failures" else names)
    if view == "failures":
        _, theirs = history.database.table(f"SELECT {', '.join(names)} FROM failures WHERE {of}")
    assert mine == sorted(theirs, key=repr)
    assert mine or view == "performance"


def test_every_table_and_view_is_exported_or_left_out_on_purpose() -> None:
    """Whoever adds a table or a column to the catalog decides here whether it may leave it."""
    exported = {table.name for table in EXPORTED}
    for table in METADATA.sorted_tables:
        assert table.name in exported or LEFT_OUT.get(table.name, ()) is None, table.name
    assert set(view_sources()) == {*VIEWS, FAILURES.name}


@pytest.mark.parametrize("table", [table for table in EXPORTED if table is not FAILURES], ids=lambda table: table.name)
def test_every_column_is_exported_or_left_out_on_purpose(history: Catalog, table: Any) -> None:
    with closing(sqlite3.connect(history.database.path)) as catalog:
        described = catalog.execute(table.query, {"request": 1}).description
    asked = [column[0] for column in described]
    hidden = LEFT_OUT.get(table.name) or ()
    declared = [column.name for column in METADATA.tables[table.name].columns if column.name not in hidden]
    assert sorted(asked) == sorted(declared)


def test_keys_are_declared_and_hold(history: Catalog, tmp_path: Path) -> None:
    export(history.database, "mass", tmp_path / "out.db")
    assert rows(tmp_path / "out.db", "PRAGMA foreign_key_check") == []
    assert rows(tmp_path / "out.db", "PRAGMA integrity_check") == [("ok",)]
    for table in EXPORTED:
        found = {
            (row[3], row[2], row[4]) for row in rows(tmp_path / "out.db", f"PRAGMA foreign_key_list({table.name})")
        }
        assert found == set(table.refers)
        indexed = {
            rows(tmp_path / "out.db", f"PRAGMA index_info({index[1]})")[0][2]
            for index in rows(tmp_path / "out.db", f"PRAGMA index_list({table.name})")
        }
        assert {columns[0] for columns in table.sort} <= indexed


def test_a_file_id_that_a_job_made_up_refers_to_nothing(tmp_path: Path) -> None:
    catalog, project = started(tmp_path, 4)
    catalog.declare_files([{"name": "other", "size": 1}])
    project.start_process()
    with catalog.database.transaction() as tx:
        tx.run("INSERT INTO events (at, kind, process_id, file_id, body) VALUES (1, 'mine', 1, 5, '{}')")
    export(catalog.database, "mass", tmp_path / "out.db")
    assert rows(tmp_path / "out.db", "SELECT process_id, file_id FROM events WHERE kind = 'mine'") == [(1, None)]


def test_texts_are_found_by_their_words(tmp_path: Path) -> None:
    made = world(tmp_path / "bookkeeper.db")
    fail(made, SEGFAULT)
    fail(made, FULL, "n2")
    commit(made)
    export(made.database, "p", tmp_path / "out.db")
    made.close()
    for table, word, count in (("failures", "violation", 1), ("processes", "space", 1), ("events", "segmentation", 1)):
        found = rows(
            tmp_path / "out.db",
            f"SELECT rowid FROM {table} WHERE rowid IN (SELECT rowid FROM {table}_fts WHERE {table}_fts MATCH ?)",
            word,
        )
        assert len(found) >= count, (table, word)


def test_times_are_shown_as_dates(history: Catalog, tmp_path: Path) -> None:
    export(history.database, "mass", tmp_path / "out.db")
    query = "SELECT started_at, started_at_utc, strftime('%Y-%m-%dT%H:%M:%SZ', started_at, 'unixepoch') FROM processes"
    for at, shown, expected in rows(tmp_path / "out.db", query):
        assert at is not None
        assert shown == expected
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown)


def test_every_column_is_described_in_the_export(history: Catalog, tmp_path: Path) -> None:
    export(history.database, "mass", tmp_path / "out.db")
    described = set(
        rows(tmp_path / "out.db", "SELECT table_name, column_name FROM descriptions WHERE description <> ''")
    )
    for table in EXPORTED:
        columns = {row[1] for row in rows(tmp_path / "out.db", f"PRAGMA table_xinfo({table.name})")}
        assert {(table.name, column) for column in columns} <= described
    assert dict(rows(tmp_path / "out.db", "SELECT item, value FROM about"))["request"] == "mass"


def test_no_secret_leaves_the_catalog(tmp_path: Path) -> None:
    """Tokens, their hashes, and what jobs and users wrote that looks like a secret."""
    catalog, project = started(tmp_path, 4)
    process = project.start_process(node="n1")
    process.next_files(2)
    nonce = process.key.token
    stored = hashlib.sha256(nonce.encode()).hexdigest()
    url = "https://me:topsecret@storage.example/f00?authz=verysecretvalue"
    with catalog.database.transaction() as tx:
        assert tx.run("SELECT count(*) FROM processes WHERE token = ?", (stored,)).fetchone() == (1,)
        tx.run("INSERT INTO locations (file_id, url) VALUES (1, ?)", (url,))
        tx.run("UPDATE files SET metadata = ? WHERE id = 1", (json.dumps({"key": f"token={SECRET}"}),))
        tx.run(
            "INSERT INTO events (at, kind, process_id, body) VALUES (1, 'mine', 1, ?)",
            (
                json.dumps(
                    {"said": f"Authorization: Bearer {SECRET}", "more": [{"password": "password=hunter2hunter2"}]}
                ),
            ),
        )
    process.roll_back(f"cannot open {url}")
    export(catalog.database, "mass", tmp_path / "out.db", metadata=tmp_path / "out.json")
    for path in (tmp_path / "out.db", tmp_path / "out.json"):
        content = path.read_bytes()
        for secret in (nonce, stored, stored[:20], SECRET, "topsecret", "verysecretvalue", "hunter2"):
            assert secret.encode() not in content, (path, secret)
    (body,) = rows(tmp_path / "out.db", "SELECT body FROM events WHERE kind = 'mine'")
    assert set(json.loads(body[0])) == {"said", "more"}
    columns = [row[1] for row in rows(tmp_path / "out.db", "PRAGMA table_xinfo(processes)")]
    assert "token" not in columns


def test_an_export_is_of_one_moment_while_jobs_write(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path, 400, files_per_process=1)
    over = threading.Event()

    def work() -> None:
        with open_catalog(catalog.url) as mine:
            project = mine.project("mass")
            while not over.is_set():
                process = project.start_process()
                for file in process.next_files(1):
                    file.consumed()
                process.commit(no_output=True)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(5):
            export(catalog.database, "mass", tmp_path / f"out-{number}.db")
    finally:
        over.set()
        worker.join()
    for number in range(5):
        path = tmp_path / f"out-{number}.db"
        assert rows(path, "PRAGMA foreign_key_check") == []
        (counted,) = rows(path, "SELECT committed FROM requests")
        assert rows(path, "SELECT count(*) FROM ledger WHERE state = 'committed'") == [counted]
        assert rows(path, "SELECT count(*) FROM consumption WHERE committed = 1") == [counted]


@pytest.mark.parametrize("what", ["file", "folder", "dangling link", "the catalog itself"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_export_replaces_nothing_but_an_older_export(
    history: Catalog, tmp_path: Path, what: str, overwrite: bool
) -> None:
    target = tmp_path / "out.db"
    if what == "file":
        target.write_text("precious")
    elif what == "folder":
        target.mkdir()
    elif what == "dangling link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target = history.database.path
    with pytest.raises(Conflict):
        export(history.database, "mass", target, overwrite=overwrite)
    assert what != "file" or target.read_text() == "precious"
    assert history.sql("SELECT count(*) AS n FROM ledger WHERE request_id = 1") == [{"n": 12}]


def test_an_older_export_is_replaced_when_asked(history: Catalog, tmp_path: Path) -> None:
    export(history.database, "mass", tmp_path / "out.db")
    with pytest.raises(Conflict, match="exists"):
        export(history.database, "mass", tmp_path / "out.db")
    assert export(history.database, "parts", tmp_path / "out.db", overwrite=True).request == "parts"
    assert rows(tmp_path / "out.db", "SELECT name FROM requests") == [("parts",)]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out.db-"))]


def test_what_cannot_be_written_is_said(history: Catalog, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as error:
        export(history.database, "mass", tmp_path / "no" / "out.db")
    assert error.value.remedy == f"mkdir -p {tmp_path / 'no'}"
    with pytest.raises(NotFound):
        export(history.database, "nothing", tmp_path / "out.db")
    assert not list(tmp_path.glob("*out.db*"))


def test_a_long_name_is_written_beside_a_short_one(history: Catalog, tmp_path: Path) -> None:
    assert export(history.database, "mass", tmp_path / f"{'x' * 250}.db").size > 0


CHILD = """
import os, resource, signal, sys
from bookkeeper.api import open_catalog
from bookkeeper.errors import BookkeeperError
from bookkeeper.export import export
catalog = open_catalog(sys.argv[1])
if sys.argv[3] == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
else:
    def hook(event, arguments):
        if event == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
try:
    export(catalog.database, "mass", sys.argv[2], overwrite=True)
except BookkeeperError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.fault
def test_a_full_disk_leaves_nothing(history: Catalog, tmp_path: Path) -> None:
    target = tmp_path / "exports" / "out.db"
    target.parent.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, history.url, str(target), "full"], capture_output=True, text=True, check=False
    )
    assert ran.stdout.startswith("StorageError"), ran.stderr
    assert str(target) in ran.stdout
    assert not list(target.parent.iterdir())


@pytest.mark.fault
@pytest.mark.parametrize("event", ["sqlite3.connect", "os.rename"])
def test_a_killed_export_leaves_the_older_one(history: Catalog, tmp_path: Path, event: str) -> None:
    target = tmp_path / "out.db"
    export(history.database, "parts", target)
    before = target.read_bytes()
    ran = subprocess.run([sys.executable, "-c", CHILD, history.url, str(target), event], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert target.read_bytes() == before


def test_an_export_from_postgresql_is_the_same(history: Catalog, tmp_path: Path) -> None:
    address = shared().server.url(f"export_{tmp_path.name}")
    copy(history.url, address)
    before = export(history.database, "mass", tmp_path / "one.db", metadata=tmp_path / "one.json")
    with closing(open_existing(address)) as database:
        after = export(database, "mass", tmp_path / "other.db", metadata=tmp_path / "other.json")
    assert after.rows == before.rows
    for table in EXPORTED:
        query = f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}"
        assert rows(tmp_path / "other.db", query) == rows(tmp_path / "one.db", query)
    query = "SELECT name, sql FROM sqlite_master ORDER BY name"
    assert rows(tmp_path / "other.db", query) == rows(tmp_path / "one.db", query)


def test_a_project_exports_itself(history: Catalog, tmp_path: Path) -> None:
    assert history.project("mass").export(tmp_path / "out.db").rows["ledger"] == 12
    assert history.project("mass").export(str(tmp_path / "out.db"), overwrite=True).request == "mass"


# -- on the command line --------------------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote(history: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = ok("export", "mass", "out.db")
    assert re.search(r"^wrote .*/out\.db, .* of the request mass$", ran.out, re.M)
    told = ok("export", "mass", "out.db", "--overwrite", "--metadata", "out.json", "--json").json
    assert told["rows"]["ledger"] == 12
    assert told["metadata"] == str(tmp_path / "out.json")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("export", "nothing", "out.db"), 3),
        (("export", "mass"), 2),
        (("export", "mass", "there.db"), 4),
        (("export", "mass", "there.db", "--overwrite"), 4),
        (("export", "mass", "no/out.db"), 9),
        (("export", "mass", "out.db", "--metadata", "no/out.json"), 9),
    ],
)
def test_bad_input_is_refused_in_words(
    history: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.db").write_text("precious")
    ran = run(*words)
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert (tmp_path / "there.db").read_text() == "precious"


# -- in Datasette ----------------------------------------------------------------------------------------------------


def ask(path: Path, described: Path, *addresses: str) -> list[Any]:
    """What Datasette itself answers about an export: JSON decoded, pages as text."""
    from datasette.app import Datasette

    async def answers() -> list[Any]:
        site = Datasette([str(path)], metadata=json.loads(described.read_text()))
        found = []
        for address in addresses:
            answer = await site.client.get(address)
            assert answer.status_code == 200, (address, answer.text)
            found.append(answer.json() if ".json" in address else answer.text)
        site.executor.shutdown()
        return found

    return asyncio.run(answers())


def test_datasette_serves_an_export(tmp_path: Path) -> None:
    """Titles, facets, search, links along foreign keys, views, and the words of the columns."""
    made = world(tmp_path / "bookkeeper.db")
    for node in ("n1", "n1", "n2"):
        fail(made, SEGFAULT, node)
    fail(made, FULL, "n2")
    commit(made, "n3")
    export(made.database, "p", tmp_path / "history.db", metadata=tmp_path / "history.json")
    made.close()
    home, faceted, found, linked, views, page = ask(
        tmp_path / "history.db",
        tmp_path / "history.json",
        "/history",
        "/history/failures.json?_facet=node&_shape=objects",
        "/history/failures.json?_search=segmentation&_shape=objects",
        "/history/deliveries.json?_labels=on&_shape=objects",
        "/history/uncommitted.json?_shape=objects&_facet=state",
        "/history/processes",
    )
    assert "p: the history of a request" in home
    counts = {one["value"]: one["count"] for one in faceted["facet_results"]["node"]["results"]}
    assert counts == {"n1": 2, "n2": 2}
    assert len(found["rows"]) == 3
    assert linked["rows"][0]["file_id"] == {"value": 1, "label": "f000"}
    assert {one["value"] for one in views["facet_results"]["state"]["results"]} <= {"available", "parked"}
    assert "Processes: one job" in page
    assert 'name="_search"' in page
