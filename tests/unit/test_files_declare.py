"""Declaring: a list is taken whole or not at all, and what is declared again is the same, completed, or a change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import catalog, declaration, files
from bookkeeper.catalog import Database
from bookkeeper.errors import FileChanged, UsageError
from bookkeeper.files import Declared
from bookkeeper.scanning import FileRecord


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = catalog.create(f"sqlite:///{tmp_path}/catalog.db")
    yield opened
    opened.close()


def record(name: str = "a.root", size: int = 10, **more: Any) -> dict[str, Any]:
    return {"name": name, "size": size, **more}


def test_records_are_mappings_or_what_a_scan_yields(database: Database) -> None:
    scanned = FileRecord("b.root", 20, "adler32:00000002", 5, "events", {"events": 5}, {"run": 1}, ("/data/b.root",))
    assert files.declare(database, [record(), scanned]) == Declared(new=2, unchanged=0, updated=0)
    found = files.get(database, "b.root")
    assert (found["entries"], found["trees"], found["metadata"]) == (5, {"events": 5}, {"run": 1})
    assert files.locations(database, "b.root") == ["/data/b.root"]


def test_nothing_is_nothing(database: Database) -> None:
    assert files.declare(database, []) == Declared(0, 0, 0)


def test_lists_of_any_length_go_in_by_chunks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaration, "CHUNK", 4)
    told: list[int] = []
    first = [record(f"{number}.root", number, locations=[f"/d/{number}"]) for number in range(10)]
    assert files.declare(database, iter(first), on_progress=told.append).new == 10
    assert told == [4, 8, 10]
    mixed = [record(f"{number}.root", number, locations=[f"/e/{number}"]) for number in range(5, 15)]
    assert files.declare(database, iter(mixed)) == Declared(new=5, unchanged=5, updated=0)
    assert files.locations(database, "3.root") == ["/d/3"]
    assert files.locations(database, "7.root") == ["/d/7", "/e/7"]
    assert files.locations(database, "12.root") == ["/e/12"]
    assert {file["name"]: file["size"] for file in files.find(database)} == {f"{n}.root": n for n in range(15)}


def test_the_checksum_takes_its_one_form(database: Database) -> None:
    files.declare(database, [record("a", checksum="AD:1F"), record("b", checksum="0000002a")])
    assert files.get(database, "a")["checksum"] == "adler32:0000001f"
    assert files.get(database, "b")["checksum"] == "adler32:0000002a"


def test_metadata_keeps_its_types_and_any_text(database: Database) -> None:
    metadata = {"run": 3, "scale": 0.1, "good": True, "note": 'say "é\\\n"', "none": None, "big": 2**63 - 1}
    files.declare(database, [record(metadata=metadata), record("none", metadata={"x": None})])
    kept = files.get(database, "a.root")["metadata"]
    assert kept == {key: value for key, value in metadata.items() if value is not None}
    assert kept["good"] is True
    assert files.get(database, "none")["metadata"] == {}


def test_an_unchanged_file_is_no_error_and_is_completed(database: Database) -> None:
    files.declare(database, [record(locations=["/a"], metadata={"run": 1})])
    again = record(checksum="adler32:00000001", entries=5, locations=["/b"], metadata={"run": 1, "kind": "mc"})
    assert files.declare(database, [again]) == Declared(new=0, unchanged=1, updated=0)
    found = files.get(database, "a.root")
    assert (found["checksum"], found["entries"], found["version"]) == ("adler32:00000001", 5, 1)
    assert found["metadata"] == {"run": 1, "kind": "mc"}
    assert files.locations(database, "a.root") == ["/a", "/b"]
    assert files.declare(database, [record()]) == Declared(new=0, unchanged=1, updated=0)
    assert files.get(database, "a.root") == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 11}, "size 10 → 11"),
        ({"checksum": "adler32:00000002"}, "checksum adler32:00000001 → adler32:00000002"),
        ({"entries": 6}, "entries 5 → 6"),
        ({"metadata": {"run": 2}}, "run 1 → 2"),
        ({"metadata": {"run": True}}, "run 1 → true"),
        ({"metadata": {"run": "1"}}, "run 1 → 1"),
        ({"trees": {"events": 6}}, 'trees {"events": 5} → {"events": 6}'),
    ],
)
def test_a_changed_file_is_refused_with_the_way_out(database: Database, change: dict[str, Any], said: str) -> None:
    known = record(checksum="adler32:00000001", entries=5, trees={"events": 5}, metadata={"run": 1})
    files.declare(database, [known])
    before = files.get(database, "a.root")
    with pytest.raises(FileChanged) as caught:
        files.declare(database, [record("new.root"), known | change])
    assert f"a.root is not what was declared: {said}; nothing was declared" == str(caught.value)
    assert "--update" in caught.value.remedy
    assert "retire" in caught.value.remedy
    assert [file["name"] for file in files.find(database)] == ["a.root"]
    assert files.get(database, "a.root") == before


def test_many_changed_files_are_counted_and_the_first_named(database: Database) -> None:
    files.declare(database, [record(f"{number}.root") for number in range(9)])
    with pytest.raises(FileChanged) as caught:
        files.declare(database, [record(f"{number}.root", 11) for number in range(9)])
    lines = str(caught.value).splitlines()
    assert lines[0] == "9 files are not what was declared; nothing was declared:"
    assert lines[1] == "  0.root: size 10 → 11"
    assert lines[-1] == "  and 4 more"


def test_update_makes_a_new_version_and_keeps_the_old_one(database: Database) -> None:
    files.declare(database, [record(checksum="adler32:00000001", entries=5, locations=["/a"], metadata={"run": 1})])
    new = record(size=12, entries=6, locations=["/b"], metadata={"kind": "mc"})
    assert files.declare(database, [new], update=True) == Declared(new=0, unchanged=0, updated=1)
    found = files.get(database, "a.root")
    assert (found["size"], found["checksum"], found["entries"], found["version"]) == (12, None, 6, 2)
    assert found["metadata"] == {"run": 1, "kind": "mc"}
    assert files.locations(database, "a.root") == ["/b"]
    (old, _) = files.history(database, "a.root").versions
    assert (old["size"], old["checksum"], old["entries"]) == (10, "adler32:00000001", 5)


def test_update_without_locations_keeps_those_that_are_known(database: Database) -> None:
    files.declare(database, [record(locations=["/a"])])
    files.declare(database, [record(size=12)], update=True)
    assert files.locations(database, "a.root") == ["/a"]


def test_update_of_the_description_alone_makes_no_new_version(database: Database) -> None:
    files.declare(database, [record(entries=5, metadata={"run": 1}, locations=["/a"])])
    changed = record(entries=6, metadata={"run": 2}, locations=["/b"])
    assert files.declare(database, [changed], update=True).updated == 1
    found = files.get(database, "a.root")
    assert (found["entries"], found["metadata"], found["version"]) == (6, {"run": 2}, 1)
    assert files.locations(database, "a.root") == ["/a", "/b"]


def test_a_retired_file_declared_again_is_current(database: Database) -> None:
    files.declare(database, [record()])
    files.retire(database, ["a.root"], "broken")
    with pytest.raises(FileChanged):
        files.declare(database, [record(size=11)])
    assert files.declare(database, [record()]) == Declared(new=0, unchanged=0, updated=1)
    assert files.get(database, "a.root")["state"] == "current"
    files.retire(database, ["a.root"], "broken")
    files.declare(database, [record(size=11)], update=True)
    assert (files.get(database, "a.root")["state"], files.get(database, "a.root")["version"]) == ("current", 2)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("chunk", [2, 100])
def test_a_name_twice_in_a_list_is_one_file_or_a_contradiction(
    database: Database, known: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declaration, "CHUNK", chunk)
    if known:
        files.declare(database, [record("other"), record("twice")])
    others = [record(f"{number}.root") for number in range(4)]
    listed = [record("first"), record("twice", locations=["/a"]), *others, record("twice", locations=["/b"])]
    declared = files.declare(database, listed)
    assert (declared.new, declared.unchanged) == ((5, 1) if known else (6, 0))
    assert files.locations(database, "twice") == ["/a", "/b"]
    listed = [record("twice", 11), record("later"), record("new", 1), record("new", 2)]
    with pytest.raises(UsageError, match=r"records 3 and 4 are both called new and differ: size 1 → 2"):
        files.declare(database, listed, update=True)
    with pytest.raises(UsageError, match=r"records 1 and 3 are both called twice and differ: size 11 → 10"):
        files.declare(database, [record("twice", 11), record("x"), record("twice", 10)], update=True)
    assert files.get(database, "twice")["size"] == 10


WRONG: list[tuple[Any, str]] = [
    ({"size": 1}, "name is missing"),
    (record(""), "name is ''"),
    (record("x" * 1001), "1 to 1000 characters"),
    (record("/a"), "no / at its ends"),
    (record("a\nb"), "control character"),
    (record("a\udcff"), "name is"),
    (record(3), "name is 3"),  # type: ignore[arg-type]
    ({"name": "a"}, "size is missing; it must be a whole number, 0 or more"),
    (record(size=-1), "size is -1"),
    (record(size=1.5), "size is 1.5"),  # type: ignore[arg-type]
    (record(size=True), "size is True"),
    (record(size="10"), "size is '10'"),  # type: ignore[arg-type]
    (record(size=2**63), "size is 9223372036854775808"),
    (record(checksum="md5:00"), "checksum is 'md5:00'; it must be adler32: and eight hexadecimal digits"),
    (record(checksum=7), "checksum is 7"),
    (record(entries=-1), "entries is -1"),
    (record(tree=""), "tree is ''"),
    (record(trees={"events": -1}), "trees events is -1"),
    (record(trees=["events"]), "trees is"),
    (record(metadata=[1]), "metadata is [1]"),
    (record(metadata={"a-b": 1}), "metadata key 'a-b' cannot be used"),
    (record(metadata={"size": 1}), "metadata key 'size' cannot be used"),
    (record(metadata={"Like": 1}), "metadata key 'Like' cannot be used"),
    (record(metadata={"x": [1]}), "metadata x is [1]; it must be a text, a finite number, true or false"),
    (record(metadata={"x": math.nan}), "metadata x is nan"),
    (record(metadata={"x": 2**64}), "metadata x is"),
    (record(metadata={"x": "a\0"}), "metadata x is"),
    (record(locations=["data/a.root"]), "locations is 'data/a.root'; it must be absolute paths or URLs"),
    (record(locations=5), "locations is 5"),
    (record(locations=[""]), "locations is ''"),
    (record(colour="red"), "'colour' is no field of a file"),
    ("a.root", "'a.root' is no record of a file"),
    (None, "None is no record of a file"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_record_is_named_and_nothing_is_declared(database: Database, wrong: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        files.declare(database, [record("good.root"), wrong])
    assert str(caught.value).startswith("record 2")
    assert said in str(caught.value)
    assert caught.value.remedy
    assert list(files.find(database)) == []


def test_a_scan_that_fails_declares_nothing_and_holds_no_lock(database: Database) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield record("a.root")
        files.declare(database, [record("by-another.root")])  # others write while a scan goes on
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        files.declare(database, failing())
    assert [file["name"] for file in files.find(database)] == ["by-another.root"]
