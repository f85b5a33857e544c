"""The scripts of a DAG killed at any statement: the next one, or the last, makes up for it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import check
from bookkeeper.dagman.scripts import AGAIN, GO, SKIP
from dagging import QUICK, Folder, until_killed
from forking import forks
from journaling import exactly_once, uploads
from ledgers import World

pytestmark = pytest.mark.fault


def run(*arguments: Any) -> int:
    child = forks().Process(target=until_killed, args=arguments)
    child.start()
    child.join()
    return int(child.exitcode or 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "job", "stride"),
    [("pre", "commit", 7), ("post", "commit", 8), ("post", "none", 9), ("final", "none", 10)],
)
def test_a_script_killed_at_any_statement_is_made_up_for(tmp_path: Path, script: str, job: str, stride: int) -> None:
    n, code, kills = 1, -signal.SIGKILL, 0
    while code != 0:
        here = tmp_path / str(n)
        (here / "out").mkdir(parents=True)
        with World.create(here / "c.db", 2, partition_by={"files": 1}, max_attempts=4, policy=QUICK) as world:
            folder = Folder(world, here)
            if script != "pre":
                assert folder.pre("n0") == GO
                folder.job("n0", end=job)
            code = run(world.database.url, folder.path, script, n)
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
            exactly_once(world, here)
            if script == "post" and n % 2:  # DAGMan was killed too, and starts it again; else it is run no more
                assert folder.post("n0", returned=1) == (GO if job == "commit" else AGAIN)
            if (before := folder.pre("n0")) == GO:
                folder.job("n0", "next")
                assert folder.post("n0") == GO
            else:
                assert before == SKIP
            assert world.files("committed") == ["f000"]
            exactly_once(world, here)
            if folder.pre("n1") == GO:
                folder.job("n1")
            assert folder.final() == GO
            exactly_once(world, here)
            check.repair(world.database, older_than=0)  # what the killed job had stored
            assert (world.files("committed"), uploads(here)) == (["f000", "f001"], [])
        n += stride
    assert kills >= 3
