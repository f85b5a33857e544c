"""What jobs ask for and what a recovery will cost, from made-up histories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeper import estimates
from bookkeeper.errors import NotFound
from bookkeeper.estimates import Limit, asking, limit_of, limits
from bookkeeper.estimates.forecast import Work, scaled
from bookkeeper.estimates.sizing import ENOUGH, MEMORY, WALL, Killed, amount, percentile, size
from bookkeeper.failures import Evidence, default_rules, explain
from bookkeeper.protocol import EventRecord
from failing import SEGFAULT, commit, fail, find_nothing, ready, world
from ledgers import Job, World

MB = 2**20
GB = 1e9 / MB  # of memory, in MB of 2^20 bytes: what a spec calls "1GB"
OOM = Evidence(message="exit code 1: MemoryError", exceptions=(("MemoryError", ""),), exit_code=1, step="analysis")
NO_TIME = Evidence(message="the job was cancelled", state="TIMEOUT", step="analysis")

megabytes = st.floats(min_value=1.0, max_value=1e5)
maybe = st.none() | megabytes
kills = st.lists(st.builds(Killed, maybe, maybe), max_size=5)
histories = st.lists(megabytes, max_size=2 * ENOUGH)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    one = world(tmp_path / "bookkeeper.db", files=60)
    yield one
    one.close()


def starve(made: World, *, asked: float | None = None, peak: float | None = None, lasted: float = 100.0) -> Job:
    """Let a job be refused memory, after it had asked for some and was measured."""
    return end_early(made, OOM, {"memory_mb": asked, "wall_s": None}, lasted, peak_rss_mb=peak)


def end_early(made: World, evidence: Evidence, asked: dict[str, Any], lasted: float = 100.0, **measured: Any) -> Job:
    ready(made)
    job = made.start(node="n1")
    job.take(1)
    job.open()
    made.change("UPDATE processes SET started_at = started_at - ? WHERE id = ?", [(lasted, job.key.id)])
    told = [EventRecord("job.sized", {**asked, "because": {}}), EventRecord("perf.recorded", measured)]
    job.ledger.record(job.key, told)
    job.roll_back(evidence.message, step=evidence.step, evidence=evidence)
    return job


# -- which failures are for want of memory or time -----------------------------------------------------------------------


def test_the_rules_that_are_chosen_by_their_ids_exist() -> None:
    known = {rule.id for rule in default_rules().rules}
    assert {*limits.MEMORY_RULES, *limits.TIME_RULES, *limits.VAGUE_RULES, "condor-node"} <= known


@pytest.mark.parametrize(
    ("evidence", "limit"),
    [
        (OOM, Limit.MEMORY),
        (Evidence(state="OUT_OF_MEMORY"), Limit.MEMORY),
        (Evidence(hold_code=34, hold_subcode=102), Limit.MEMORY),
        (Evidence(exit_code=50660), Limit.MEMORY),
        (Evidence(stderr="slurmstepd: error: Detected 1 oom-kill event(s) in StepId=8812.batch."), Limit.MEMORY),
        (Evidence(stderr="terminate called after throwing an instance of 'std::bad_alloc'", signal=6), Limit.MEMORY),
        (Evidence(exit_code=50662), None),
        (Evidence(state="TIMEOUT"), Limit.TIME),
        (Evidence(exit_code=50664), Limit.TIME),
        (Evidence(hold_code=46), Limit.TIME),
        (Evidence(hold_code=38), None),
        (Evidence(message="max_wall passed"), Limit.TIME),
        (Evidence(signal=24), Limit.TIME),
        (SEGFAULT, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_limits_are_recognised(evidence: Evidence, limit: Limit | None) -> None:
    rule = explain(evidence).rule
    assert limit_of(rule, exit_code=evidence.exit_code, hold_code=evidence.hold_code) is limit, rule


def test_a_kill_that_says_not_why_is_for_memory_only_near_to_what_was_asked() -> None:
    rule = explain(Evidence(message="killed by signal 9 (SIGKILL)", signal=9)).rule
    assert limit_of(rule, peak_mb=950, asked_mb=1000) is Limit.MEMORY
    assert limit_of(rule, peak_mb=500, asked_mb=1000) is None
    assert limit_of(rule, peak_mb=950) is limit_of(rule, asked_mb=1000) is None


# -- how much to ask for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "killed", "said", "most", "asks", "words"),
    [
        ([], [], None, None, None, "no history: unknown"),
        ([], [], 2.0, None, 2.0, "no history: 2.0 GB as the spec says"),
        ([1.0] * 3, [], None, None, None, "p95 1.0 GB over only 3 committed processes, 20 % headroom"),
        ([0.5] * 3, [], 2.0, None, 2.0, "over only 3 committed processes, 20 % headroom; the spec says 2.0 GB"),
        ([1.9] * 3, [], 2.0, None, 2.3, "p95 1.9 GB over only 3"),
        ([0.51] * 340, [], 2.0, None, 0.7, "p95 510 MB over 340 committed processes, 20 % headroom"),
        ([], [(1.9, 2.0)] * 4, 2.0, None, 3.0, "4 processes were killed for want of memory at 1.9 GB of 2.0 GB asked"),
        ([], [(2.4, 2.0)], 2.0, None, 3.6, "1 process was killed for want of memory at 2.4 GB"),
        ([], [(None, 2.0), (None, 3.0)], 2.0, 8.0, 4.5, "of 3.0 GB asked: asks 4.5 GB"),
        ([], [(None, 3.0)], 2.0, None, 4.0, "no more than 4.0 GB (no max_memory is said)"),
        ([], [(None, 3.0)], 2.0, 3.5, 3.5, "no more than 3.5 GB (max_memory of the spec)"),
        ([], [(1.0, None)], None, None, 1.5, "killed for want of memory at 1.0 GB: asks 1.5 GB"),
        ([], [(9.0, None)], None, None, 4.0, "no more than 4.0 GB"),
        ([4.0] * 30, [(9.0, None)], None, None, 9.6, "no more than 9.6 GB"),
        ([1.0] * 2, [(None, None)], None, None, 1.8, "killed for want of memory: asks 1.8 GB"),
        ([], [(None, None)], None, None, None, "how much they had is not known"),
        ([], [(None, None)], 2.0, None, 3.0, "asks 3.0 GB"),
    ],
)
def test_memory_by_a_history(
    used: list[float], killed: list[Any], said: float | None, most: float | None, asks: float | None, words: str
) -> None:
    """All numbers are GB as a spec has them."""
    scale = lambda one: None if one is None else one * GB  # noqa: E731
    died = [Killed(scale(one[0]), scale(one[1])) for one in killed]
    found = size(MEMORY, [one * GB for one in used], died, scale(said), scale(most))
    assert found.ask == (None if asks is None else pytest.approx(asks * GB))
    assert words in found.evidence


@given(histories, kills, st.builds(Killed, maybe, maybe), maybe, maybe)
def test_a_kill_never_lowers_what_is_asked_for(
    used: list[float], killed: list[Killed], one: Killed, said: float | None, most: float | None
) -> None:
    before, after = (size(MEMORY, used, died, said, most).ask for died in (killed, [*killed, one]))
    assert before is None or (after is not None and after >= before)


@given(histories, kills, maybe, maybe)
def test_no_more_is_asked_for_than_the_limit_unless_the_spec_says_more(
    used: list[float], killed: list[Killed], said: float | None, most: float | None
) -> None:
    ask = size(MEMORY, used, killed, said, most).ask
    if ask is not None and most is not None:
        assert ask <= max(most, said or 0.0)
    if ask is not None and most is None and said is not None:
        assert ask <= 2 * said


@given(histories, kills, maybe, maybe, megabytes)
def test_a_larger_peak_never_asks_for_less(
    used: list[float], killed: list[Killed], said: float | None, most: float | None, more: float
) -> None:
    before = size(MEMORY, used, killed, said, most).ask
    after = size(MEMORY, [one + more for one in used], killed, said, most).ask
    assert (before is None) == (after is None)
    assert before is None or after is None or after >= before


@given(st.lists(megabytes, min_size=1, max_size=50))
def test_the_p95_leaves_five_of_a_hundred_above(values: list[float]) -> None:
    found = percentile(values, 0.95)
    assert found in values and sum(one > found for one in values) <= 0.05 * len(values)
    assert sum(one >= found for one in values) > 0.05 * len(values)


def test_wall_time_is_asked_for_after_a_process_was_ended_for_it() -> None:
    assert size(WALL, [100.0] * 30, [], None, None).ask is None
    found = size(WALL, [100.0], [Killed(3600.0, None)], None, None)
    assert found.ask == 5400.0
    assert found.evidence.startswith("1 process was ended for want of time at 1 h: asks 1 h 30 min")
    late = size(WALL, [], [Killed(601.0, None)], None, 600.0)
    assert late.ask == 600.0 and late.evidence.endswith("no more than 10 min (max_wall of the spec)")


def test_sizes_in_words() -> None:
    assert [amount(one * GB) for one in (0.0105, 0.5, 0.9999, 2.0, 12.34)] == [
        "10 MB",
        "500 MB",
        "1.0 GB",
        "2.0 GB",
        "12.3 GB",
    ]


# -- what is asked for, from a catalog -----------------------------------------------------------------------------------


def test_what_was_asked_and_used_is_read_from_the_events(made: World) -> None:
    asks = estimates.ask_for(made.database, "p", memory_mb=2 * GB, max_memory_mb=8 * GB)
    assert (asks.memory_mb, asks.wall_s) == (2 * GB, None)
    starve(made, asked=2 * GB, peak=1.9 * GB)
    asks = estimates.ask_for(made.database, "p", memory_mb=2 * GB, max_memory_mb=8 * GB)
    assert asks.memory_mb == pytest.approx(3 * GB)
    assert asks.memory.evidence.startswith(
        "1 process was killed for want of memory at 1.9 GB of 2.0 GB asked: asks 3.0 GB"
    )
    starve(made, asked=3 * GB, peak=2.9 * GB)
    assert estimates.ask_for(made.database, "p", memory_mb=2 * GB, max_memory_mb=8 * GB).memory_mb == pytest.approx(
        4.5 * GB
    )
    fail(made, SEGFAULT)
    find_nothing(made)
    end_early(made, NO_TIME, {"memory_mb": None, "wall_s": 3600.0}, lasted=3500.0)
    asks = estimates.ask_for(made.database, "p", memory_mb=2 * GB, max_memory_mb=8 * GB)
    assert (asks.memory_mb, asks.wall_s) == (pytest.approx(4.5 * GB), 5400.0)
    assert asks.evidence.keys() == {"memory", "wall"}


def test_a_recovery_asks_for_what_the_project_before_it_learnt(made: World) -> None:
    starve(made, asked=2 * GB)
    recovery = made.recover()
    assert recovery is not None
    for project in ("p", recovery):
        assert estimates.ask_for(made.database, project, memory_mb=2 * GB).memory_mb == pytest.approx(3 * GB)


def test_a_reclassified_failure_counts_as_what_it_is_called_now(made: World) -> None:
    from bookkeeper import retries

    job = starve(made, asked=2 * GB)
    with made.database.transaction() as tx:
        retries.reclassified(tx, job.key.id, explain(SEGFAULT), "reclassify")
    assert estimates.ask_for(made.database, "p", memory_mb=2 * GB).memory_mb == 2 * GB


def test_an_answer_is_kept_until_something_fails(made: World) -> None:
    asks = estimates.Asks(made.database, "p", 2 * GB, None)
    assert asks.now(0).memory_mb == 2 * GB
    starve(made, asked=2 * GB)
    assert asks.now(0).memory_mb == 2 * GB
    assert asks.now(1).memory_mb == pytest.approx(3 * GB)


@pytest.mark.parametrize("statement", [asking.USED, asking.FAILED])
def test_only_the_newest_processes_are_read_by_an_index(made: World, statement: str) -> None:
    rows = made.database.rows(f"EXPLAIN QUERY PLAN {statement}", {"project": "p", "most": 5})
    plan = "\n".join(row["detail"] for row in rows)
    assert "TEMP B-TREE" not in plan and "USING INDEX processes_request" in plan
    assert "SCAN" not in plan.replace("SCAN p\n", ""), plan


# -- what a recovery will cost -------------------------------------------------------------------------------------------


def test_a_forecast_scales_by_the_size_of_the_files(made: World) -> None:
    """Files of 10, 20, 30, … bytes: the first two took 5 s of CPU and 10 s a byte, and 58 are left."""
    for nbytes in (10, 20):
        commit(made, files=1, cpu_s=5.0 * nbytes, lasted=10.0 * nbytes, input_bytes=nbytes, entries=None)
    left = sum(10 * (number + 1) for number in range(2, 60))
    found = estimates.forecast(made.database, "p", jobs=4)
    assert (found.request, found.files, found.jobs) == ("p", 58, 4)
    assert found.cpu_s.value == pytest.approx(5.0 * left)
    assert found.wall_s.value == pytest.approx(10.0 * left, rel=0.05)
    assert found.cpu_s.samples == found.wall_s.samples == 2
    assert found.cpu_s.evidence.endswith("s CPU per GB over only 2 committed processes")
    assert found.read_bytes.value == left and found.processes.value == 1
    assert found.elapsed_s.value == found.wall_s.value, "one process takes all of them"
    assert found.job_memory_mb.value == pytest.approx(1100e6 / MB, rel=0.1), "p95 of 900 MB, and headroom"


def test_a_forecast_scales_by_entries_where_they_are_known(made: World) -> None:
    """Files of 1, 2, 3, … entries."""
    commit(made, files=2, cpu_s=6.0, input_bytes=1, entries=3)
    found = estimates.forecast(made.database, "p").cpu_s
    assert found.value == pytest.approx(2.0 * sum(range(3, 61)))
    assert "s CPU per million entries" in found.evidence


def test_a_forecast_counts_what_failed_before_in_smaller_groups(tmp_path: Path) -> None:
    made = world(tmp_path / "bookkeeper.db", files=20, files_per_process=4)
    try:
        assert estimates.forecast(made.database, "p", jobs=5).processes.value == 5
        fail(made, SEGFAULT, files=4)
        found = estimates.forecast(made.database, "p", jobs=5)
        assert found.processes.value == 4 + 2
        assert found.processes.evidence == "up to 4 files each; 4 that failed before in smaller groups"
    finally:
        made.close()


def test_a_forecast_of_partitions_counts_those_that_are_left(tmp_path: Path) -> None:
    made = World.create(tmp_path / "bookkeeper.db", files=10, partition_by={"files": 4})
    try:
        assert estimates.forecast(made.database, "p").processes.value == 3
        commit(made, files=4)
        found = estimates.forecast(made.database, "p").processes
        assert (found.value, found.evidence) == (2, "one for each partition")
    finally:
        made.close()


def test_a_forecast_uses_the_wall_time_of_processes_that_nobody_measured(made: World) -> None:
    job = made.start(node="n1")
    job.take(2)
    job.open()
    made.change("UPDATE processes SET started_at = started_at - 300 WHERE id = ?", [(job.key.id,)])
    job.commit()
    found = estimates.forecast(made.database, "p")
    assert found.cpu_s.value is None and found.job_memory_mb.value is None
    assert found.wall_s.value == pytest.approx(300 / 30 * sum(10 * (n + 1) for n in range(2, 60)), rel=0.05)


def test_a_forecast_of_files_that_changed_since_counts_the_pinned_size(made: World) -> None:
    before = estimates.forecast(made.database, "p").read_bytes.value
    made.change_file("f059")
    assert estimates.forecast(made.database, "p").read_bytes.value == before


def test_a_forecast_of_no_project_names_it(made: World) -> None:
    with pytest.raises(NotFound, match="'q'"):
        estimates.forecast(made.database, "q")


@given(
    st.lists(st.tuples(st.floats(0.01, 1e6), st.integers(1, 10**12)), max_size=30),
    st.integers(0, 10**15),
    st.integers(0, 10**12),
)
def test_more_bytes_never_cost_less(took: list[tuple[float, int]], nbytes: int, more: int) -> None:
    history = [(seconds, Work(done)) for seconds, done in took]
    less, greater = (scaled("CPU", history, Work(one)) for one in (nbytes, nbytes + more))
    assert (less.value is None) == (greater.value is None) == (not took)
    if less.value is not None and greater.value is not None and less.high is not None and greater.high is not None:
        assert less.value <= greater.value and less.high <= greater.high
        assert less.value <= less.high and greater.value <= greater.high


def test_one_odd_process_does_not_move_the_estimate() -> None:
    usual = [(100.0, Work(10**9))] * 40
    found = scaled("CPU", [*usual, (1e6, Work(10**9))], Work(2 * 10**9))
    assert (found.value, found.high) == (200.0, 200.0)
    assert found.evidence == "median 100 s CPU per GB over 41 committed processes"
