"""The reference pages that are made from the schema are current, and leave nothing without its words."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from bookkeeper_schema import states
from bookkeeper_schema.tables import METADATA

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate.py"))


@pytest.mark.parametrize("name", ["tables.md", "states.md", "protocol.md"])
def test_page_is_current(made: dict[str, Any], name: str) -> None:
    """Made anew by ``python docs/generate.py``."""
    assert (DOCS / "reference" / name).read_text(encoding="utf-8") == made["pages"]()[name]


def test_every_column_has_its_words_and_no_words_are_left_over(made: dict[str, Any]) -> None:
    declared = {table.name: [column.name for column in table.columns] for table in METADATA.sorted_tables}
    assert {table: list(words) for table, words in made["COLUMNS"].items()} == declared


def test_every_legal_move_says_who_makes_it(made: dict[str, Any]) -> None:
    legal = {
        machine: {(a, b) for a, targets in moves.items() for b in targets}
        for machine, (_, moves) in states.MOVES.items()
    }
    assert {machine: set(moves) for machine, moves in made["BY"].items()} == legal


@pytest.mark.parametrize("kind", [kind for kind, _ in states.MOVES.values()] + [states.FileState, states.Step])
def test_every_state_says_what_it_means(made: dict[str, Any], kind: Any) -> None:
    assert list(made["meanings"](kind)) == [state.value for state in kind]
