"""What is told of failures: counts, suspects, decisions, one process; and explaining them anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import nodes, reporting
from bookkeeper.errors import NotFound
from bookkeeper.failures import Rules
from bookkeeper.reporting import chosen
from failing import FULL, ODD, SEGFAULT, commit, fail, find_nothing, interrupt, record_failures, world
from ledgers import World

MOON = {"id": "moon", "category": "executor", "text": "the moon was wrong", "remedy": "wait for the sun"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    one = world(tmp_path / "bookkeeper.db")
    yield one
    one.close()


def statements(made: World, ask: Callable[[], Any]) -> int:
    """How many statements a question takes."""
    asked: list[str] = []
    reader = made.database._pool.reader()
    reader.set_trace_callback(asked.append)
    ask()
    reader.set_trace_callback(None)
    return len(asked)


def test_failures_are_counted_by_everything(made: World) -> None:
    fail(made, SEGFAULT, "n1", 3)
    fail(made, SEGFAULT, "n2")
    fail(made, FULL, "n2")
    view = reporting.failures_of(made.database, "p")
    assert (view["processes"], view["files"]) == (3, 5)
    assert view["waste_s"] == pytest.approx(300, abs=10)
    assert [(row["category"], row["processes"]) for row in view["categories"]] == [
        ("analysis_crash", 2),
        ("configuration", 1),
    ]
    crash, full = view["messages"]
    assert (crash["message"], crash["processes"], crash["files"], crash["examples"]) == ("signal 11", 2, 4, [2, 1])
    assert crash["nodes"] == {"names": ["n1", "n2"], "count": 2, "at_least": False}
    assert crash["concerned"] == {"names": ["f003", "f000", "f001"], "count": 4, "at_least": False}
    assert full["remedy"]
    assert {row["node"]: row["processes"] for row in view["nodes"]} == {"n1": 1, "n2": 2}
    assert view["decisions"]["counts"]["strike"] == 2
    assert view["decisions"]["last"][0]["process_id"] == 3


def test_nothing_to_do_and_interruptions_are_not_told(made: World) -> None:
    interrupt(made)
    find_nothing(made)
    view = reporting.failures_of(made.database, "p")
    assert (view["processes"], view["categories"], view["messages"]) == (0, [], [])


@pytest.mark.parametrize(
    ("filters", "processes"),
    [
        ({"category": "analysis_crash"}, 2),
        ({"node": "n2"}, 2),
        ({"rule": "nothing"}, 0),
        ({"category": "configuration", "node": "n1"}, 0),
    ],
)
def test_filters_narrow(made: World, filters: dict[str, str], processes: int) -> None:
    fail(made, SEGFAULT, "n1")
    fail(made, SEGFAULT, "n2")
    fail(made, FULL, "n2")
    view = reporting.failures_of(made.database, "p", **filters)
    assert (view["processes"], view["filters"]) == (processes, filters)


def test_the_whole_request_is_told_of_by_any_of_its_projects(made: World) -> None:
    fail(made, SEGFAULT)
    recovery = made.recover()
    assert recovery is not None
    job = made.start(recovery, node="n2")
    job.take(1)
    job.roll_back("signal 11", step="analysis", evidence=SEGFAULT)
    for name in ("p", recovery):
        assert reporting.failures_of(made.database, name)["processes"] == 2


def test_a_file_that_failed_on_two_nodes_is_suspect_until_it_is_committed(tmp_path: Path) -> None:
    from bookkeeper import projects

    made = world(tmp_path / "one.db", files=1)
    fail(made, SEGFAULT, "n1")
    assert reporting.failures_of(made.database, "p")["suspects"]["files"] == []
    fail(made, SEGFAULT, "n2")
    (suspect,) = reporting.failures_of(made.database, "p")["suspects"]["files"]
    assert (suspect["file"], suspect["failures"], sorted(suspect["nodes"])) == ("f000", 2, ["n1", "n2"])
    if suspect["state"] == "parked":
        projects.unpark(made.database, "p", None)
    commit(made, "n3")
    assert reporting.failures_of(made.database, "p")["suspects"]["files"] == []
    made.close()


def test_a_node_where_different_files_fail_is_suspect_beside_good_ones(made: World) -> None:
    for _ in range(3):
        fail(made, SEGFAULT, "bad")
        commit(made, "good")
        commit(made, "good")
    for _ in range(2):
        fail(made, SEGFAULT, "good")
    suspects = reporting.failures_of(made.database, "p")["suspects"]["nodes"]
    assert [(row["node"], row["failures"]) for row in suspects] == [("bad", 3)]
    assert suspects[0]["files"] >= 2


def test_excluded_nodes_and_parked_files_come_with_their_reasons(made: World) -> None:
    from bookkeeper import projects

    projects.park(made.database, "p", ["f001", "f002"], "known to be bad")
    nodes.exclude(made.database, "n9", reason="its disk is full", seconds=60)
    view = reporting.failures_of(made.database, "p", limit=1)
    assert view["parked"]["count"] == 2
    assert [(row["file"], row["reason"]) for row in view["parked"]["files"]] == [("f001", "known to be bad")]
    assert [row["reason"] for row in view["excluded"]] == ["its disk is full"]
    assert any("node admit n9" in step for step in view["next"])


def test_many_failures_take_no_more_statements_than_few(made: World) -> None:
    record_failures(made, 100)
    few = statements(made, lambda: reporting.failures_of(made.database, "p"))
    record_failures(made, 5_000)
    assert statements(made, lambda: reporting.failures_of(made.database, "p")) == few <= 20
    view = reporting.failures_of(made.database, "p")
    assert view["processes"] == 5_100
    assert len(view["messages"]) == 10
    assert view["messages"][0]["concerned"]["at_least"] is True


def test_the_top_category_is_of_the_last_failures(made: World) -> None:
    assert reporting.top_category(made.database, "p") is None
    fail(made, FULL)
    fail(made, SEGFAULT)
    fail(made, SEGFAULT, "n2")
    assert reporting.top_category(made.database, "p") == {"category": "analysis_crash", "processes": 2, "of": 3}
    record_failures(made, 1_000)
    assert reporting.top_category(made.database, "p") == {"category": "unknown", "processes": 100, "of": 100}


def test_one_failed_process_is_told_of_in_full(made: World) -> None:
    job = fail(made, SEGFAULT, "n2", 2)
    view = reporting.failure_of(made.database, job.key.id)
    assert (view["node"], view["files"], view["explanation"]["signal"]) == ("n2", 2, 11)
    assert "segmentation violation" in view["explanation"]["stderr"]
    assert view["decision"]["decisions"]
    assert [(one["file"], one["charged"]) for one in view["deliveries"]] == [("f000", True), ("f001", True)]
    assert view["next"][0] == f"bookkeeper logs {job.key.id} --stderr --tail 40"


def test_a_process_that_did_not_fail_says_so(made: World) -> None:
    good, stopped = commit(made), interrupt(made)
    with pytest.raises(NotFound, match="did not fail: it is committed"):
        reporting.failure_of(made.database, good.key.id)
    with pytest.raises(NotFound, match="rolled back without a failure: interrupted"):
        reporting.failure_of(made.database, stopped.key.id)
    with pytest.raises(NotFound, match="no process 99"):
        reporting.failure_of(made.database, 99)


def test_explaining_anew_appends_what_changed_and_nothing_else(made: World) -> None:
    odd, crashed = fail(made, ODD), fail(made, SEGFAULT)
    before = made.value("SELECT COUNT(*) FROM events")
    rules = Rules.from_list([MOON])
    planned = reporting.reclassify(made.database, rules=rules, dry_run=True)
    assert made.value("SELECT COUNT(*) FROM events") == before
    done = reporting.reclassify(made.database, ["p"], rules=rules)
    assert done == planned | {"dry_run": False}
    assert (done["looked_at"], done["changed"]) == (2, 1)
    (change,) = done["changes"]
    assert (change["to_category"], change["to_rule"], change["example"]) == ("executor", "moon", odd.key.id)
    assert made.value("SELECT by FROM failures WHERE process_id = ?", odd.key.id) == "reclassify"
    assert made.value("SELECT by FROM failures WHERE process_id = ?", crashed.key.id) == "rules"
    assert reporting.reclassify(made.database, rules=rules)["changed"] == 0
    assert [one["by"] for one in reporting.failure_of(made.database, odd.key.id)["earlier"]] == ["rules"]


def test_the_rules_of_the_request_are_used(made: World) -> None:
    import json

    fail(made, ODD)
    policy = json.dumps({"brake": {"identical": 0, "node_failures": 0}, "rules": [MOON]})
    made.change("UPDATE requests SET policy = ?", [(policy,)])
    assert reporting.reclassify(made.database)["changes"][0]["to_rule"] == "moon"


def test_what_a_plugin_explained_stays(made: World) -> None:
    from bookkeeper import retries
    from bookkeeper.failures import Explanation, FailureCategory

    job = fail(made, ODD)
    said = Explanation(FailureCategory.EXECUTOR, "theirs", "", "none", 1.0, "")
    with made.database.transaction() as tx:
        retries.reclassified(tx, job.key.id, said, by="plugin:theirs")
    done = reporting.reclassify(made.database)
    assert (done["kept"], done["changed"]) == (1, 0)


def test_many_failures_are_explained_anew_portion_by_portion(made: World) -> None:
    record_failures(made, 2 * chosen.SLOTS + 5)
    done = reporting.reclassify(made.database, rules=Rules.from_list([{**MOON, "text": "odd"}]))
    assert done["looked_at"] == done["changed"] == 2 * chosen.SLOTS + 5
    assert made.column("SELECT DISTINCT rule FROM failures") == ["moon"]


def test_an_unknown_project_is_refused(made: World) -> None:
    for ask in (reporting.failures_of, reporting.performance_of):
        with pytest.raises(NotFound, match="no project 'q'"):
            ask(made.database, "q")
    with pytest.raises(NotFound, match="no project 'q'"):
        reporting.reclassify(made.database, ["q"])
