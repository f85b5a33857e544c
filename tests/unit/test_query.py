"""The query language: what it means, and what it says to those who write something else."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import catalog, files, query
from bookkeeper.catalog import Database
from bookkeeper.errors import QueryError
from bookkeeper.query.conditions import glob_pattern, like_pattern
from bookkeeper.query.language import MAX_LENGTH, RESERVED


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("catalog")
    opened = catalog.create(f"sqlite:///{folder}/catalog.db")
    records = [
        {"name": "uproot-Zmumu.root", "size": 100, "entries": 2304, "metadata": {"run_type": "mc", "run": 7}},
        {"name": "uproot-zlib.root", "size": 200, "entries": 10, "metadata": {"run_type": "data", "run": 8.5}},
        {"name": "it's.root", "size": 300, "metadata": {"good": True, "run": "7"}, "checksum": "adler32:0000001f"},
        {"name": "50%_[x].root", "size": 400, "metadata": {"good": False, "like_this": 1}, "tree": "events"},
    ]
    files.declare(opened, records)
    yield opened
    opened.close()


ALL = [100, 200, 300, 400]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("run_type = 'mc' and entries > 1000 and name like 'uproot-Z%'", [100]),
        ("name like 'uproot-z%'", [200]),
        ("name like '%\\%\\_[x]%'", [400]),
        ("name like '50_%'", [400]),
        ("name not like 'uproot%'", [300, 400]),
        ("name glob 'uproot-[A-Z]*'", [100]),
        ("name glob '*[!t]-[!Z]*' or name not glob '*.root'", []),
        ("name = 'it''s.root'", [300]),
        ("SIZE is null AND size = 100", [100]),
        ("size >= 200 and size<400", [200, 300]),
        ("size != 100 and size <> 400", [200, 300]),
        ("size in (100, 400, 5)", [100, 400]),
        ("size not in (100, 400)", [200, 300]),
        ("size between 150 and 300 and not size between 250 and 300", [200]),
        ("size not between 150 and 300", [100, 400]),
        ("size = 1e2 or size = +2.0E2 or size > .5e3 or size = -1", [100, 200]),
        ("entries is null", [300, 400]),
        ("tree is not null and state = 'current'", [400]),
        ("checksum like 'adler32:%1f'", [300]),
        ("declared_at > '2020-01-01' and declared_at > '2020-01-01T00:00:00+01:00' and declared_at > 0", ALL),
        ("declared_at < '2020-01-01T12:00:00Z'", []),
        ("good = true", [300]),
        ("good != true", [400]),
        ("good = 1 or good = 'true'", []),
        ("run = 7", [100]),
        ("run = '7'", [300]),
        ("run > 7", [200]),
        ("not run > 7", [100]),
        ("run not in (7, 9)", [200]),
        ("run is not null", [100, 200, 300]),
        ("run_type <> 'mc'", [200]),
        ("not (run_type = 'mc' or run_type is null)", [200]),
        ("like_this = 1", [400]),
        ("size = 100 or size = 200 and entries = 10 and run = 0", [100]),
        ("(size = 100 or size = 200) and entries = 10", [200]),
        ("not not size = 100", [100]),
        ("nobody = 'x'", []),
        ("\n size\t=\n100 ", [100]),
    ],
)
def test_what_a_query_means(database: Database, text: str, sizes: list[int]) -> None:
    assert sorted(file["size"] for file in files.find(database, where=text)) == sizes


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("size >", 7, "expected a number, a text in single quotes, true or false"),
        ("size > and", 8, "expected a number"),
        ("and", 1, "expected a column or metadata key or ("),
        ("run_type", 9, "expected a comparison (=, <, like, in, between, is null, …)"),
        ("run_type = 'mc", 12, "this quote is never closed"),
        ('run_type = "mc"', 12, "text is written in single quotes"),
        ("run_type = mc", 12, "if mc is a text, write 'mc'"),
        ("run_type = null", 12, "write `is null` or `is not null`"),
        ("run_type is 3", 13, "null"),
        ("run_type like 3", 15, "expected a text in single quotes"),
        ("size = 1 size = 2", 10, "expected `and` or `or`"),
        ("(size = 1", 10, "expected `and` or `or` or )"),
        ("size = 1)", 9, "expected `and` or `or`"),
        ("run in ()", 9, "expected a number"),
        ("run in (1 2)", 11, "expected a comma or )"),
        ("run in (1, 'a')", 12, "of one kind"),
        ("run between 1 or 2", 15, "expected `and`"),
        ("size = 'big'", 8, "size is a number, and this is none"),
        ("name = 3", 8, "name is a text, and this is none"),
        ("name = true", 8, "name is a text"),
        ("size like '1%'", 1, "size is a number: it matches no pattern"),
        ("good > true", 6, "never more or less"),
        ("good between false and true", 14, "no range"),
        ("declared_at > 'yesterday'", 15, "write a time as '2025-12-31'"),
        ("version = 2", 1, "taken by a file's own columns"),
        ("size = 99999999999999999999", 8, "too large"),
        ("size = 1e999", 8, "too large"),
        (f"size = {'9' * 5000}", 8, "too large"),
        ("size = 10kB", 8, "this is no number"),
        ("größe = 1", 3, "no word of a query"),
        ("size = 1; drop table files", 9, "no word of a query"),
        ("name like ''", 11, "is no pattern"),
        ("name like 'a\\'", 11, "backslash"),
        ("name = 'a\0'", 10, "no character"),
        (f"{'k' * 101} = 1", 1, "at most 100"),
    ],
)
def test_an_error_shows_the_place_and_what_was_expected(text: str, position: int, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        query.parse(text)
    head, line, caret = str(caught.value).split("\n")
    assert head.startswith(f"the query cannot be read at character {position}: ")
    assert said in head
    assert len(caret) == 2 + min(position, 41)
    assert line[len(caret) - 1 :][:1] in {text[position - 1 : position], "", "?"}
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "(" * 1_000_000,
        "(" * (MAX_LENGTH - 1),
        "not " * 2400 + "a = 1",
        "(a = 1 and " * 900,
        "a = 1 or " * 1000 + "a = 1",
        "a in (" + "1," * 4990 + "1",
        "".join(f"not (a = {n} or " for n in range(60)) + "a = 1" + ")" * 60,
        "'" + "'" * 9000,
        "a = " + "'x' = " * 1000,
    ],
)
def test_a_hostile_query_is_an_error_like_any_other(text: str) -> None:
    with pytest.raises(QueryError):
        query.parse(text)


def test_the_largest_queries_that_are_allowed_are_answered(database: Database) -> None:
    for text in (
        " or ".join(f"a{n}=1" for n in range(499)) + " or size = 100",
        "size in (" + ",".join(str(n) for n in range(2000)) + ")",
        "(" * 4000 + "size = 100" + ")" * 4000,
        "not " * 50 + "size = 100",
    ):
        assert {file["size"] for file in files.find(database, where=text)} >= {100}


def test_nothing_of_the_users_is_in_the_sql() -> None:
    fragment = query.compile(query.parse("name = 'robert''); drop table files; --' and kind like 'x%'"))
    assert "robert" not in fragment.sql
    assert "kind" not in fragment.sql
    assert "robert'); drop table files; --" in fragment.parameters.values()


def test_keys_that_no_file_has_are_warnings(database: Database) -> None:
    parsed = query.parse("run_typ = 'mc' and run > 1 and xyzzy is null and Size > 1")
    assert parsed.keys == ("Size", "run", "run_typ", "xyzzy")
    assert query.warnings(database, parsed) == (
        "no file has metadata 'Size'; did you mean size?",
        "no file has metadata 'run_typ'; did you mean run_type or run?",
        "no file has metadata 'xyzzy'",
    )


@pytest.mark.parametrize("word", sorted(RESERVED | {word.upper() for word in RESERVED}))
def test_words_of_the_language_are_no_keys(word: str) -> None:
    assert query.check_key(word)
    with pytest.raises(QueryError):
        query.parse(f"{word} = 1")


@pytest.mark.parametrize("key", ["", "a b", "1a", "a-b", "ä", "name", "id", 3, None, "a\n"])
def test_what_is_no_key(key: object) -> None:
    assert query.check_key(key)


GLOBS = [
    "*",
    "?",
    "a*",
    "*b?",
    "[ab]*",
    "[!ab]*",
    "[a-c]?",
    "[]]",
    "[!]]",
    "[",
    "a[",
    "[]",
    "[!]",
    "*[*]*",
    "[a-",
    "x[?]",
]
NAMES = ["a", "ab", "b", "abc", "]", "[", "a[", "[]", "[!]", "x?", "xy", "*", "[a-", "é", "c/d", "cb"]


@pytest.mark.parametrize("glob", GLOBS)
def test_globs_match_as_those_of_fnmatch(database: Database, glob: str) -> None:
    statement = "SELECT :name GLOB :pattern AS matches"
    for name in NAMES:
        (row,) = database.rows(statement, {"name": name, "pattern": glob_pattern(glob)})
        assert bool(row["matches"]) == fnmatch.fnmatchcase(name, glob), name


@pytest.mark.parametrize("like", ["%", "_", "a%", "%b_", "\\%", "a\\_b", "[ab]", "*", "?", "\\\\", "A%", "%]%", "\\a"])
def test_like_matches_with_regard_to_case_and_has_its_own_wildcards_only(database: Database, like: str) -> None:
    pieces = re.findall(r"\\.|.", like)
    pattern = "".join({"%": ".*", "_": "."}.get(piece, re.escape(piece[-1])) for piece in pieces)
    for name in ["a", "A", "ab", "abc", "a_b", "axb", "%", "\\", "[ab]", "*", "?", "x]y"]:
        (row,) = database.rows("SELECT :name GLOB :like AS matches", {"name": name, "like": like_pattern(like)})
        assert bool(row["matches"]) == bool(re.fullmatch(pattern, name)), name
