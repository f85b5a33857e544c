"""The views of failures, nodes and performance: what counts as what, and by which indexes they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import nodes, retries
from bookkeeper.failures import Explanation, FailureCategory
from failing import FULL, ODD, SEGFAULT, commit, fail, find_nothing, interrupt, measure, world
from ledgers import World


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    one = world(tmp_path / "bookkeeper.db")
    yield one
    one.close()


def test_a_failure_has_its_process_its_cost_and_its_explanation(made: World) -> None:
    job = fail(made, SEGFAULT, "n2", 3, lasted=50)
    (row,) = made.database.rows("SELECT * FROM failures")
    assert (row["request"], row["project"], row["process_id"], row["node"]) == ("p", "p", job.key.id, "n2")
    assert (row["category"], row["signal"], row["exit_code"], row["step"]) == ("analysis_crash", 11, None, "analysis")
    assert (row["files"], row["by"], row["message"]) == (3, "rules", "signal 11")
    assert row["wall_time_s"] == pytest.approx(50, abs=5)
    assert 0 < row["confidence"] <= 1


def test_the_newest_explanation_counts(made: World) -> None:
    job = fail(made, ODD)
    better = Explanation(FailureCategory.EXECUTOR, "mine", "moon", "message", 0.9, "wait for the sun")
    with made.database.transaction() as tx:
        retries.reclassified(tx, job.key.id, better, by="reclassify")
    (row,) = made.database.rows("SELECT category, rule, remedy, by FROM failures")
    assert row == {"category": "executor", "rule": "mine", "remedy": "wait for the sun", "by": "reclassify"}
    assert made.value("SELECT failed FROM node_summary") == 1


def test_what_was_interrupted_or_found_nothing_is_no_failure_but_its_time_is_lost(made: World) -> None:
    interrupt(made, lasted=40)
    find_nothing(made)
    assert made.column("SELECT process_id FROM failures") == []
    (row,) = made.database.rows("SELECT processes, failed, committed, running, waste_s FROM node_summary")
    assert row["waste_s"] == pytest.approx(40, abs=5)
    assert (row["processes"], row["failed"], row["committed"], row["running"]) == (2, 0, 0, 0)


def test_an_explanation_without_a_category_is_unknown(made: World) -> None:
    job = fail(made, ODD)
    made.change(
        "INSERT INTO events (at, kind, project_id, process_id, body) VALUES (1, 'failure.classified', 1, ?, '{}')",
        [(job.key.id,)],
    )
    assert made.database.rows("SELECT category, rule FROM failures") == [{"category": "unknown", "rule": "unknown"}]


def test_a_node_has_its_processes_by_their_ends(made: World) -> None:
    commit(made, "n1")
    fail(made, SEGFAULT, "n1")
    fail(made, FULL, "n1")
    made.start(node="n2").take(1)
    until = nodes.exclude(made.database, "n1", reason="odd", seconds=60)
    one, two = made.database.rows("SELECT * FROM node_summary ORDER BY node")
    assert (one["processes"], one["committed"], one["failed"], one["stageout_failures"]) == (3, 1, 1, 1)
    assert one["wall_time_s"] == pytest.approx(300, abs=10)
    assert one["waste_s"] == pytest.approx(200, abs=10)
    assert one["excluded_until"] == until
    assert one["last_failure"] == made.value("SELECT MAX(ended_at) FROM processes")
    assert (two["running"], two["wall_time_s"], two["excluded_until"], two["last_failure"]) == (1, 0, None, None)


def test_the_last_measurement_counts_and_what_is_not_known_is_null(made: World) -> None:
    job = made.start(node="n1")
    job.take(1)
    measure(job, wall_s=1.0)
    measure(job, wall_s=100.0, cpu_s=75.0, peak_rss_mb=None, entries=None)
    (row,) = made.database.rows("SELECT * FROM performance")
    assert (row["process_id"], row["state"], row["wall_s"], row["cpu_efficiency"]) == (job.key.id, "active", 100, 0.75)
    assert row["peak_rss_mb"] is row["entries"] is row["read_bytes"] is None


@pytest.mark.parametrize("view", ["failures", "node_summary", "performance"])
def test_one_request_is_read_by_indexes_only(made: World, view: str) -> None:
    """No table is read from end to end, whatever else the catalog holds."""
    plan = made.database.rows(f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE request = 'p'")
    steps = [row["detail"] for row in plan]
    assert any("SEARCH" in step for step in steps)
    assert [step for step in steps if step.startswith("SCAN") and step != f"SCAN {view}"] == []


def test_one_process_is_read_by_indexes_only(made: World) -> None:
    plan = made.database.rows("EXPLAIN QUERY PLAN SELECT * FROM failures WHERE process_id = 3")
    assert [row["detail"] for row in plan if row["detail"].startswith("SCAN")] == []
