"""`failures`, and what `status` says of trouble."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import nodes, projects
from bookkeeper_cli import failures
from commandline import ok, run
from failing import FULL, ODD, SEGFAULT, commit, fail, world
from ledgers import World
from services.reach import Reach

RULES = """\
[[rule]]
id = "moon"
category = "executor"
text = "the moon was wrong"
remedy = "wait for the sun"
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: Reach) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    one = world(tmp_path / "bookkeeper.db")
    reach(tmp_path / "bookkeeper.db")
    fail(one, SEGFAULT, "n1", 3)
    fail(one, ODD, "n2")
    yield one
    one.close()


def test_failures_on_one_screen(made: World) -> None:
    ran = ok("failures", "p")
    assert ran.lines[0].startswith("p: 2 processes failed, with 4 files; 3 min 2")  # or a second more
    assert "by category" in ran.lines
    assert "what they said" in ran.lines
    assert "  1 × signal 11" in ran.lines
    assert "files f000, f001 and f002; process 1" in ran.out
    assert "  back off 1 ×, strike 1 ×" in ran.lines
    assert "→ bookkeeper failures process " in ran.out


def test_a_first_word_that_is_no_verb_is_a_project(made: World) -> None:
    assert ok("failures", "p").out == ok("failures", "show", "p").out
    assert ok("failures", "--node", "n1", "p").out == ok("failures", "show", "p", "--node", "n1").out
    assert ok("failures", "--json", "p").json == ok("failures", "p", "--json").json
    assert "reclassify" in ok("failures", "--help").out


def test_failures_as_json_have_stable_keys(made: World) -> None:
    view = ok("failures", "p", "--json").json
    assert set(view) == {
        *("request", "project", "filters", "processes", "files", "waste_s", "categories", "rules", "messages", "nodes"),
        *("decisions", "suspects", "parked", "excluded", "next"),
    }
    counted = {"processes", "files", "retried", "recovered", "parked", "waiting", "waste_s", "last_at", "examples"}
    assert set(view["categories"][0]) == {"category", "nodes", *counted}
    assert set(view["rules"][0]) == {"category", "rule", "confidence", "remedy", "nodes", *counted}
    assert set(view["messages"][0]) == {*view["rules"][0], "message", "concerned"}
    assert set(view["nodes"][0]) == {"node", *counted}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("failures q", 3, "there is no project 'q'"),
        ("failures p --category bad", 2, "transient_io, executor"),
        ("failures p --limit none", 2, "--limit"),
        ("failures", 2, "needs a verb"),
        ("failures process x", 2, "no whole number"),
        ("failures process 99", 3, "no process 99"),
        ("failures reclassify q", 3, "there is no project 'q'"),
        ("failures reclassify --rules none.toml", 2, "none.toml"),
        ("failures explain none.log", 9, "none.log"),
        ("failures explain --signal MOON", 2, "no signal"),
        ("failures explain --exit-code x", 2, "--exit-code"),
        ("failures explain", 2, "nothing to explain"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(made: World, words: str, code: int, said: str) -> None:
    ran = run(*words.split())
    assert ran.code == code
    assert said in ran.err
    assert "→ " in ran.err


def test_nothing_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = world(tmp_path / "bookkeeper.db")
    assert ok("failures", "p").lines == ["p: no process failed", "", "→ bookkeeper status p"]
    assert "excluded" not in ok("status", "p").out
    assert "failures" not in ok("status", "p").out
    projects.pause(made.database, "p", "the jobs never start")
    summary, _, heading, pause, *_ = ok("failures", "p").lines
    assert (summary, heading) == ("p: no process failed", "what was decided")
    assert "paused  the jobs never start" in pause
    made.close()


def test_one_process_in_full(made: World) -> None:
    ran = ok("failures", "process", 1)
    assert ran.lines[0] == "process 1 of p on n1"
    assert "message     signal 11" in ran.lines
    assert "signal      11" in ran.lines
    assert "   *** Break *** segmentation violation" in ran.lines
    assert "→ bookkeeper logs 1 --stderr --tail 40" in ran.lines
    view = ok("failures", "process", 1, "--json").json
    assert set(view) >= {"process_id", "explanation", "earlier", "decision", "performance", "deliveries", "next"}


def test_a_process_that_did_not_fail(made: World) -> None:
    job = commit(made)
    ran = run("failures", "process", job.key.id)
    assert (ran.code, "did not fail" in ran.err) == (3, True)


def test_failures_are_explained_anew(made: World) -> None:
    Path("mine.toml").write_text(RULES)
    planned = ok("failures", "reclassify", "p", "--rules", "mine.toml", "--dry-run")
    assert planned.lines[0] == "2 failures explained anew: 1 would change"
    assert planned.lines[-1] == "→ bookkeeper failures reclassify p --rules mine.toml"
    done = ok("failures", "reclassify", "--rules", "mine.toml", "--json").json
    assert (done["looked_at"], done["changed"], done["kept"], done["dry_run"]) == (2, 1, 0, False)
    assert set(done["changes"][0]) == {"from_category", "from_rule", "to_category", "to_rule", "processes", "example"}
    assert "by reclassify" in ok("failures", "process", 2).out
    assert ok("failures", "p", "--rule", "moon", "--json").json["processes"] == 1


def test_a_log_is_explained_by_hand_without_a_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = b"begin\n *** Break *** segmentation violation\n"
    Path("job.err").write_bytes(log)
    piped = ok("failures", "explain", "--json", stdin=log).json
    assert set(piped) == {"category", "rule", "confidence", "evidence", "source", "remedy"}
    assert piped["category"] == "analysis_crash"
    assert (
        ok("failures", "explain", "job.err", "--json").json
        == ok("failures", "explain", "-", "--json", stdin=log).json
        == piped
    )
    assert ok("failures", "explain", "--signal", "SIGSEGV").lines[0].startswith("category    analysis_crash")
    Path("mine.toml").write_text(RULES)
    own = ok("failures", "explain", "--rules", "mine.toml", "--message", "the moon was wrong", "--json").json
    assert own["rule"] == "moon"


def test_markup_and_control_characters_are_only_shown(made: World) -> None:
    fail(made, ODD, "n[red]\x1b[31m")
    assert r"n[red]\x1b[31m" in ok("failures", "p").out


def test_status_says_what_failed_and_what_is_excluded(made: World) -> None:
    fail(made, FULL)
    nodes.exclude(made.database, "n7", reason="its disk is full", seconds=60)
    ran = ok("status", "p")
    assert any(
        line.startswith("excluded   node n7 until ") and line.endswith(": its disk is full") for line in ran.lines
    )
    assert any(line.startswith("failures   ") for line in ran.lines)
    assert ran.lines[-1] == "→ bookkeeper failures p   (what failed, and why)"
    view = ok("status", "p", "--json").json
    assert view["failures"]["of"] == 3
    assert [row["node"] for row in view["excluded"]] == ["n7"]


def test_status_says_what_waits(made: World) -> None:
    made.change("UPDATE projects SET rest_until = strftime('%s', 'now') + 600")
    made.change("UPDATE ledger SET not_before = strftime('%s', 'now') + 300 WHERE state = 'available'")
    ran = ok("status", "p")
    assert any(line.startswith("resting    until ") for line in ran.lines)
    assert any(line.startswith("waiting    20 files for the next try, the first in ") for line in ran.lines)


def test_of_an_endless_input_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MOST", 10)
    assert failures._end(io.BytesIO(b"0123456789" * 3 + b"the end")) == b"789the end"
    assert failures._end(io.BytesIO(b"short")) == b"short"
