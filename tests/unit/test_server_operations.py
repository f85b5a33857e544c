"""Operations through a real server: types, errors, streams, scopes, and answers that are lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import bookkeeper
from bookkeeper import datasets, files, projects, recovery
from bookkeeper.catalog import Database, create, open_existing
from bookkeeper.client import catalog as remote
from bookkeeper.client import queries
from bookkeeper.errors import (
    CatalogError,
    Conflict,
    NotFound,
    QueryError,
    ServerRestarted,
    ServerUnreachable,
    UsageError,
)
from bookkeeper.ledger.requests import Rules
from ledgers import new_catalog
from services.cutting import Cutting, cutting
from services.reach import served


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(new_catalog(tmp_path / "c.db").database) as made:
        files.declare(made, ({"name": f"f{n}", "size": n, "locations": [f"/in/{n}"]} for n in range(6)))
        datasets.define(made, "all", names="*")
        projects.start(made, "p", "all", ("a", "b", "1"), Rules())
        yield made


@pytest.fixture
def url(database: Database) -> Iterator[str]:
    with served(database) as address:
        yield address


@pytest.fixture
def there(url: str) -> Iterator[Database]:
    with contextlib.closing(open_existing(url)) as made:
        yield made


def post(url: str, name: str, body: Any = None, **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return httpx.post(f"{url}/v1/call/{name}", content=content, timeout=60, **more)


def test_it_is_the_same_catalog(database: Database, there: Database, url: str) -> None:
    assert (there.id, there.epoch, there.stamped, there.url) == (database.id, database.epoch, False, url)
    assert abs(there.now() - database.now()) < 60
    assert there.folder.name == database.id and there.folder.parent.name == "bookkeeper"


def test_answers_have_the_types_they_have_here(database: Database, there: Database) -> None:
    assert files.get(there, "f1") == files.get(database, "f1")
    assert files.history(there, "f1") == files.history(database, "f1")
    assert datasets.get(there, "all") == datasets.get(database, "all")
    assert projects.status(there, "p") == projects.status(database, "p")
    assert projects.empty_handed(there, "p") == set()
    assert recovery.plan(there, "p") == recovery.plan(database, "p")
    assert datasets.snapshots(there, "all") == datasets.snapshots(database, "all")


def test_errors_have_the_class_and_the_words_they_have_here(database: Database, there: Database) -> None:
    for make in (
        lambda at: projects.status(at, "q"),
        lambda at: files.retire(at, ["nothing"], "why"),
        lambda at: datasets.define(at, "all", names="other*"),
        lambda at: datasets.define(at, "no name!", names="*"),
    ):
        with pytest.raises(bookkeeper.BookkeeperError) as here:
            make(database)
        with pytest.raises(type(here.value)) as far:
            make(there)
        assert (str(far.value), far.value.remedy) == (str(here.value), here.value.remedy)


def test_a_stream_is_read_as_it_comes(there: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookkeeper.server.streaming.PIECE", 100)
    found = files.find(there)
    assert next(found)["name"] == "f0"
    assert [file["name"] for file in found] == ["f1", "f2", "f3", "f4", "f5"]
    with pytest.raises(QueryError):
        files.find(there, where="name likes")


def test_what_goes_wrong_in_the_middle_of_a_stream_is_told(
    there: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first lines are on their way when the second page cannot be read."""
    monkeypatch.setattr("bookkeeper.server.streaming.PIECE", 1)
    monkeypatch.setattr(files, "PAGE", 2)
    with database.transaction() as tx:
        tx.run("UPDATE files SET metadata = 'no JSON' WHERE name = 'f5'")
    found = files.find(there)
    assert next(found)["name"] == "f0"
    with pytest.raises(bookkeeper.BookkeeperError):
        list(found)


def test_records_are_sent_as_they_come_and_told(there: Database) -> None:
    told: list[int] = []
    many = ({"name": f"g{n:05}", "size": n, "metadata": {"run": n}} for n in range(20_000))
    assert files.declare(there, many, on_progress=told.append) == files.Declared(20_000, 0, 0)
    assert told == sorted(told) and told[-1] == 20_000 and len(told) > 3
    assert files.get(there, "g00042")["metadata"] == {"run": 42}
    assert files.declare(there, [{"name": "g00042", "size": 42}]) == files.Declared(0, 1, 0)


def test_a_list_with_a_fault_declares_nothing(there: Database) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"name": "good", "size": 1}
        raise KeyError("what reads the list")

    with pytest.raises(KeyError, match="what reads the list"):
        files.declare(there, broken())
    with pytest.raises(UsageError, match=r"record 2 \(bad\): size is -1"):
        files.declare(there, [{"name": "good", "size": 1}, {"name": "bad", "size": -1}])
    with pytest.raises(Conflict):
        files.declare(there, [{"name": "good", "size": 1}, {"name": "f1", "size": 77}])
    with pytest.raises(NotFound):
        files.get(there, "good")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (b'{}\n{"name": "x", "size": 1}\n', "cut off after 1"),
        (b'{}\n{"name": "x", "size": 1}\n["end", 2]\n', "cut off after 1"),
        (b'{}\n{"name": "x", "size": 1}\n["end", 1]\n{"name": "y", "size": 1}\n', "cut off after 1"),
        (b'{}\n{"name": "x", "size"', "line 2 cannot be read"),
        (b'{}\n\xff\n["end", 1]\n', "line 2 cannot be read"),
        (b"", "cut off after 0"),
        (b'{"records": []}\n["end", 0]\n', "unknown field `records`"),
    ],
)
def test_a_list_that_was_cut_off_declares_nothing(url: str, there: Database, lines: bytes, problem: str) -> None:
    answer = post(url, "files.declare", lines)
    assert (answer.status_code, answer.json()["error"]) == (400, "UsageError")
    assert problem in answer.json()["message"]
    with pytest.raises(NotFound):
        files.get(there, "x")


def test_sql_is_answered_within_limits(there: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = there.rows("SELECT :a AS a, x'00ff' AS b, 9e999 AS c, NULL AS d", {"a": b"\x01"})
    assert rows == [{"a": b"\x01", "b": b"\x00\xff", "c": float("inf"), "d": None}]
    assert there.table("SELECT 1 AS x, 2 AS x") == (["x", "x"], [(1, 2)])
    assert there.one("SELECT 1 WHERE 0") is None
    with pytest.raises(QueryError, match="would change the catalog"):
        there.rows("DELETE FROM files")
    monkeypatch.setattr(queries, "MOST", 3)
    with pytest.raises(QueryError, match="more than 3 rows"):
        there.rows("SELECT name FROM files")
    monkeypatch.setattr(queries, "SECONDS", 0.05)
    with pytest.raises(QueryError, match="took too long"):
        there.rows("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n")


def test_a_transaction_is_the_servers(there: Database) -> None:
    with pytest.raises(UsageError, match="through a server"):
        there.transaction()
    with pytest.raises(UsageError, match="through a server"):
        there.run(lambda tx: None)
    with pytest.raises(UsageError, match="not backed up through a server"):
        from bookkeeper.backup import backup

        backup(there, "b.db")


@pytest.mark.parametrize(
    ("name", "body", "status", "words"),
    [
        ("projects.pause", {"name": "p", "reason": "x", "more": 1}, 400, "unknown field `more`"),
        ("projects.pause", {"name": 1, "reason": "x"}, 400, "Expected `str`"),
        ("projects.pause", {"name": "p"}, 400, "missing required field `reason`"),
        ("projects.pause", [1], 400, "Expected `object`"),
        ("projects.pause", b"\xff\x00", 400, "projects.pause:"),
        ("projects.pause", b"[" * 100_000, 400, "projects.pause:"),
        ("projects.pause", {"name": "q", "reason": "x"}, 404, "no project 'q'"),
        ("projects.nothing", {}, 404, "knows no operation 'projects.nothing'"),
        ("stepwise.recall", {"key": {"id": 1, "token": "guess"}}, 404, "process"),
    ],
)
def test_what_is_wrong_is_told_without_a_traceback(url: str, name: str, body: Any, status: int, words: str) -> None:
    answer = post(url, name, body)
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert answer.json().keys() == {"error", "message", "remedy"}
    assert "Traceback" not in answer.text and ".py" not in answer.text


def test_people_look_by_get(url: str) -> None:
    for path in ("projects", "projects/p", "projects/p/processes", "projects/p/uncommitted", "projects/p/outputs",
                 "projects/p/failures", "projects/p/performance", "datasets", "datasets/all", "files/f1", "nodes"):  # fmt: skip
        answer = httpx.get(f"{url}/v1/{path}", timeout=60)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.json() is not None
    assert httpx.get(f"{url}/v1/projects/p", timeout=60).json()["files"] == 6
    assert httpx.get(f"{url}/v1/projects/q", timeout=60).status_code == 404
    assert httpx.get(f"{url}/v1/processes/x/failure", timeout=60).status_code == 400


def test_operations_are_in_the_openapi_page(url: str) -> None:
    paths = httpx.get(f"{url}/v1/openapi.json", timeout=60).json()["paths"]
    start = paths["/v1/call/projects.start"]["post"]
    body = start["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["required"]) == {"name", "dataset", "application", "rules"}
    assert "Needs scope `work`" in start["description"]
    assert "$ref" not in json.dumps([one for path, one in paths.items() if "/call/" in path])


# -- answers that are lost ---------------------------------------------------------------------------------------------


@pytest.fixture
def cut(url: str) -> Iterator[Cutting]:
    with cutting(url) as proxy:
        yield proxy


def test_a_lost_answer_is_asked_for_again_and_the_call_is_done_once(cut: Cutting, database: Database) -> None:
    with contextlib.closing(open_existing(cut.url)) as there:
        cut.lose, cut.path = 1, b"files.retire"
        assert files.retire(there, ["f1", "f2"], "wrong") == 2, "the answer of the first call, not that of a second"
        assert cut.lost == 1
        cut.lose, cut.path = 2, b"projects.status"
        assert projects.status(there, "p").files == 6
    assert len(database.rows("SELECT 1 FROM events WHERE kind = 'file.retired'")) == 2


def test_the_word_of_one_call_is_not_that_of_another(url: str) -> None:
    first, second = (
        httpx.post(f"{url}/v1/call/nodes.exclude?once=1", json={"node": node, "reason": "bad"}, timeout=60)
        for node in ("a", "b")
    )
    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert [row["node"] for row in httpx.get(f"{url}/v1/nodes", timeout=60).json()] == ["a", "b"]


def test_a_call_in_doubt_is_not_made_again_after_a_restart(database: Database) -> None:
    """The server did it, its answer was lost, and it remembers nothing: that is told."""
    with served(database) as first, cutting(first) as cut, contextlib.closing(open_existing(cut.url)) as there:
        cut.lose, cut.path = 1, b"files.retire"
        with served(database) as second:
            before = cut.port

            def restart(*_: Any) -> None:
                cut.port = int(second.rpartition(":")[2])

            swallow = cut._swallow
            cut._swallow = lambda *args: (swallow(*args), restart())  # type: ignore[method-assign]
            with pytest.raises(ServerRestarted, match="not known whether"):
                files.retire(there, ["f3"], "wrong")
            assert cut.port != before
            assert files.retire(there, ["f4"], "wrong") == 1, "what comes after knows the new server"
    assert len(database.rows("SELECT 1 FROM events WHERE kind = 'file.retired'")) == 2


def test_an_upload_whose_answer_is_lost_is_not_sent_again(cut: Cutting) -> None:
    with contextlib.closing(open_existing(cut.url)) as there:
        cut.lose, cut.path = 1, b"files.declare"
        with pytest.raises(ServerUnreachable, match="broke before"):
            files.declare(there, [{"name": "x", "size": 1}])
        assert files.declare(there, [{"name": "x", "size": 1}]) == files.Declared(1, 0, 0)


def test_another_catalog_at_the_same_address_is_noticed(tmp_path: Path, database: Database) -> None:
    with (
        contextlib.closing(create(f"sqlite:///{tmp_path}/other.db")) as other,
        served(database) as first,
        served(other) as second,
        cutting(first) as cut,
        contextlib.closing(open_existing(cut.url)) as there,
    ):
        there._transport.close()  # type: ignore[attr-defined]
        cut.port = int(second.rpartition(":")[2])
        with pytest.raises(CatalogError, match="serves another catalog by now"):
            projects.pause(there, "p", "x")


def test_an_answer_that_cannot_be_read_names_the_versions(there: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from bookkeeper.operations import REGISTRY

    assert isinstance(there, remote.RemoteCatalog)
    monkeypatch.setitem(REGISTRY["projects.status"].__dict__, "returns", datasets.Dataset)
    with pytest.raises(CatalogError, match=r"projects\.status cannot be read") as error:
        projects.status(there, "p")  # type: ignore[arg-type]
    assert f"the server is bookkeeper {bookkeeper.__version__}" in error.value.remedy


def test_sql_is_limited_over_postgresql_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from services import postgres

    with (
        contextlib.closing(create(postgres.shared().new())) as database,
        served(database) as url,
        contextlib.closing(open_existing(url)) as there,
    ):
        assert there.id == database.id
        files.declare(there, ({"name": f"f{n}", "size": n} for n in range(6)))
        assert [file["name"] for file in files.find(there, limit=2)] == ["f0", "f1"]
        assert there.rows("SELECT 1 AS one, 1.5 AS half") == [{"one": 1, "half": 1.5}]
        for query in ("DELETE FROM files", "SELECT 1; DROP TABLE files", "SELECT pg_sleep(0) FROM nowhere"):
            with pytest.raises(QueryError):
                there.rows(query)
        monkeypatch.setattr(queries, "MOST", 3)
        with pytest.raises(QueryError, match="more than 3 rows"):
            there.rows("SELECT name FROM files")
        monkeypatch.setattr(queries, "SECONDS", 0.2)
        with pytest.raises(QueryError, match="took too long"):
            there.rows("SELECT pg_sleep(30)")
        monkeypatch.undo()
        assert len(there.rows("SELECT name FROM files")) == 6
