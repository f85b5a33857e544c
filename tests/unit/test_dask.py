"""What Dask may be asked for. Real clusters are in tests/acceptance/test_dask.py."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from batchdesk import BatchDesk
from bookkeeper.errors import UsageError
from bookkeeper.executors import dask
from bookkeeper.executors.batch import Asks
from bookkeeper.executors.dask import clusters
from bookkeeper.executors.dask.options import DaskOptions
from bookkeeper.submit import submit


@pytest.mark.parametrize(
    "table",
    [
        {"schedular": "tcp://h:1"},
        {"scheduler": "host:8786"},
        {"scheduler": 7},
        {"scheduler": "tcp://h:1", "workers": 3},
        {"workers": 0},
        {"workers": True},
        {"adapt": True},
        {"adapt": "yes", "workers": 1},
        {"options": 3},
        {"timeout": "soon"},
    ],
)
def test_tables_that_are_refused(tmp_path: Path, table: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        dask.make(tmp_path, table)


@pytest.mark.parametrize(
    "asked", [{"memory_mb": 5.0}, {"cpus": 2}, {"queue": "q"}, {"extra": ("-x",)}, {"transfer": "files"}]
)
def test_what_is_said_of_workers_is_not_asked_for_tasks(tmp_path: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        dask.make(tmp_path, {}).check(Asks(**asked))
    assert refused.value.remedy
    dask.make(tmp_path, {}).check(Asks(run_time_s=60))


@pytest.mark.parametrize("name", ["Sluurm", "no_such_module:Cluster", "bookkeeper:NoCluster"])
def test_clusters_that_there_are_not(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        dask.make(tmp_path, {"cluster": name}).check(Asks())


def test_clusters_of_batch_jobs_are_made_by_their_options() -> None:
    """What a job of the pool runs is dask-jobqueue's; the options of the table are its own."""
    kind = clusters.class_of("SLURMCluster")
    words = {"cores": 2, "memory": "2GB", "queue": "long", "walltime": "01:00:00", "scheduler_options": {"port": 0}}
    options = DaskOptions.of({"cluster": "SLURMCluster", "options": {**words, "job_cls": None}})
    assert options.cluster == "SLURMCluster" and clusters.class_of("dask_jobqueue:SLURMCluster") is kind
    script = kind.job_cls(
        "tcp://h:1", name="w", **{k: v for k, v in words.items() if k != "scheduler_options"}
    ).job_script()
    assert "#SBATCH -p long" in script and "tcp://h:1" in script


def test_no_jobs_are_left_alone_in_a_cluster_that_would_end_with_who_submits_them(
    tmp_path: Path, zmumu_folder: Path
) -> None:
    with contextlib.closing(BatchDesk("dask", tmp_path, zmumu_folder)) as desk:
        with pytest.raises(UsageError, match="would end with this command"):
            submit(desk.spec(), desk.database, detach=True)
        assert desk.rows("SELECT * FROM submissions") == []
