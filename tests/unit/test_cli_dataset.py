"""`dataset`: define, list, show, snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commandline import ok, run
from services.reach import Reach


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path, reach: Reach) -> Path:
    monkeypatch.chdir(tmp_path)
    reach(tmp_path / "bookkeeper.db")
    ok("file", "declare", zmumu_folder)
    return tmp_path


def test_define_by_globs_query_and_list(here: Path) -> None:
    assert ok("dataset", "define", "a", "--names", "*-1.root", "--names", "*-2.root").lines[0] == "dataset a: 2 files"
    assert ok("dataset", "define", "b", "--where", "entries = 500").lines[0] == "dataset b: 6 files"
    (here / "names.txt").write_text("zmumu-3.root\n")
    assert ok("dataset", "define", "c", "--from-list", "names.txt", "--json").json["files"] == 1
    assert ok("dataset", "define", "d", "--from-list", "-", stdin=b"zmumu-4.root\n").lines[0] == "dataset d: 1 file"
    assert [row["kind"] for row in ok("dataset", "list", "--json").json] == ["names", "where", "list", "list"]


def test_an_empty_definition_is_told() -> None:
    ran = ok("dataset", "define", "none", "--names", "nothing*")
    assert ran.lines[0] == "dataset none: 0 files"


def test_an_unknown_key_is_noted() -> None:
    assert "note: " in ok("dataset", "define", "x", "--where", "no_such_key = 1").err


def test_another_definition_needs_an_update() -> None:
    ok("dataset", "define", "a", "--names", "*")
    ok("dataset", "define", "a", "--names", "*")
    ran = run("dataset", "define", "a", "--where", "entries > 1")
    assert (ran.code, "--update" in ran.err) == (4, True)
    ok("dataset", "define", "a", "--where", "entries > 1", "--update")


def test_show_with_snapshots_and_files() -> None:
    ok("dataset", "define", "a", "--names", "*")
    assert "none yet" in ok("dataset", "show", "a").out
    assert ok("dataset", "snapshot", "a").out.startswith("snapshot 1 of a: 6 files, ")
    assert ok("dataset", "show", "a", "--json").json["snapshots"][0]["entries"] == 3000
    assert ok("dataset", "show", "a", "--files").lines == [f"zmumu-{n}.root" for n in range(1, 7)]
    assert ok("dataset", "show", "a", "--files", "--json").json[0]["size"] > 0


def listed(here: Path, zmumu: Path, **more: object) -> Path:
    content = {
        "low": [f"{zmumu}/zmumu-{n}.root" for n in (1, 2)],
        "high": {"files": [f"{zmumu}/zmumu-3.root"], "xs": 2.5},
    }
    path = here / "samples.json"
    path.write_text(json.dumps(content | more))
    return path


def test_a_sample_list_defines_a_dataset_for_each_sample(here: Path, zmumu_folder: Path) -> None:
    path = listed(here, zmumu_folder)
    assert ok("dataset", "define", "--from-json", path).lines[:2] == ["dataset low: 2 files", "dataset high: 1 file"]
    assert ok("dataset", "show", "low", "--files").lines == ["zmumu-1.root", "zmumu-2.root"]
    again = ok("dataset", "define", "high", "--from-json", path, "--json").json
    assert (again["name"], again["files"]) == ("high", 1)
    ran = run("dataset", "define", "medium", "--from-json", path)
    assert (ran.code, "it has low, high" in ran.err) == (3, True)


def test_the_files_of_a_sample_list_are_declared_with_what_is_known(here: Path, tmp_path: Path) -> None:
    for sample in ("a", "b"):
        (tmp_path / sample).mkdir()
        (tmp_path / sample / "nano_1.txt").write_text(sample)
    path = here / "samples.json"
    path.write_text(json.dumps({"A": {"files": ["a/nano_1.txt"], "xs": 2.5}, "B": ["b/nano_1.txt"]}))
    ran = run("dataset", "define", "--from-json", path, "--declare")
    assert (ran.code, "2 files of the list are called 'nano_1.txt'" in ran.err, "--by-sample" in ran.err) == (
        2,
        True,
        True,
    )
    ran = run("dataset", "define", "--from-json", path, "--by-sample")
    assert (ran.code, "sample A: no file is called 'A/nano_1.txt'" in ran.err, "--declare" in ran.err) == (
        3,
        True,
        True,
    )
    made = ok("dataset", "define", "--from-json", path, "--declare", "--by-sample", "--json").json
    assert [(one["name"], one["files"]) for one in made] == [("A", 1), ("B", 1)]
    shown = ok("file", "show", "A/nano_1.txt", "--json").json
    assert shown["metadata"] == {"sample": "A", "xs": 2.5}
    assert shown["locations"] == [str(tmp_path / "a/nano_1.txt")]
    ok("dataset", "define", "--from-json", path, "--declare", "--by-sample")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--names", "*"], "the dataset has no name"),
        (["x", "--names", "*", "--declare"], "are for a sample list"),
        (["--from-json", "f", "--names", "*"], "a sample list is a definition by itself"),
        (["--from-json", "none.json"], "there is no list"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], said: str) -> None:
    ran = run("dataset", "define", *words)
    assert ran.code in (2, 3)
    assert said in ran.err
