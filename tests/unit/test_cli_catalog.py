"""`init`, `check`, `sql`, `backup`, `validate`."""

from __future__ import annotations

import csv
import io
import shutil
import sqlite3
from pathlib import Path

import pytest

from commandline import ok, run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_creates_then_finds(here: Path) -> None:
    assert ok("init").lines[0] == f"created the catalog {here}/bookkeeper.db"
    assert ok("init").out == f"the catalog {here}/bookkeeper.db is there and up to date\n"
    assert ok("init", "--json").json["created"] is False


def test_sql_as_table_json_and_csv() -> None:
    ok("init")
    query = "SELECT 1 AS a, 'x,y' AS b, NULL AS c, 2 AS a, x'00ff' AS d, 9e999 AS e"
    assert ok("sql", query).lines[0].split() == ["a", "b", "c", "a_2", "d", "e"]
    assert ok("sql", query, "--json").json == [{"a": 1, "b": "x,y", "c": None, "a_2": 2, "d": "00ff", "e": None}]
    rows = list(csv.DictReader(io.StringIO(ok("sql", query, "--csv").out)))
    assert rows == [{"a": "1", "b": "x,y", "c": "", "a_2": "2", "d": "00ff", "e": "inf"}]


def test_sql_without_rows() -> None:
    ok("init")
    assert ok("sql", "SELECT * FROM files").out == "no rows\n"
    assert ok("sql", "SELECT * FROM files", "--json").json == []


def test_sql_from_standard_input() -> None:
    ok("init")
    assert ok("sql", "-", "--json", stdin=b"SELECT 7 AS n").json == [{"n": 7}]


def test_sql_shows_control_characters_and_keeps_lines_whole() -> None:
    ok("init")
    ran = ok("sql", "SELECT char(27) || '[31m' || char(10) || printf('%0500d', 7) AS x")
    assert ran.lines == ["x", r"\x1b[31m " + "0" * 499 + "7"]


def test_sql_never_shows_a_token() -> None:
    ok("init")
    assert ok("sql", "SELECT token FROM processes", "--json").json == []


def test_backup_is_a_catalog(here: Path) -> None:
    ok("init")
    ran = ok("backup", "copy.db")
    assert ran.lines[0].startswith(f"wrote {here}/copy.db, ")
    assert ok("--catalog", "sqlite:///copy.db", "project", "list").out == "no project\n"
    assert run("backup", "copy.db").code == 4


def test_check_of_a_sound_catalog() -> None:
    ok("init")
    assert ok("check").out == "the catalog is sound\n"
    assert ok("check", "--repair", "--json").json == {"sound": True, "repaired": [], "findings": []}


def test_check_tells_a_violation_by_its_exit_code(here: Path, zmumu_folder: Path) -> None:
    ok("init")
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "all", "--names", "*")
    ok("project", "start", "p", "--dataset", "all")
    with sqlite3.connect(here / "bookkeeper.db") as database:
        database.execute("UPDATE requests SET committed = 1")
    database.close()
    ran = run("check")
    assert ran.code == 14
    assert "violation: " in ran.out
    assert ran.lines[-1].startswith("the catalog is not sound: ")
    assert run("check", "--json").json["sound"] is False


def test_validate_tells_good_from_bad(here: Path, zmumu_folder: Path) -> None:
    good, cut = zmumu_folder / "zmumu-1.root", here / "cut.root"
    shutil.copy(good, cut)
    with cut.open("r+b") as file:
        file.truncate(1000)
    row = ok("validate", good, "--json").json[0]
    assert (row["path"], row["level"], row["entries"]) == (str(good), "deep", {"events": 500})
    ran = run("validate", good, "--quick", cut)
    assert ran.code == 8
    assert "zmumu-1.root  quick" in ran.out
    assert ran.err.startswith(f"error: {cut}")
