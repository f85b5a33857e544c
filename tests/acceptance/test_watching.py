"""Jobs in a batch system (the toy pool, whose jobs are real processes) are looked after to the end."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import jobs, projects
from bookkeeper.executors.batch import Order
from bookkeeper.jobs import findings
from services.reach import Reach
from toydesk import BLOCKED, ToyDesk, installed
from workbench import until

FAILED = "SELECT reason FROM processes WHERE state = 'rolled_back' AND reason <> 'nothing to do'"


@pytest.fixture
def desk(tmp_path: Path, zmumu_folder: Path, reach: Reach, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyDesk]:
    with installed(tmp_path / "site", monkeypatch):
        made = ToyDesk(tmp_path / "desk" if (tmp_path / "desk").mkdir() is None else tmp_path, zmumu_folder, reach)
        yield made
        made.pool.shut_down()
        made.catalog.close()


def test_everything_is_processed_once_and_the_project_ends(desk: ToyDesk) -> None:
    end = desk.to_the_end(desk.begin())
    assert end.status.complete and end.jobs == {} and end.problems == ()
    desk.exactly_once()
    assert jobs.summary(desk.database, "mass")["verdicts"] == {}
    assert max(len(one) for one in desk.pool.clusters()) > 10
    said = desk.events("job.terminated")
    assert len(said) == len(desk.events("job.running")) >= 6
    assert sum(one["jobs"] for one in desk.events("job.submitted")) == len(desk.states())


def test_no_more_jobs_are_in_the_queue_than_were_asked_for(desk: ToyDesk) -> None:
    sitter = desk.begin(BLOCKED, jobs=3)
    for _ in range(5):
        sitter.step()
        assert len(desk.states()) == 3
    (desk.folder / "go").touch()
    desk.to_the_end(sitter)
    desk.exactly_once()


def test_what_befalls_jobs_is_named_and_mended(desk: ToyDesk) -> None:
    sitter = desk.begin(BLOCKED, jobs=4)
    until(lambda: (sitter.step(), len(desk.running()) == 4)[1], "four jobs run")
    until(lambda: len(desk.rows("SELECT 1 FROM processes WHERE delivered > 0")) == 4, "four processes have files")
    evicted, killed, removed, held = desk.running()
    desk.pool.ask(evicted, "evict")
    desk.pool.ask(killed, "kill")
    desk.pool.ask(removed, "remove", reason="by hand")
    desk.pool.ask(held, "hold", code=34, subcode=102, reason="memory usage exceeded request_memory")
    until(lambda: (sitter.step(), len(desk.rows(FAILED)) >= 4)[1], "four processes are rolled back")
    (desk.folder / "go").touch()
    end = desk.to_the_end(sitter)
    assert end.status.complete
    desk.exactly_once()
    reasons = " ".join(row["reason"] for row in desk.rows(FAILED))
    assert f"{evicted} was evicted" in reasons or f"{evicted} was started again" in reasons
    for said in (f"{killed} ended by signal 9", f"{removed} was removed: by hand", f"{held} was held: memory usage"):
        assert said in reasons
    assert [one["reason"] for one in desk.events("job.removed") if one["job"] == removed] == ["by hand"]
    assert [one["hold_code"] for one in desk.events("job.held")] == [34]
    assert [one["job"] for one in desk.events("job.given_up")] == [held]
    assert len(desk.events("job.evicted")) == 1


def test_a_job_that_a_person_held_waits_for_that_person(desk: ToyDesk) -> None:
    sitter = desk.begin(BLOCKED, jobs=1, per=6)
    until(lambda: (sitter.step(), desk.running())[1], "a job runs")
    (job,) = desk.running()
    desk.pool.hold([job], "let me look")
    until(lambda: (sitter.step(), desk.states() == ["held"])[1], "it is held")
    for _ in range(3):
        sitter.step()
    assert desk.states() == ["held"]
    desk.pool.release([job])
    (desk.folder / "go").touch()
    assert desk.to_the_end(sitter).status.complete
    desk.exactly_once()


def test_jobs_that_never_start_a_process_pause_the_project(desk: ToyDesk) -> None:
    sitter = desk.begin(executor='catalog = "sqlite:////nowhere/at/all.db"')
    status = until(lambda: s if (s := sitter.step().status).open_state == "paused" else None, "it is paused")
    assert "3 jobs in a row ended without having started a process" in status.pause_reason
    verdicts = jobs.summary(desk.database, "mass")["verdicts"]
    assert 3 <= verdicts[findings.NEVER_RAN] <= 5, "others follow the first two, where these end one after the other"
    code, said = desk.run("watch", "mass", "--until-done")
    assert code == 11 and "paused (3 jobs in a row ended" in said


def test_a_pool_that_refuses_is_asked_three_times(desk: ToyDesk) -> None:
    sitter = desk.begin(executor='queue = "refused"')
    status = until(lambda: s if (s := sitter.step().status).open_state == "paused" else None, "it is paused")
    assert "no queue 'refused'" in status.pause_reason
    assert desk.pool.clusters() == []


def test_a_pool_that_does_not_answer_is_asked_again(desk: ToyDesk) -> None:
    sitter = desk.begin()
    (desk.pool.root / "away").touch()
    for _ in range(3):
        assert sitter.step().problems == ("the toy pool does not answer",)
    assert set(desk.states()) == {"intended"}
    (desk.pool.root / "away").unlink()
    assert desk.to_the_end(sitter).status.complete
    assert len(set(desk.pool.clusters())) == len(desk.pool.clusters())


def test_a_folder_that_takes_no_files_is_tried_again(desk: ToyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the jobs were handed over: the tag tells at the next look."""
    sitter = desk.begin()

    def full(system: object, order: Order) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(order.folder / "jobs.sub"))

    with monkeypatch.context() as patched:
        patched.setattr("toypool.ToyPool.submit", full)
        for _ in range(2):
            (problem,) = sitter.step().problems
            assert problem.endswith("No space left on device")
        assert set(desk.states()) == {"intended"}
    assert desk.to_the_end(sitter).status.complete
    desk.exactly_once()


def test_a_job_that_vanished_is_found_missing(desk: ToyDesk) -> None:
    sitter = desk.begin(BLOCKED, jobs=2)
    until(lambda: (sitter.step(), len(desk.running()) == 2)[1], "two jobs run")
    gone, _ = desk.running()
    desk.pool.ask(gone, "vanish")
    until(lambda: any(desk.pool.queue.glob("*/*.vanished")), "it is gone")
    sitter._reconcile_at = 0.0
    until(lambda: (sitter.step(), "lost" in desk.states())[1], "it is lost")
    assert [one["job"] for one in desk.events("job.lost")] == [gone]


def test_success_there_and_failure_here_is_a_finding(desk: ToyDesk) -> None:
    """A job that ends well without having done anything; and the reverse."""
    assert findings.verdict_of("completed", 0, None, None) == findings.SUCCESS_ONLY
    assert findings.verdict_of("completed", 0, None, "rolled_back") == findings.SUCCESS_ONLY
    assert findings.verdict_of("removed", None, None, "committed") == findings.COMMIT_ONLY
    assert findings.verdict_of("removed", None, None, "committed", "CANCELLED") == findings.AGREE
    assert findings.verdict_of("removed", None, None, "committed", "TIMEOUT") == findings.COMMIT_ONLY
    assert findings.verdict_of("completed", None, 9, "committed") == findings.COMMIT_ONLY
    assert findings.verdict_of("completed", 13, None, "rolled_back") == findings.AGREE
    assert findings.verdict_of("completed", 0, None, "committed") == findings.AGREE
    sitter = desk.begin(BLOCKED, jobs=1, lease="30s")  # its heartbeat tells the job of the end
    until(lambda: (sitter.step(), desk.running())[1], "a job runs")
    until(lambda: desk.rows("SELECT 1 FROM processes WHERE delivered > 0"), "its process has files")
    (process,) = desk.rows("SELECT id FROM processes")
    projects.end(desk.database, "mass", fence=True)
    until(lambda: sitter.step().over, "all is over")
    assert desk.rows("SELECT state FROM processes WHERE id = ?", process["id"]) == [{"state": "rolled_back"}]
