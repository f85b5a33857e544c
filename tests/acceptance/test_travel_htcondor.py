"""A spec whose jobs travel, submitted to a real HTCondor pool that transfers files; the catalog is behind a server."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

import bookkeeper
from commandline import ok
from services import condor
from services.servers import ServerProcess

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


def test_jobs_that_travel_run_on_a_real_pool(
    tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = condor.shared()
    monkeypatch.setenv("CONDOR_CONFIG", pool.config)
    (tmp_path / "host").mkdir()
    bookkeeper.create_catalog(f"sqlite:///{tmp_path}/host/bookkeeper.db").close()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings").write_text("LABEL=skimmed\n")
    (tmp_path / "skim.sh").write_text(SKIM)
    (tmp_path / "skim.sh").chmod(0o755)
    with tarfile.open("tools.tar.gz", "w:gz") as members:
        members.add("skim.sh", "tools/skim.sh")
    (tmp_path / "skim.toml").write_text(SPEC.format(folder=tmp_path))
    with ServerProcess(f"sqlite:///{tmp_path}/host/bookkeeper.db", tmp_path / "host") as server:
        monkeypatch.setenv("BOOKKEEPER_CATALOG", server.url)
        ok("file", "declare", zmumu_folder)
        ok("dataset", "define", "zmumu", "--names", "zmumu-*")
        told = ok("submit", "skim.toml", "--json").json
        assert (told["complete"], told["committed"]) == (True, 6)
        printed = ok("logs", "1").out
        assert "skimmed in /" in printed and "outcome" not in printed
        rows = ok("sql", "SELECT DISTINCT executor, state FROM processes WHERE state = 'committed'", "--json").json
        printed = ok("logs", "1").out
        assert "skimmed in /" in printed
        assert "outcome" not in printed
        assert rows == [{"executor": "htcondor", "state": "committed"}]
    assert len(list((tmp_path / "out").glob("skim-*.root"))) == 2
