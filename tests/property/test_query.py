"""Any query, written as text, finds the same files as a small evaluator of its meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookkeeper import catalog, files, query
from bookkeeper.catalog import Database

TEXTS = st.text(alphabet="aAbé%_*?[]!^\\' x0", max_size=4)
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -1.5, 2.0, 1e10, 2**62]))
VALUES = st.one_of(TEXTS, NUMBERS, st.booleans())
KEYS = ["k", "run_type", "andy", "_x"]
TEXT_COLUMNS = ["name", "tree"]
NUMBER_COLUMNS = ["size", "entries"]
OPERATORS = ["=", "!=", "<>", "<", "<=", ">", ">="]

ROWS = st.lists(
    st.fixed_dictionaries(
        {"size": st.integers(0, 4)},
        optional={
            "entries": st.integers(0, 4),
            "tree": st.sampled_from(["a", "A", "ab", "é"]),
            "metadata": st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
        },
    ),
    min_size=1,
    max_size=5,
)

Tree = tuple[Any, ...]


def kinds() -> st.SearchStrategy[tuple[str, st.SearchStrategy[Any]]]:
    """A name, and values that it may be compared with."""
    text = st.sampled_from([*TEXT_COLUMNS, *KEYS]).map(lambda name: (name, TEXTS))
    number = st.sampled_from([*NUMBER_COLUMNS, *KEYS]).map(lambda name: (name, NUMBERS))
    return st.one_of(text, number)


@st.composite
def predicates(draw: st.DrawFn) -> Tree:
    shape = draw(st.sampled_from(["compare", "in", "between", "null", "like", "boolean"]))
    negative = draw(st.booleans())
    if shape == "boolean":
        return ("compare", draw(st.sampled_from(KEYS)), draw(st.sampled_from(["=", "!="])), draw(st.booleans()))
    if shape == "like":
        pattern = draw(TEXTS.filter(lambda text: text and "\\" not in text))
        return ("like", draw(st.sampled_from([*TEXT_COLUMNS, *KEYS])), pattern, negative)
    name, values = draw(kinds())
    if shape == "compare":
        return ("compare", name, draw(st.sampled_from(OPERATORS)), draw(values))
    if shape == "in":
        return ("in", name, draw(st.lists(values, min_size=1, max_size=3)), negative)
    if shape == "between":
        return ("between", name, draw(values), draw(values), negative)
    return ("null", name, negative)


TREES = st.recursive(
    predicates(),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=8,
)


def written(tree: Tree) -> str:
    match tree:
        case ("and" | "or" as word, parts):
            return f" {word.upper()} ".join(f"({written(part)})" for part in parts)
        case ("not", part):
            return f"not ({written(part)})"
        case ("compare", name, operator, value):
            return f"{name} {operator} {literal(value)}"
        case ("like", name, pattern, negative):
            return f"{name} {'not ' * negative}like {literal(pattern)}"
        case ("in", name, values, negative):
            return f"{name} {'not ' * negative}in ({', '.join(map(literal, values))})"
        case ("between", name, low, high, negative):
            return f"{name} {'not ' * negative}between {literal(low)} and {literal(high)}"
        case ("null", name, negative):
            return f"{name} is {'not ' * negative}null"
    raise AssertionError(tree)


def literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()


def meaning(tree: Tree, row: dict[str, Any]) -> bool | None:
    """SQL's logic: None is unknown."""
    match tree:
        case ("and", parts):
            found = [meaning(part, row) for part in parts]
            return False if False in found else None if None in found else True
        case ("or", parts):
            found = [meaning(part, row) for part in parts]
            return True if True in found else None if None in found else False
        case ("not", part):
            return negated(meaning(part, row), True)
        case ("null", name, negative):
            return (row.get(name) is None) != negative
        case ("compare", name, operator, value):
            return compared(row.get(name), operator, value)
        case ("like", name, pattern, negative):
            text = row.get(name)
            if not isinstance(text, str):
                return None
            regex = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern)
            return negated(re.fullmatch(regex, text, re.DOTALL) is not None, negative)
        case ("in", name, values, negative):
            found = [compared(row.get(name), "=", value) for value in values]
            return negated(None if None in found else True in found, negative)
        case ("between", name, low, high, negative):
            return negated(
                meaning(("and", [("compare", name, ">=", low), ("compare", name, "<=", high)]), row), negative
            )
    raise AssertionError(tree)


def negated(value: bool | None, negative: bool) -> bool | None:
    return value if value is None else value != negative


def compared(value: Any, operator: str, other: Any) -> bool | None:
    if value is None or kind(value) is not kind(other):
        return None
    return {
        "=": value == other,
        "!=": value != other,
        "<>": value != other,
        "<": value < other,
        "<=": value <= other,
        ">": value > other,
        ">=": value >= other,
    }[operator]


def kind(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = catalog.create(f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.db")
    yield opened
    opened.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=ROWS, trees=st.lists(TREES, min_size=1, max_size=4))
def test_a_query_finds_what_it_means(database: Database, rows: list[dict[str, Any]], trees: list[Tree]) -> None:
    with database.transaction() as tx:
        tx.run("DELETE FROM files")
    records = [{**row, "name": f"{'aA'[number % 2]}{number}"} for number, row in enumerate(rows)]
    files.declare(database, records)
    flat = [{**record.get("metadata", {}), **record} for record in records]
    for tree in trees:
        text = written(tree)
        found = {file["name"] for file in files.find(database, where=text)}
        assert found == {row["name"] for row in flat if meaning(tree, row) is True}, text


@given(st.text(max_size=60) | st.text(alphabet="ab =<>!'()%,.0-1andornotlikeinbetweenisnull ", max_size=60))
def test_any_text_is_a_query_or_a_query_error(text: str) -> None:
    try:
        query.compile(query.parse(text))
    except query.language.QueryError as error:
        assert error.remedy
