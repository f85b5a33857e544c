"""A project on a real Slurm and a real Dask, looked after to its end without a human command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import jobs
from services import slurm
from toydesk import BLOCKED, ToyDesk
from workbench import until

FAILED = "SELECT reason FROM processes WHERE state = 'rolled_back' AND reason <> 'nothing to do'"


@pytest.fixture
def desk(tmp_path: Path, zmumu_folder: Path) -> Iterator[ToyDesk]:
    tmp_path.chmod(0o755)
    made = ToyDesk(tmp_path, zmumu_folder)
    yield made
    made.systems.close()
    made.catalog.close()


def test_slurm_cancels_jobs_and_everything_counts_once(desk: ToyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = slurm.shared()
    pool.up()
    pool.ready()
    for name, value in pool.environment.items():
        monkeypatch.setenv(name, value)
    desk.kind = "slurm"
    sitter = desk.begin(BLOCKED, jobs=4)
    until(lambda: (sitter.step(), len(desk.running()) == 4)[1], "four jobs run", 180)
    until(lambda: len(desk.rows("SELECT 1 FROM processes WHERE delivered > 0")) == 4, "four processes have files", 180)
    cancelled = desk.running()[:2]
    pool.run("scancel", *cancelled)
    until(lambda: (sitter.step(), len(desk.rows(FAILED)) >= 2)[1], "two processes are rolled back", 180)
    (desk.folder / "go").touch()
    end = desk.to_the_end(sitter, 180)
    assert end.status.complete and end.status.parked == 0
    desk.exactly_once()
    said = " ".join(row["reason"] for row in desk.rows(FAILED))
    assert "told to stop" in said or "was removed" in said, said
    assert set(cancelled) <= {one["job"] for one in desk.events("job.removed")}
    assert jobs.summary(desk.database, "mass")["verdicts"] == {}


def test_why_a_job_waits_in_slurm_is_seen_in_the_queue_of_its_project(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slurm.running() as own:
        monkeypatch.setenv("SLURM_CONF", own.environment["SLURM_CONF"])
        own.run("scontrol", "update", "PartitionName=main", "State=DOWN")
        desk.kind = "slurm"
        sitter = desk.begin(BLOCKED, jobs=1, executor="[executor.slurm]\npoll = 0.2")
        told = until(lambda: [one for one in sitter.step().problems if "wait" in one], "why it waits", 180)
        assert told == ["jobs wait: PartitionDown"]
        assert jobs.summary(desk.database, "mass")["waits"] == {"PartitionDown": 1}
        own.run("scontrol", "update", "PartitionName=main", "State=UP")
        (desk.folder / "go").touch()
        assert desk.to_the_end(sitter, 180).status.complete
        assert jobs.summary(desk.database, "mass")["waits"] == {}


def test_dask_runs_everything_and_everything_counts_once(desk: ToyDesk) -> None:
    desk.kind = "dask"
    sitter = desk.begin(BLOCKED, jobs=2, executor="[executor.dask]\nworkers = 2\noptions = { threads_per_worker = 1 }")
    until(lambda: (sitter.step(), len(desk.running()) == 2)[1], "two jobs run", 180)
    until(lambda: len(desk.rows("SELECT 1 FROM processes WHERE delivered > 0")) == 2, "two processes have files", 180)
    (desk.folder / "go").touch()
    end = desk.to_the_end(sitter, 180)
    assert end.status.complete
    desk.exactly_once()
