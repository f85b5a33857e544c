"""Datasets: one definition under one name, what it means now, and what it meant when a snapshot was taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import catalog, datasets, files
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, Conflict, NotAllowed, NotFound, QueryError, UsageError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = catalog.create(f"sqlite:///{tmp_path}/catalog.db")
    files.declare(opened, (record(number) for number in range(6)))
    yield opened
    opened.close()


def record(number: int) -> dict[str, Any]:
    kind = "mc" if number % 2 else "data"
    return {"name": f"{kind}-{number}.root", "size": 100, "entries": number, "metadata": {"run_type": kind}}


def names(database: Database, dataset: str) -> list[str]:
    return [file["name"] for file in datasets.files_of(database, dataset)]


def test_the_three_kinds_of_definition(database: Database) -> None:
    by_names = datasets.define(database, "by-names", names=["mc-*", "data-[02].root"])
    by_query = datasets.define(database, "by-query", where="run_type = 'mc' and entries > 1")
    by_list = datasets.define(database, "by-list", files=["mc-1.root", "data-0.root", "mc-1.root"])
    assert (by_names.kind, by_names.definition, by_names.files) == ("names", ("mc-*", "data-[02].root"), 5)
    assert (by_query.kind, by_query.files, by_query.warnings) == ("where", 2, ())
    assert (by_list.kind, by_list.definition, by_list.files) == ("list", (), 2)
    assert names(database, "by-names") == ["data-0.root", "data-2.root", "mc-1.root", "mc-3.root", "mc-5.root"]
    assert names(database, "by-query") == ["mc-3.root", "mc-5.root"]
    assert names(database, "by-list") == ["data-0.root", "mc-1.root"]
    assert [dataset.name for dataset in datasets.list_all(database)] == ["by-list", "by-names", "by-query"]


@pytest.mark.parametrize("kind", [{"names": ["mc-*"]}, {"where": "entries > 1"}, {"files": ["mc-1.root"]}])
def test_the_same_definition_again_is_no_error_and_another_needs_update(database: Database, kind: Any) -> None:
    first = datasets.define(database, "mine", **kind)
    assert datasets.define(database, "mine", **kind) == first
    for other in ({"names": ["data-*"]}, {"where": "entries > 2"}, {"files": ["mc-1.root", "mc-3.root"]}):
        with pytest.raises(Conflict) as caught:
            datasets.define(database, "mine", **other)
        assert "--update" in caught.value.remedy
    assert datasets.get(database, "mine") == first
    datasets.define(database, "mine", files=["data-0.root"], update=True)
    assert names(database, "mine") == ["data-0.root"]
    datasets.define(database, "mine", **kind, update=True)
    assert datasets.get(database, "mine") == first


@pytest.mark.parametrize(
    ("name", "definition", "error", "said"),
    [
        ("a b", {"names": ["*"]}, UsageError, "'a b' is no name for a dataset"),
        ("d", {}, UsageError, "exactly one kind"),
        ("d", {"names": ["*"], "where": "size > 1"}, UsageError, "exactly one kind"),
        ("d", {"names": []}, QueryError, "0 globs"),
        ("d", {"names": [""]}, QueryError, "is no pattern"),
        ("d", {"where": "size >"}, QueryError, "character 7"),
        ("d", {"files": []}, UsageError, "is empty"),
        ("d", {"files": ["mc-1.root", "nobody.root"]}, NotFound, r"no file is called 'nobody\.root'"),
        ("d", {"files": [f"x{n}" for n in range(9)]}, NotFound, "'x4' and 4 more"),
    ],
)
def test_wrong_definitions_define_nothing(
    database: Database, name: str, definition: Any, error: type[BookkeeperError], said: str
) -> None:
    with pytest.raises(error, match=said):
        datasets.define(database, name, **definition)
    assert datasets.list_all(database) == []


def test_a_key_that_no_file_has_is_a_warning(database: Database) -> None:
    dataset = datasets.define(database, "typo", where="runtype = 'mc'")
    assert dataset.warnings == ("no file has metadata 'runtype'; did you mean run_type?",)
    assert dataset.files == 0


def test_an_unknown_dataset_brings_those_that_look_alike(database: Database) -> None:
    datasets.define(database, "zmumu", names=["*"])
    for ask in (datasets.get, datasets.files_of, datasets.snapshot, datasets.snapshots):
        with pytest.raises(NotFound, match="'zmuu'") as caught:
            ask(database, "zmuu")
        assert "did you mean zmumu?" in caught.value.remedy


def test_a_snapshot_freezes_current_files_and_their_versions(database: Database) -> None:
    datasets.define(database, "mc", names=["mc-*"])
    files.declare(database, [{"name": "mc-3.root", "size": 50}], update=True)
    files.retire(database, ["mc-5.root"], "broken")
    first = datasets.snapshot(database, "mc")
    assert (first.files, first.bytes, first.entries) == (2, 150, None)  # the new content's entries are not known
    files.declare(database, [{"name": "mc-7.root", "size": 1}])
    second = datasets.snapshot(database, "mc")
    assert second.files == 3
    assert [datasets.grown_since(database, "mc", taken.id) for taken in (first, second)] == [1, 0]
    assert datasets.snapshots(database, "mc") == [first, second]
    rows = database.rows("SELECT file_id, version FROM snapshot_files WHERE snapshot_id = ?", (first.id,))
    assert [tuple(row.values()) for row in rows] == [(2, 1), (4, 2)]


def test_a_snapshot_is_immutable(database: Database) -> None:
    datasets.define(database, "mc", names=["mc-*"])
    datasets.snapshot(database, "mc")
    for statement in ("UPDATE snapshot_files SET version = 9", "DELETE FROM snapshot_files"):
        with pytest.raises(BookkeeperError, match="immutable"), database.transaction() as tx:
            tx.run(statement)


def test_entries_are_summed_where_all_are_known(database: Database) -> None:
    datasets.define(database, "all", names="*")
    assert datasets.snapshot(database, "all").entries == 15


def test_an_empty_dataset_has_no_snapshot(database: Database) -> None:
    datasets.define(database, "none", names=["nothing-*"])
    with pytest.raises(NotAllowed, match=r"'none' is empty: names nothing-\*") as caught:
        datasets.snapshot(database, "none")
    assert "bookkeeper dataset show none" in caught.value.remedy
    assert datasets.snapshots(database, "none") == []
