"""`node`: list, exclude, admit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import ok, run
from failing import SEGFAULT, commit, fail, world
from ledgers import World
from services.reach import Reach


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: Reach) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    one = world(tmp_path / "bookkeeper.db")
    reach(tmp_path / "bookkeeper.db")
    yield one
    one.close()


def test_nodes_are_listed_over_all_requests(made: World) -> None:
    assert ok("node", "list").lines == ["no node has run anything yet"]
    commit(made, "n1")
    fail(made, SEGFAULT, "n2")
    ran = ok("node", "list")
    assert ran.lines[0].split()[:2] == ["node", "running"]
    assert [line.split()[:5] for line in ran.lines[1:]] == [["n1", "0", "1", "0", "0"], ["n2", "0", "0", "0", "1"]]
    rows = ok("node", "list", "--json").json
    assert [row["node"] for row in rows] == ["n1", "n2"]
    assert set(rows[0]) >= {
        "running",
        "committed",
        "failed",
        "stageout_failures",
        "waste_s",
        "excluded_until",
        "reason",
    }


def test_a_node_is_excluded_and_admitted(made: World) -> None:
    ran = ok("node", "exclude", "n1", "--for", "2h", "--reason", "its disk is full")
    assert ran.lines[0].startswith("node n1 is given nothing until ")
    assert ran.lines[1] == "→ bookkeeper node admit n1   (ends it before)"
    assert "its disk is full" in ok("node", "list").out
    (row,) = ok("node", "list", "--json").json
    assert row["excluded_until"] - made.database.now() == pytest.approx(7200, abs=60)
    assert ok("node", "admit", "n1").lines[0] == "node n1 takes files again"
    assert ok("node", "admit", "n1").lines[0] == "node n1 was not excluded"


def test_both_answer_in_json(made: World) -> None:
    said = ok("node", "exclude", "n1", "--reason", "odd", "--json").json
    assert set(said) == {"node", "until", "reason"}
    assert ok("node", "admit", "n1", "--json").json == {"node": "n1", "admitted": True}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("node", 2, "needs a verb"),
        ("node exclude n1", 2, "--reason"),
        ("node exclude n1 --reason odd --for soon", 2, "no length of time"),
        ("node exclude n1 --reason odd --for 0", 2, "no length of time"),
        ("node exclude n1 --reason=", 2, "needs a reason"),
        ("node admit n9", 3, "there is no node 'n9'"),
        ("node lost", 2, "did you mean list?"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(made: World, words: str, code: int, said: str) -> None:
    ran = run(*words.split())
    assert ran.code == code
    assert said in ran.err
    assert "→ " in ran.err
