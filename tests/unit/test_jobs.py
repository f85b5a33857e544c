"""Jobs of batch systems in the catalog: intended once, taken in once, however many do it at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import jobs
from bookkeeper.api import Catalog, create_catalog
from bookkeeper.errors import NotAllowed
from bookkeeper.jobs import Seen
from bookkeeper_schema.states import JobState
from goodcatalog import started
from services import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    url = f"sqlite:///{tmp_path}/c.db" if request.param == "sqlite" else postgres.shared().new()
    with closing(create_catalog(url)) as empty:
        made, _ = started(tmp_path, catalog=empty)
        yield made


def intend(catalog: Catalog, tag: str, wanted: int, project: str = "mass") -> int:
    return jobs.intend(
        catalog.database, project, tag=tag, executor="toy", host="here", folder=f"/batch/{tag}", asks={}, wanted=wanted
    )


def submit(catalog: Catalog, tag: str, count: int) -> int:
    """Submit jobs under a tag; return the submission's number."""
    assert intend(catalog, tag, count) == count
    (one,) = [one for one in jobs.submissions(catalog.database, "mass") if one["tag"] == tag]
    names = [f"{tag}.{number}" for number in range(count)]
    assert jobs.submitted(catalog.database, "mass", one["id"], batch_id=tag, jobs=names)
    return int(one["id"])


def states(catalog: Catalog) -> list[str]:
    return [row["state"] for row in jobs.table(catalog.database, "mass", everything=True)]


def at_once(count: int, what: Callable[[int], Any]) -> list[Any]:
    """Do something in several threads, begun together."""
    gate = threading.Barrier(count)

    def one(number: int) -> Any:
        gate.wait()
        return what(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_no_more_jobs_are_intended_than_are_wanted_however_many_ask(catalog: Catalog) -> None:
    got = at_once(6, lambda number: intend(catalog, f"t{number}", 5))
    assert sorted(got) == [0, 0, 0, 0, 0, 5]
    assert states(catalog) == ["intended"] * 5


def test_an_intention_said_again_is_the_same(catalog: Catalog) -> None:
    assert intend(catalog, "t", 2) == intend(catalog, "t", 2) == 2
    assert intend(catalog, "u", 2) == 0
    catalog.project("mass").pause("wait")
    assert intend(catalog, "v", 9) == 0


def test_a_submission_is_settled_once(catalog: Catalog) -> None:
    intend(catalog, "t", 2)
    ((number,),) = [(one["id"],) for one in jobs.submissions(catalog.database, "mass")]
    said = at_once(4, lambda _: jobs.submitted(catalog.database, "mass", number, batch_id="7", jobs=["7.0", "7.1"]))
    assert sorted(said) == [False, False, False, True]
    assert not jobs.not_submitted(catalog.database, "mass", number, reason="late")
    assert states(catalog) == ["idle", "idle"]
    with pytest.raises(NotAllowed):
        catalog.define_dataset("none", names=["f00"])
        catalog.start_project("other", dataset="none")
        jobs.submitted(catalog.database, "other", number, batch_id="8", jobs=["8.0", "8.1"])


def test_what_happened_is_taken_in_once(catalog: Catalog) -> None:
    number = submit(catalog, "t", 1)
    seen = [Seen(0, "run", 5.0, JobState.RUNNING, node="wn1"), Seen(0, "evicted", 6.0, JobState.IDLE, died=True)]
    said = at_once(4, lambda _: jobs.observe(catalog.database, "mass", number, None, "20", seen))
    assert sorted(said, key=str) == [2, None, None, None]
    (job,) = jobs.table(catalog.database, "mass")
    assert (job["state"], job["starts"]) == ("idle", 1)
    kinds = [row["kind"] for row in catalog.sql("SELECT kind FROM events WHERE kind LIKE 'job.%' ORDER BY id")]
    assert kinds == ["job.submitted", "job.running", "job.evicted"]


def test_a_job_that_is_over_stays_so_unless_it_was_only_lost(catalog: Catalog) -> None:
    number = submit(catalog, "t", 2)
    over = [Seen(0, "removed", 5.0, JobState.REMOVED), Seen(1, "lost", 5.0, JobState.LOST)]
    assert jobs.observe(catalog.database, "mass", number, None, "1", over) == 2
    back = [Seen(one, "run", 6.0, JobState.RUNNING) for one in (0, 1)]
    assert jobs.observe(catalog.database, "mass", number, "1", "2", back) == 1
    assert states(catalog) == ["removed", "running"]


def test_a_pool_without_a_position_may_tell_the_same_again(catalog: Catalog) -> None:
    number = submit(catalog, "t", 1)
    seen = [Seen(0, "R", 5.0, JobState.RUNNING)]
    assert [jobs.observe(catalog.database, "mass", number, None, None, seen) for _ in range(3)] == [1, 0, 0]


def test_a_process_whose_job_is_dead_is_found_whenever_one_looks(catalog: Catalog) -> None:
    number = submit(catalog, "t", 2)
    project = catalog.project("mass")
    first = project.start_process(executor="toy", job_id="t.0")
    other = project.start_process(executor="toy", job_id="t.1")
    assert [row["process_id"] for row in jobs.table(catalog.database, "mass")] == [first.id, other.id]
    assert jobs.dead(catalog.database, "mass") == []
    ended = [Seen(0, "ended", 1.0, JobState.COMPLETED, died=True, signal=9, reason="killed")]
    jobs.observe(catalog.database, "mass", number, None, "1", ended)
    (dead,) = jobs.dead(catalog.database, "mass")
    assert (dead["process"], dead["signal"], dead["why"]) == (first.id, 9, 0)
    gone = [Seen(1, "lost", 2.0, JobState.LOST)]
    jobs.observe(catalog.database, "mass", number, "1", "2", gone)
    assert len(jobs.dead(catalog.database, "mass")) == 1, "it may run: its lease decides"
    back = [Seen(1, "run", 3.0, JobState.RUNNING), Seen(1, "lost", 4.0, JobState.LOST, died=True)]
    jobs.observe(catalog.database, "mass", number, "2", "3", back)
    assert [row["process"] for row in jobs.dead(catalog.database, "mass")] == [first.id, other.id]
    jobs.observe(catalog.database, "mass", number, "3", "4", back[:1])
    again = project.start_process(executor="toy", job_id="t.1")
    assert [row["process"] for row in jobs.dead(catalog.database, "mass")] == [first.id, other.id]
    assert again.id not in [row["process"] for row in jobs.dead(catalog.database, "mass")]


def test_a_held_job_is_given_up_once(catalog: Catalog) -> None:
    number = submit(catalog, "t", 2)
    held = Seen(1, "held", 1.0, JobState.HELD, hold_code=34, reason="over memory")
    jobs.observe(catalog.database, "mass", number, None, "1", [held])
    said = {"job": "t.1", "reason": "over memory"}
    told = [jobs.decide(catalog.database, "mass", number, 1, said) for _ in range(2)]
    (one,) = jobs.submissions(catalog.database, "mass")
    assert (told, [job["verdict"] for job in one["unfinished"]]) == ([True, False], [None, "held: to be removed"])
    assert len(list(catalog.sql("SELECT 1 FROM events WHERE kind = 'job.given_up'"))) == 1


def test_no_process_dies_that_was_opened_after_its_job_was_seen_to_wait_whatever_the_clocks_say(
    catalog: Catalog,
) -> None:
    number = submit(catalog, "t", 1)
    first = catalog.project("mass").start_process(executor="toy", job_id="t.0")
    ahead = [Seen(0, "run", 5.0, JobState.RUNNING), Seen(0, "evicted", 9e9, JobState.IDLE, died=True)]
    jobs.observe(catalog.database, "mass", number, None, "1", ahead)
    assert [row["process"] for row in jobs.dead(catalog.database, "mass")] == [first.id]
    again = catalog.project("mass").start_process(executor="toy", job_id="t.0")
    assert again.id not in [row["process"] for row in jobs.dead(catalog.database, "mass")]


def test_an_eviction_that_is_told_late_is_that_of_the_process_it_ended(catalog: Catalog) -> None:
    """The next process of the job is not said to have met it, when it is told to stop for another reason."""
    number = submit(catalog, "t", 1)
    project = catalog.project("mass")
    first = project.start_process(executor="toy", job_id="t.0", files_per_process=1)
    again = project.start_process(executor="toy", job_id="t.0", files_per_process=1)
    (row,) = catalog.sql(f"SELECT started_at AS at FROM processes WHERE id = {again.id}")
    late = [
        Seen(0, "run", 1.0, JobState.RUNNING),
        Seen(0, "evicted", row["at"] - 1e-6, JobState.IDLE, died=True, reason="the node went down"),
        Seen(0, "run", row["at"], JobState.RUNNING),
    ]
    jobs.observe(catalog.database, "mass", number, None, "1", late)
    full = [Seen(0, "held", row["at"] + 60, JobState.HELD, died=True, hold_code=34, reason="memory exceeded")]
    jobs.observe(catalog.database, "mass", number, "1", "2", full)
    for process in (first, again):
        process.next_files(1)
        process.roll_back("the worker was told to stop by signal 15")
    assert jobs.name_causes(catalog.database, "mass") == 2
    said = {row["id"]: row["reason"] for row in catalog.sql("SELECT id, reason FROM processes")}
    assert said == {
        first.id: "its job t.0 was evicted: the node went down",
        again.id: "its job t.0 was held: memory exceeded",
    }


def test_why_a_job_was_evicted_may_be_heard_later(catalog: Catalog) -> None:
    """Of one end, that is: a job that is held an hour after it was evicted was not evicted because of it."""
    for tag, pause in (("t", 1.0), ("u", 3600.0)):
        number = submit(catalog, tag, 1)
        process = catalog.project("mass").start_process(executor="toy", job_id=f"{tag}.0", files_per_process=1)
        (row,) = catalog.sql(f"SELECT started_at AS at FROM processes WHERE id = {process.id}")
        gone = Seen(0, "evicted", row["at"] + 1, JobState.IDLE, died=True, reason="via condor_rm")
        jobs.observe(catalog.database, "mass", number, None, "1", [Seen(0, "run", row["at"], JobState.RUNNING), gone])
        process.next_files(1)
        process.roll_back("the worker was told to stop by signal 15")
        assert jobs.name_causes(catalog.database, "mass") == 1
        removed = Seen(0, "removed", row["at"] + 1 + pause, JobState.REMOVED, died=True, reason="via condor_rm")
        jobs.observe(catalog.database, "mass", number, "1", "2", [removed])
        assert jobs.name_causes(catalog.database, "mass") == (pause < 2)
        assert jobs.name_causes(catalog.database, "mass") == 0
    said = [row["reason"] for row in catalog.sql("SELECT reason FROM processes ORDER BY id")]
    assert said == ["its job t.0 was removed: via condor_rm", "its job u.0 was evicted: via condor_rm"]


def test_a_worker_that_is_told_to_stop_because_its_job_starts_again_says_so(catalog: Catalog) -> None:
    """Its shadow died, and nobody told: the worker may be told to stop before anybody buries its process."""
    number = submit(catalog, "t", 1)
    project = catalog.project("mass")
    first = project.start_process(executor="toy", job_id="t.0", files_per_process=1)
    again = project.start_process(executor="toy", job_id="t.0", files_per_process=1)
    (row,) = catalog.sql(f"SELECT started_at AS at FROM processes WHERE id = {again.id}")
    why = "started again, and nobody told that it had stopped"
    runs = [
        Seen(0, "run", 1.0, JobState.RUNNING),
        Seen(0, "run", row["at"] - 1e-6, JobState.RUNNING, died=True, reason=why),
    ]
    jobs.observe(catalog.database, "mass", number, None, "1", runs)
    for process in (first, again):
        process.next_files(1)
        process.roll_back("the worker was told to stop by signal 15")
    assert jobs.name_causes(catalog.database, "mass") == 1
    assert jobs.name_causes(catalog.database, "mass") == 0
    said = [row["reason"] for row in catalog.sql("SELECT reason FROM processes ORDER BY id")]
    assert said == [f"its job t.0 was {why}", "the worker was told to stop by signal 15"]


def test_a_process_that_was_buried_because_its_job_started_again_is_named_once(catalog: Catalog) -> None:
    number = submit(catalog, "t", 1)
    first = catalog.project("mass").start_process(executor="toy", job_id="t.0", files_per_process=1)
    runs = [Seen(0, "run", 1.0, JobState.RUNNING), Seen(0, "run", 9e9, JobState.RUNNING, died=True)]
    jobs.observe(catalog.database, "mass", number, None, "1", runs)
    first.next_files(1)
    first.roll_back("its job t.0 was started again")
    assert jobs.name_causes(catalog.database, "mass") == 0


def test_two_batch_systems_that_gave_one_id_bury_nobody_for_each_other(catalog: Catalog) -> None:
    for tag in ("t", "u"):
        assert intend(catalog, tag, 1) == 1
        (one,) = jobs.submissions(catalog.database, "mass")
        jobs.submitted(catalog.database, "mass", one["id"], batch_id="1", jobs=["1.0"])
        if tag == "t":
            over = [Seen(0, "ended", 5.0, JobState.COMPLETED, died=True, exit_code=0)]
            jobs.observe(catalog.database, "mass", one["id"], None, "1", over)
    catalog.project("mass").start_process(executor="toy", job_id="1.0")
    assert jobs.dead(catalog.database, "mass") == []


def test_why_a_job_waits_is_kept_as_long_as_it_does(catalog: Catalog) -> None:
    number = submit(catalog, "t", 2)

    def told(*seen: Seen) -> dict[str, int]:
        jobs.observe(catalog.database, "mass", number, None, None, seen)
        return jobs.summary(catalog.database, "mass")["waits"]

    why = "no slot of the pool can run it"
    assert told(Seen(0, "waits", 1.0, reason=why), Seen(1, "waits", 1.0, reason=why)) == {why: 2}
    assert told(Seen(0, "waits", 2.0, reason="")) == {why: 1}
    assert told(Seen(1, "submitted", 2.0, JobState.IDLE)) == {why: 1}
    jobs.observe(catalog.database, "mass", number, None, "1", [Seen(1, "running", 3.0, JobState.RUNNING)])
    assert told(Seen(1, "waits", 2.0, reason=why)) == {}  # it does not wait: that was told too late
    rows = list(jobs.table(catalog.database, "mass"))
    assert [(row["state"], row["reason"]) for row in rows] == [("idle", None), ("running", None)]


def test_where_the_two_differ_is_recorded_once(catalog: Catalog) -> None:
    number = submit(catalog, "t", 1)
    jobs.observe(catalog.database, "mass", number, None, "1", [Seen(0, "ended", 1.0, JobState.COMPLETED, exit_code=0)])
    assert sorted(at_once(3, lambda _: jobs.judge(catalog.database, "mass"))) == [0, 0, 1]
    assert jobs.summary(catalog.database, "mass") == {
        "states": {"completed": 1},
        "verdicts": {"the batch system says success, the catalog says no": 1},
        "waits": {},
    }
    assert len(list(catalog.sql("SELECT 1 FROM events WHERE kind = 'job.differs'"))) == 1
