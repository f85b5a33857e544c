"""What people do to jobs of a real HTCondor pool while nobody looks after them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from batchdesk import WAITS, BatchDesk
from bookkeeper.watching import verbs
from bookkeeper.watching.verbs import Chosen
from services import condor
from workbench import until

pytestmark = pytest.mark.fault


def test_jobs_are_held_released_and_killed_where_nobody_watches(
    tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog knows at once; what was held by other means is released; a node goes by the name of the machine."""
    pool = condor.shared()
    monkeypatch.setenv("CONDOR_CONFIG", pool.config)
    monkeypatch.setattr(verbs, "PATIENCE", 60.0)
    import htcondor2

    htcondor2.reload_config()  # it is read once, when it is first imported
    with contextlib.closing(BatchDesk("htcondor", tmp_path, zmumu_folder)) as desk:
        sitter = desk.begin(WAITS, jobs=2, executor='memory = "100MiB"')
        running = "SELECT job_id, node FROM processes WHERE state = 'active' AND delivered > 0"
        try:
            until(lambda: (sitter.step(), len(desk.rows(running)) == 2)[1], "two run")
            jobs = sorted(row["job_id"] for row in desk.rows(running))
            assert len(verbs.hold(desk.database, "mass", Chosen()).processes) == 2
            assert desk.states() == ["held"] * 2
            assert sorted(verbs.release(desk.database, "mass", Chosen()).jobs) == jobs
            assert "held" not in desk.states()
            pool.tool("condor_hold", "-reason", "by other means", jobs[0])
            assert "held" not in desk.states()
            assert verbs.release(desk.database, "mass", Chosen()).jobs == (jobs[0],)
            until(lambda: {row["job_id"] for row in desk.rows(running)} == set(jobs), "both run again, unseen")
            done = verbs.kill(desk.database, "mass", Chosen(node=desk.rows(running)[0]["node"]))
            assert sorted(done.jobs) == jobs and len(done.processes) >= 2
            assert desk.states() == ["removed"] * 2
        finally:
            try:
                verbs.kill(desk.database, "mass", Chosen())
            finally:
                pool.clear()
