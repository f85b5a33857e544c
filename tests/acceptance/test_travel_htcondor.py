"""A spec whose jobs travel, submitted to a real HTCondor pool that transfers files; the catalog is behind a server."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import bookkeeper
from commandline import ok, run
from services import condor
from services.servers import ServerProcess
from workbench import until

pytestmark = pytest.mark.acceptance

SPEC = """
[project]
name = "skim"
dataset = "zmumu"
[job]
command = ["tools/skim.sh", "{{output}}", "{{inputs}}"]
files = ["settings"]
archives = ["tools.tar.gz"]
files_per_process = 3
stage_inputs = true
[output]
name = "skim-{{process}}.root"
destination = "{folder}/out"
[executor]
kind = "htcondor"
jobs = 2
memory = "200MiB"
disk = "200MB"
transfer = "files"
"""

SKIM = """#!/bin/sh
. ./settings
echo "$LABEL in $(pwd)"
cp "$2" "$1"
"""


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> condor.Pool:
    pool = condor.shared()
    monkeypatch.setenv("CONDOR_CONFIG", pool.config)
    import htcondor2

    htcondor2.reload_config()  # it is read once, when it is first imported
    return pool


@pytest.fixture(autouse=True)
def server(pool: condor.Pool, tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The catalog, with a dataset, behind a server; a spec, and what its jobs take along."""
    (tmp_path / "host").mkdir()
    bookkeeper.create_catalog(f"sqlite:///{tmp_path}/host/bookkeeper.db").close()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings").write_text("LABEL=skimmed\n")
    (tmp_path / "skim.toml").write_text(SPEC.format(folder=tmp_path))
    with ServerProcess(f"sqlite:///{tmp_path}/host/bookkeeper.db", tmp_path / "host") as running:
        monkeypatch.setenv("BOOKKEEPER_CATALOG", running.url)
        ok("file", "declare", zmumu_folder)
        ok("dataset", "define", "zmumu", "--names", "zmumu-*")
        yield


def pack(folder: Path, script: str) -> None:
    """Write what the jobs run, in an archive."""
    (folder / "skim.sh").write_text(script)
    (folder / "skim.sh").chmod(0o755)
    with tarfile.open(folder / "tools.tar.gz", "w:gz") as members:
        members.add(folder / "skim.sh", "tools/skim.sh")


def test_jobs_that_travel_run_on_a_real_pool(tmp_path: Path) -> None:
    pack(tmp_path, SKIM)
    told = ok("submit", "skim.toml", "--json").json
    assert (told["complete"], told["committed"]) == (True, 6)
    printed = ok("logs", "1").out
    assert "skimmed in /" in printed
    assert "outcome" not in printed
    rows = ok("sql", "SELECT DISTINCT executor, state FROM processes WHERE state = 'committed'", "--json").json
    assert rows == [{"executor": "htcondor", "state": "committed"}]
    assert len(list((tmp_path / "out").glob("skim-*.root"))) == 2


def states() -> list[str]:
    return [one["state"] for one in ok("jobs", "skim", "--all", "--json").json["jobs"]]


def at_work() -> bool:
    """Tell whether two processes that are live have files, by what their workers told the catalog."""
    live = "SELECT count(*) AS n FROM processes WHERE state = 'active' AND delivered > 0"
    return bool(ok("sql", live, "--json").json[0]["n"] == 2)


def test_people_hold_release_and_kill_spooled_jobs_from_elsewhere(tmp_path: Path, pool: condor.Pool) -> None:
    """Nobody watches: each verb knows by itself, when it ends, what its jobs do; what was spooled is forgotten in the end."""
    pack(tmp_path, f'#!/bin/sh\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.1; done\ncp "$2" "$1"\n')
    with (tmp_path / "skim.toml").open("a") as spec:
        spec.write("[executor.htcondor]\nspool = true\npoll = 0.2\n")
    try:
        ok("submit", "skim.toml", "--detach")
        until(at_work, "two jobs are at work", 180)
        assert "2 jobs held" in ok("hold", "skim").out
        assert states() == ["held"] * 2
        assert "2 jobs released" in ok("release", "skim").out
        assert "held" not in states()
        until(at_work, "they run again", 180)
        process = ok("sql", "SELECT max(id) AS id FROM processes", "--json").json[0]["id"]
        assert "1 job removed" in ok("kill", "skim", "--process", process).out
        assert sorted(states()) == ["removed", "running"]
        (tmp_path / "go").touch()
        ok("watch", "skim", "--until-done", "--every", "0.2s")
    finally:
        run("kill", "skim")
    tags = {one["tag"] for one in ok("jobs", "skim", "--all", "--json").json["jobs"]}
    until(lambda: not tags & set(pool.tool("condor_q", "-allusers", "-af", "BookkeeperTag").split()), "all left", 60)
    assert ok("status", "skim", "--json").json["complete"]
    assert len(list((tmp_path / "out").glob("skim-*.root"))) == 2
