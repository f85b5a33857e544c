"""A copy of a catalog is the whole of it or nothing, compared row by row; a move leaves one catalog that can be written to."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bookkeeper import catalog as catalogs
from bookkeeper.api import open_catalog
from bookkeeper.copying import copy
from bookkeeper.copying.forms import Form, forms
from bookkeeper.copying.postgres_end import PostgresTarget
from bookkeeper.errors import (
    BookkeeperError,
    CatalogError,
    CatalogMissing,
    Conflict,
    Fenced,
    NotAllowed,
    UsageError,
)
from bookkeeper.ledger import SqlLedger
from bookkeeper_schema.migrate import trigger_sources, view_sources
from bookkeeper_schema.tables import METADATA
from commandline import ok, run
from copies import ENDS, Place, content, tampered
from goodcatalog import lived, manifest, produce, raw, started, violations
from services.postgres import running, shared


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, shared().server)


@pytest.mark.parametrize("ends", ENDS, ids="-".join)
def test_a_copy_has_every_row_as_it_was(place: Place, ends: tuple[str, str]) -> None:
    source = place.filled(ends[0])
    target = place.free(ends[1])
    told: list[tuple[str, int, int]] = []
    info = copy(source, target, on_progress=lambda *step: told.append(step))
    before, after = content(source), content(target)
    ((*_, stamp),) = after["catalog"]
    assert stamp is not None
    before["catalog"] = [(*before["catalog"][0][:-1], stamp)]
    assert after == before
    assert info.rows == {table: len(rows) for table, rows in before.items()}
    assert set(info.rows) == {table.name for table in METADATA.sorted_tables}
    assert told[-1][1] == told[-1][2] == 2 * sum(info.rows.values())
    assert (info.live, info.moved) == (1, False)


@pytest.mark.parametrize("ends", ENDS, ids="-".join)
def test_a_copy_is_put_to_use_as_a_backup_is(place: Place, ends: tuple[str, str]) -> None:
    """Its epoch rises, whoever was at work is fenced there, and it goes on: with numbers that nobody had."""
    source, target = place.filled(ends[0]), place.free(ends[1])
    copy(source, target)
    database = catalogs.open_existing(target)
    assert database.stamped
    database.close()
    with open_catalog(source) as original, open_catalog(target) as copied:
        assert copied.id == original.id
        assert (original.database.epoch, copied.database.epoch) == (place.epoch, place.epoch + 1)
        assert violations(copied) == set()
        highest = original.sql("SELECT max(id) AS id FROM processes")[0]["id"]
        assert copied.sql("SELECT count(*) AS n FROM processes WHERE state IN ('active', 'staged')") == [{"n": 0}]
        assert original.sql("SELECT count(*) AS n FROM processes WHERE state IN ('active', 'staged')") == [{"n": 1}]
        started = copied.project("mass-recovery-1").start_process()
        assert started.id == highest + 1
        assert started.next_files(1)
        copied.declare_files([{"name": "new", "size": 1}])
        started.roll_back("enough")
        assert violations(copied) == set()


@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
def test_a_job_of_the_original_is_fenced_in_the_copy(place: Place, end: str) -> None:
    catalog, project = started(place.folder, 4)
    process = produce(project.start_process(), place.folder, commit=False)
    target = place.free(end)
    copy(catalog.url, target)
    with open_catalog(target) as copied, pytest.raises(Fenced, match="restored"):
        SqlLedger(copied.database).commit(process.key, manifest(process))
    process.commit()
    catalog.close()


@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
def test_a_copy_has_the_schema_of_a_new_catalog(place: Place, end: str) -> None:
    """Constraints, views, and the triggers that keep history: the copy is made by the migrations."""
    source, target = place.filled("sqlite"), place.free(end)
    copy(source, target)
    with open_catalog(target) as copied:
        for view in view_sources():
            copied.sql(f"SELECT * FROM {view}")
        for statement in (
            "DELETE FROM ledger",
            "DELETE FROM deliveries",
            "UPDATE events SET kind = 'x'",
            "DELETE FROM snapshot_files",
            "UPDATE requests SET committed = files + 1",
        ):
            with pytest.raises(BookkeeperError), copied.database.transaction() as tx:
                tx.run(statement)
    assert trigger_sources(end)


@pytest.mark.parametrize("ends", ENDS, ids="-".join)
def test_values_at_the_edges_are_the_same(place: Place, ends: tuple[str, str]) -> None:
    """Floats to the last bit, large numbers, empty values and texts, JSON of every shape, names of every script."""
    catalog, _ = started(place.folder, 2)
    with catalog.database.transaction() as tx:
        tx.many(
            "INSERT INTO files (name, size, entries, declared_at, metadata) VALUES (?, ?, ?, ?, ?)",
            [
                ("ä/ß.root", 2**63 - 1, 0, 0.1 + 0.2, '{"b": 1.0, "a": [1e300, -0.5, null, true, "\\u00e9\\n"]}'),
                ("Z 'quoted' \"twice\" \\ and\ttab\nline", 0, None, 5e-324, '{"n": 12345678901234567890, "x": 0.1}'),
                ("日本", 1, 2**62, 1.7976931348623157e308, '{"empty": {}, "list": [], "text": ""}'),
                ("\\N", 1, None, 1e-7, None),
            ],
        )
        tx.run("INSERT INTO excluded_nodes (node, since, until, reason, by) VALUES ('', 1.5, 2.5, '', 'me')")
        tx.many(
            "INSERT INTO excluded_nodes (node, since, until, reason, by) VALUES (?, 1, 2, 'r', 'b')",
            [("a",), ("B",), ("é",)],
        )
    source = catalog.url
    catalog.close()
    if ends[0] == "postgresql":
        source = place.free("postgresql")
        copy(catalog.url, source)
    target = place.free(ends[1])
    copy(source, target)
    assert {name: rows for name, rows in content(target).items() if name != "catalog"} == {
        name: rows for name, rows in content(catalog.url).items() if name != "catalog"
    }


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["file", "folder", "dangling link", "a catalog"])
def test_a_file_is_never_overwritten(place: Place, what: str) -> None:
    source, target = place.filled("sqlite"), place.folder / "copy.db"
    if what == "file":
        target.write_text("precious")
    elif what == "folder":
        target.mkdir()
    elif what == "dangling link":
        target.symlink_to(place.folder / "nowhere")
    else:
        copy(source, f"sqlite:///{target}")
    with pytest.raises(Conflict, match="a copy never overwrites"):
        copy(source, f"sqlite:///{target}")
    assert what != "file" or target.read_text() == "precious"


@pytest.mark.parametrize("what", ["a catalog", "tables of others"])
def test_a_database_with_tables_is_never_touched(place: Place, what: str) -> None:
    source, target = place.filled("sqlite"), place.free("postgresql")
    if what == "a catalog":
        catalogs.create(target).close()
    else:
        place.execute(target, "CREATE TABLE precious (id int)")
    with pytest.raises(Conflict, match="has tables"):
        copy(source, target)


def test_what_cannot_be_copied_is_said(place: Place) -> None:
    source = place.filled("sqlite")
    with pytest.raises(CatalogMissing):
        copy(f"sqlite:///{place.folder}/nothing.db", place.free("sqlite"))
    with pytest.raises(CatalogError) as error:
        copy(source, f"sqlite:///{place.folder}/no/copy.db")
    assert error.value.remedy == f"mkdir -p {place.folder / 'no'}"
    with pytest.raises(UsageError, match="is a server"):
        copy(source, "https://bookkeeper.example.org")
    assert not list(place.folder.glob("*copy*"))


def test_a_value_of_another_kind_is_named(place: Place) -> None:
    catalog, _ = lived(place.folder)
    with raw(catalog) as connection:
        connection.execute("UPDATE processes SET node = x'00ff' WHERE id = 3")
    catalog.close()
    with pytest.raises(CatalogError, match=r"processes id 3: node holds b'\\x00\\xff', which is no text"):
        copy(catalog.url, place.free("sqlite"))
    assert not list(place.folder.glob("*copy*"))


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("UPDATE processes SET node = 'a' || char(0) || 'b' WHERE id = 3", "processes"),
        ("UPDATE requests SET files_per_process = 3000000000 WHERE id = 1", "requests"),
    ],
)
def test_what_postgresql_cannot_hold_is_named(place: Place, statement: str, match: str) -> None:
    catalog, _ = lived(place.folder)
    with catalog.database.transaction() as tx:
        tx.run(statement)
    catalog.close()
    target = place.free("postgresql")
    with pytest.raises(BookkeeperError, match=match):
        copy(catalog.url, target)
    with pytest.raises(CatalogMissing):
        catalogs.open_existing(target)


def test_a_catalog_that_breaks_its_own_rules_is_not_copied(place: Place) -> None:
    catalog, _ = lived(place.folder)
    with raw(catalog) as connection:
        connection.execute("UPDATE requests SET committed = files + 5")
    catalog.close()
    with pytest.raises(UsageError, match="requests_committed"):
        copy(catalog.url, place.free("sqlite"))


# -- the comparison --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
@pytest.mark.parametrize("how", ["lost", "twice", "changed", "a bit", "json", "empty"])
def test_a_copy_that_is_not_the_same_is_not_made(
    place: Place, monkeypatch: pytest.MonkeyPatch, end: str, how: str
) -> None:
    source, target = place.filled("sqlite"), place.free(end)
    tampered(monkeypatch, how)
    with pytest.raises(CatalogError, match="the copy is not the same: ") as error:
        copy(source, target)
    table = {"json": "events", "a bit": "processes", "empty": "files"}.get(how, "locations")
    assert f"the same: {table} " in str(error.value)
    with pytest.raises(CatalogMissing):
        catalogs.open_existing(target)


def form(name: str) -> Form:
    from sqlalchemy.dialects.sqlite import dialect

    return next(one for one in forms(dialect(paramstyle="qmark")) if one.name == name)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}', True),
        ('{"a": 1}', '{"a": 1.0}', True),
        ('{"a": 100.0}', '{"a": 1e2}', True),
        ('"\\u00e9"', '"é"', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 0.1}', '{"a": 0.10000000000000001}', False),
        ('{"a": null}', "{}", False),
        ("[1, 2]", "[2, 1]", False),
        ('{"a": "1"}', '{"a": 1}', False),
        ("null", None, False),
    ],
)
def test_json_is_compared_by_what_it_says(one: str, other: str | None, same: bool) -> None:
    events = form("events")
    rows = [tuple(text if name == "body" else 1 for name in events.columns) for text in (one, other)]
    assert (events.differs(*rows) is None) == same


# -- moving ----------------------------------------------------------------------------------------------------------


def idle(place: Place, end: str) -> str:
    """The address of a filled catalog in which no process is live."""
    source = place.filled(end)
    with open_catalog(source) as catalog:
        catalog.project("mass-recovery-1").end(fence=True)
    return source


@pytest.mark.parametrize("ends", ENDS, ids="-".join)
def test_a_move_seals_the_original(place: Place, ends: tuple[str, str]) -> None:
    source, target = idle(place, ends[0]), place.free(ends[1])
    with open_catalog(source) as before:  # who has it open already is refused, too
        assert copy(source, target, move=True).moved
        with open_catalog(source) as after:
            for original in (before, after):
                for change in (
                    lambda catalog: catalog.declare_files([{"name": "new", "size": 1}]),
                    lambda catalog: catalog.project("parts").start_process(),
                    lambda catalog: catalog.project("parts").end(),
                    lambda catalog: catalog.start_project("other", "all"),
                ):
                    with pytest.raises(NotAllowed, match="sealed: it moves, or has moved, to"):
                        change(original)
                assert original.project("mass").status().files == 12
    with open_catalog(target) as moved:
        assert violations(moved) == set()
        assert moved.project("parts").start_process().next_files(4)


@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
def test_a_catalog_at_work_is_not_moved(place: Place, end: str) -> None:
    source, target = place.filled(end), place.free("sqlite")
    with pytest.raises(NotAllowed, match="1 process is at work"):
        copy(source, target, move=True)
    with open_catalog(source) as catalog:
        catalog.declare_files([{"name": "new", "size": 1}])
    with pytest.raises(CatalogMissing):
        catalogs.open_existing(target)


@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
def test_a_move_that_fails_leaves_the_original_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    source, target = idle(place, end), place.free("sqlite")
    with monkeypatch.context() as patched:
        tampered(patched, "lost")
        with pytest.raises(CatalogError):
            copy(source, target, move=True)
    with open_catalog(source) as catalog:
        catalog.declare_files([{"name": "new", "size": 1}])


def test_a_sealed_catalog_stays_sealed_when_another_move_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    source = idle(place, "sqlite")
    copy(source, place.free("sqlite"), move=True)
    tampered(monkeypatch, "lost")
    with pytest.raises(CatalogError):
        copy(source, place.free("sqlite"), move=True)
    with open_catalog(source) as catalog, pytest.raises(BookkeeperError, match="sealed"):
        catalog.declare_files([{"name": "new", "size": 1}])


@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
def test_a_copy_of_a_sealed_catalog_is_not_sealed(place: Place, end: str) -> None:
    """The way back, when a move was a mistake."""
    source = idle(place, end)
    copy(source, place.free("sqlite"), move=True)
    again = place.free(end)
    copy(source, again)
    with open_catalog(again) as catalog:
        catalog.declare_files([{"name": "new", "size": 1}])


@pytest.mark.parametrize("ends", [("sqlite", "sqlite"), ("sqlite", "postgresql")], ids="-".join)
def test_a_copy_is_of_one_moment_while_jobs_write(place: Place, ends: tuple[str, str]) -> None:
    catalog, _ = started(place.folder, 400, files_per_process=1)
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
    targets = [place.free(ends[1]) for _ in range(3)]
    try:
        for target in targets:
            copy(catalog.url, target)
    finally:
        over.set()
        worker.join()
    for target in targets:
        with open_catalog(target) as copied:
            assert violations(copied) == set()
    catalog.close()


# -- killed ----------------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from bookkeeper.copying import copy
source, target, move, at = sys.argv[1:]
count = 0
def die(*_):
    global count
    count += 1
    if at.isdigit() and count == int(at):
        os.kill(os.getpid(), signal.SIGKILL)
def hook(event, arguments):
    if event == at:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
copy(source, target, move=move == "move", on_progress=die)
"""


def killed(source: str, target: str, move: str, at: str) -> None:
    ran = subprocess.run([sys.executable, "-c", CHILD, source, target, move, at], check=False)
    assert ran.returncode == -signal.SIGKILL


@pytest.mark.fault
@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
@pytest.mark.parametrize("at", ["5", "14", "20"])
def test_a_killed_copy_is_no_catalog(place: Place, end: str, at: str) -> None:
    """While rows are copied, and while they are compared; and the same command makes it afterwards."""
    source, target = place.filled("sqlite"), place.free(end)
    killed(source, target, "copy", at)
    with pytest.raises(CatalogMissing):
        catalogs.open_existing(target)
    copy(source, target)
    with open_catalog(target) as copied:
        assert violations(copied) == set()


@pytest.mark.fault
@pytest.mark.parametrize("end", ["sqlite", "postgresql"])
@pytest.mark.parametrize("at", ["1", "20"])
def test_a_killed_move_leaves_one_catalog_at_most(place: Place, end: str, at: str) -> None:
    """The original is sealed, and the same command goes on."""
    source, target = idle(place, end), place.free("sqlite")
    killed(source, target, "move", at)
    with open_catalog(source) as catalog, pytest.raises(BookkeeperError, match="sealed"):
        catalog.declare_files([{"name": "new", "size": 1}])
    with pytest.raises(CatalogMissing):
        catalogs.open_existing(target)
    assert copy(source, target, move=True).moved
    with open_catalog(target) as moved:
        moved.declare_files([{"name": "new", "size": 1}])


@pytest.mark.fault
def test_a_server_that_dies_during_a_move_leaves_the_original_in_use(place: Place) -> None:
    """While rows are compared: it is certain that nothing was committed."""
    source = idle(place, "sqlite")
    with running() as mortal:
        target = mortal.url("moved")

        def kill(doing: str, done: int, total: int) -> None:
            if doing == "comparing requests":
                mortal.stop(signal.SIGKILL)

        with pytest.raises(CatalogError, match="moved"):
            copy(source, target, move=True, on_progress=kill)
        with open_catalog(source) as catalog:
            catalog.declare_files([{"name": "new", "size": 1}])
        mortal.start()
        with pytest.raises(CatalogMissing):
            catalogs.open_existing(target)
        assert copy(source, target, move=True).moved


@pytest.mark.fault
def test_a_commit_whose_answer_is_lost_keeps_the_original_sealed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can know whether there is a new catalog: so the old one is not written to."""
    source, target = idle(place, "sqlite"), place.free("postgresql")

    def cut(self: PostgresTarget, certain: bool) -> None:
        self.__dict__["known"] = certain
        if not certain:
            place.execute(place.server.url("postgres"), CUT.format(name=target.rpartition("/")[2]))

    with monkeypatch.context() as patched:
        patched.setattr(PostgresTarget, "certain", property(lambda self: self.__dict__["known"], cut), raising=False)
        with pytest.raises(CatalogError, match="does not answer"):
            copy(source, target, move=True)
    with open_catalog(source) as catalog, pytest.raises(NotAllowed, match="sealed"):
        catalog.declare_files([{"name": "new", "size": 1}])
    assert copy(source, target, move=True).moved


CUT = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"


@pytest.mark.fault
@pytest.mark.parametrize(("at", "there"), [("os.link", False), ("os.remove", True)])
def test_a_file_gets_its_name_when_it_is_whole(place: Place, at: str, there: bool) -> None:
    source, target = place.filled("sqlite"), place.folder / "copy.db"
    killed(source, f"sqlite:///{target}", "copy", at)
    assert target.exists() == there
    if there:
        with open_catalog(f"sqlite:///{target}") as copied:
            assert violations(copied, full=True) == set()


@pytest.mark.fault
def test_a_full_disk_leaves_nothing(place: Place) -> None:
    source = place.filled("sqlite")
    target = place.folder / "copies" / "copy.db"
    target.parent.mkdir()
    code = """
import resource, signal, sys
from bookkeeper.copying import copy
from bookkeeper.errors import BookkeeperError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    copy(sys.argv[1], sys.argv[2])
except BookkeeperError as error:
    print(type(error).__name__, error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, source, f"sqlite:///{target}"], capture_output=True, text=True, check=False
    )
    assert ran.stdout.startswith("CatalogError"), ran.stderr
    assert not list(target.parent.iterdir())


# -- on the command line ---------------------------------------------------------------------------------------------


def test_the_command_says_what_it_compared(place: Place) -> None:
    source = idle(place, "sqlite")
    ran = ok("copy", source, place.free("sqlite"))
    assert "rows compared" in ran.out
    assert "the original goes on: use one of the two" in ran.out
    told = ok("copy", source, place.free("sqlite"), "--move", "--json").json
    assert told["moved"]
    assert told["rows"]["ledger"] == 24


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("copy", "sqlite:///nothing.db", "sqlite:///new.db"), 6),
        (("copy", "sqlite:///bookkeeper.db", "sqlite:///bookkeeper.db"), 4),
        (("copy", "sqlite:///bookkeeper.db", "mysql://x/y"), 2),
        (("copy", "sqlite:///bookkeeper.db"), 2),
        (("copy", "sqlite:///bookkeeper.db", "sqlite:///new.db", "--move"), 5),
    ],
)
def test_bad_input_is_refused_in_words(
    place: Place, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int
) -> None:
    place.filled("sqlite")
    monkeypatch.chdir(place.folder)
    ran = run(*words)
    assert ran.code == code, ran
    assert "Traceback" not in ran.err
