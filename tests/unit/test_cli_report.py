"""`report`: on the terminal, as JSON, as a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import ok, run
from failing import FULL, SEGFAULT, commit, fail, world
from ledgers import World
from services.reach import Reach


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: Reach) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    one = world(tmp_path / "bookkeeper.db")
    reach(tmp_path / "bookkeeper.db")
    yield one
    one.close()


def lived(made: World) -> None:
    for number in range(3):
        commit(made, "n1.site.org", entries_per_s=50.0)
        commit(made, "n2.site.org", entries_per_s=9.0 + number)
    commit(made, "n1.site.org", entries_per_s=50.0)
    fail(made, SEGFAULT, "n2.site.org")
    fail(made, FULL, "n1.site.org")


def test_a_report_on_the_terminal(made: World) -> None:
    lived(made)
    ran = ok("report", "p")
    assert ran.lines[0].startswith("p  open  7 of 20 files committed")
    assert "processes     0 running, 7 successful, 1 failed, 1 stage-out failure" in ran.lines
    assert "nodes of site.org" in ran.lines
    (row,) = [line.split() for line in ran.lines if line.strip().startswith("n2 ")]
    assert row[:5] == ["n2", "0", "3", "0", "1"]
    assert "  slow: n2.site.org is 5.0 times slower (10 entries/s in the median, all nodes 50)" in ran.lines
    assert any(line.startswith("  memory      |") for line in ran.lines)
    assert "efficiency    80 % (CPU time / wall time, 7 measured processes)" in ran.lines
    assert "lost time" in ran.lines


def test_a_report_as_json_has_stable_keys(made: World) -> None:
    lived(made)
    view = ok("report", "p", "--json").json
    assert set(view) == {
        *("request", "project", "at", "status", "totals", "nodes", "wall_time_s", "peak_rss_mb", "cpu_efficiency"),
        *("speed", "slow_nodes", "progress", "waste"),
    }
    assert set(view["wall_time_s"]) == {"count", "min", "median", "p95", "max", "mean", "edges", "counts"}
    assert set(view["nodes"][0]) >= {
        "node",
        "processes",
        "running",
        "committed",
        "failed",
        "stageout_failures",
        "waste_s",
    }


def test_a_project_with_nothing_yet(made: World) -> None:
    assert "no process has been started yet" in ok("report", "p").lines
    ok("report", "p", "--html", "r.html")
    assert "there is nothing to draw" in Path("r.html").read_text()


def test_a_page_is_one_file(made: World) -> None:
    lived(made)
    ran = ok("report", "p", "--html", "r.html")
    assert ran.lines[0] == f"wrote {Path('r.html').absolute()}"
    assert Path("r.html").read_text().startswith("<!doctype html>")
    assert ok("report", "p", "--html", "r.html", "--json").json["request"] == "p"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("report q", 3, "there is no project 'q'"),
        ("report p --html none/r.html", 9, "does not exist"),
        ("report p --html .", 9, "is a folder"),
        ("report", 2, "PROJECT"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(made: World, words: str, code: int, said: str) -> None:
    ran = run(*words.split())
    assert ran.code == code
    assert said in ran.err
    assert "→ " in ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="privilege: nothing is forbidden to root")
def test_a_folder_that_may_not_be_written(made: World, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    ran = run("report", "p", "--html", closed / "r.html")
    assert (ran.code, "cannot be written" in ran.err) == (9, True)
