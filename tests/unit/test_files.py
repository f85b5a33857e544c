"""Declared files: looked up, found, retired, and remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import catalog, files
from bookkeeper.catalog import Database
from bookkeeper.errors import NotFound, QueryError, UsageError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = catalog.create(f"sqlite:///{tmp_path}/catalog.db")
    yield opened
    opened.close()


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"zmumu-{number}.root",
        "size": 1000 + number,
        "checksum": f"adler32:{number:08x}",
        "entries": 500,
        "tree": "events",
        "trees": {"events": 500},
        "metadata": {"run": number},
        "locations": [f"/data/zmumu-{number}.root"],
        **changes,
    }


def test_a_file_is_a_dict_with_all_that_was_said_of_it(database: Database) -> None:
    files.declare(database, [record(1)])
    found = files.get(database, "zmumu-1.root")
    assert found.pop("declared_at") == pytest.approx(database.now(), abs=60)
    assert found == {
        "id": 1,
        "name": "zmumu-1.root",
        "size": 1001,
        "checksum": "adler32:00000001",
        "entries": 500,
        "tree": "events",
        "trees": {"events": 500},
        "version": 1,
        "state": "current",
        "metadata": {"run": 1},
    }
    assert files.locations(database, "zmumu-1.root") == ["/data/zmumu-1.root"]


def test_a_name_that_no_file_has_brings_those_that_look_alike(database: Database) -> None:
    files.declare(database, (record(number) for number in range(3)))
    with pytest.raises(NotFound, match=r"'zmuu-1\.root'") as caught:
        files.get(database, "zmuu-1.root")
    assert "zmumu-1.root" in caught.value.remedy
    with pytest.raises(NotFound) as caught:
        files.locations(database, "data/zmumu-2.root")
    assert "did you mean zmumu-2.root?" in caught.value.remedy


def test_find_takes_globs_queries_states_and_a_limit_together(database: Database) -> None:
    files.declare(database, (record(number) for number in range(12)))
    files.retire(database, ["zmumu-3.root"], "broken")

    def names(**conditions: Any) -> list[str]:
        return [file["name"] for file in files.find(database, **conditions)]

    assert len(names()) == 12
    assert names(glob="zmumu-1*") == ["zmumu-1.root", "zmumu-10.root", "zmumu-11.root"]
    assert names(where="run between 2 and 4", state="current") == ["zmumu-2.root", "zmumu-4.root"]
    assert names(glob="*[0-4].root", where="run > 1 and size < 1010", limit=2) == ["zmumu-2.root", "zmumu-3.root"]
    assert names(state="retired") == ["zmumu-3.root"]
    assert names(limit=0) == []


def test_find_pages_through_any_number_of_files(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAGE", 3)
    files.declare(database, (record(number) for number in range(10)))
    found = [file["metadata"]["run"] for file in files.find(database, where="run <> 5")]
    assert sorted(found) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert len(list(files.find(database, limit=7))) == 7


@pytest.mark.parametrize(
    ("conditions", "error"),
    [
        ({"where": "size >"}, QueryError),
        ({"glob": ""}, QueryError),
        ({"state": "lost"}, UsageError),
        ({"limit": -1}, UsageError),
    ],
)
def test_find_refuses_before_the_first_file(database: Database, conditions: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        files.find(database, **conditions)


def test_retiring_needs_a_reason_and_tells_how_many_were_current(database: Database) -> None:
    files.declare(database, [record(1), record(2)])
    with pytest.raises(UsageError):
        files.retire(database, ["zmumu-1.root"], "  ")
    assert files.retire(database, ["zmumu-1.root", "zmumu-1.root"], "two baskets broken") == 1
    assert files.retire(database, ["zmumu-1.root"], "again") == 0
    (event,) = files.history(database, "zmumu-1.root").events
    assert (event["kind"], event["body"]) == ("file.retired", {"reason": "two baskets broken"})


def test_retiring_with_an_unknown_name_retires_nothing(database: Database) -> None:
    files.declare(database, [record(1)])
    with pytest.raises(NotFound, match=r"nobody\.root"):
        files.retire(database, ["zmumu-1.root", "nobody.root"], "broken")
    assert files.get(database, "zmumu-1.root")["state"] == "current"


def test_history_tells_versions_deliveries_and_events(database: Database) -> None:
    files.declare(database, [record(1)])
    files.declare(database, [record(1, size=7, checksum=None)], update=True)
    files.retire(database, ["zmumu-1.root"], "wrong geometry")
    files.declare(database, [record(1, size=7, checksum=None)])
    history = files.history(database, "zmumu-1.root")
    assert [(row["version"], row["size"], row["until"] is None) for row in history.versions] == [
        (1, 1001, False),
        (2, 7, True),
    ]
    assert history.deliveries == []
    assert [event["kind"] for event in history.events] == ["file.retired", "file.restored"]
    with pytest.raises(NotFound):
        files.history(database, "nobody.root")
