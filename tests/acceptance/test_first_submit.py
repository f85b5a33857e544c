"""The first submission of a project where no batch system answers: whoever typed it is told within seconds, and mends it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import bookkeeper
from commandline import ok, run
from services import condor

pytestmark = pytest.mark.acceptance

SPEC = """
[project]
name = "copy"
dataset = "zmumu"
[job]
command = ["sh", "-c", 'cat "$2" > "$1"', "copy", "{{output}}", "{{inputs}}"]
files_per_process = 6
[output]
name = "copy-{{process}}.root"
destination = "{folder}/out"
[executor]
{executor}
"""


@pytest.fixture
def folder(tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOOKKEEPER_CATALOG", f"sqlite:///{tmp_path}/bookkeeper.db")
    monkeypatch.chdir(tmp_path)
    bookkeeper.create_catalog(f"sqlite:///{tmp_path}/bookkeeper.db").close()
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "zmumu", "--names", "zmumu-*")
    return tmp_path


def write(folder: Path, executor: str) -> None:
    (folder / "copy.toml").write_text(SPEC.format(folder=folder, executor=executor))


SILENT = {
    "schedd": ('kind = "htcondor"\n[executor.htcondor]\nschedd = "nowhere"', "HTCondor does not answer", "condor_q"),
    "pool": ('kind = "htcondor"\n[executor.htcondor]\npool = "127.0.0.1:9"\nschedd = "a"', "HTCondor does not", "pool"),
    "slurm": ('kind = "slurm"\n[executor.slurm]\nprograms = "/nowhere"', "/nowhere/squeue cannot be run", "login node"),
    "dask": ('kind = "dask"\n[executor.dask]\nscheduler = "tcp://127.0.0.1:9"', "127.0.0.1:9", "scheduler"),
}


@pytest.mark.parametrize("words", [("--json",), ("--detach",)])
@pytest.mark.parametrize("what", SILENT)
def test_a_batch_system_that_does_not_answer_is_told_at_once(folder: Path, what: str, words: tuple[str, ...]) -> None:
    """What the spec says wrong can be mended in it: nothing was handed over, and the same command goes on."""
    condor.shared()
    executor, problem, remedy = SILENT[what]
    write(folder, executor)
    began = time.monotonic()
    told = run("submit", "copy.toml", *words)
    assert told.code == 17, told
    assert time.monotonic() - began < 120
    assert problem in told.err and remedy in told.err
    assert run("status", "copy").code == 0
    write(folder, 'kind = "htcondor"')
    assert ok("submit", "copy.toml", "--json").json["complete"]
    (batch,) = ok("sql", "SELECT executor FROM submissions WHERE batch_id IS NOT NULL", "--json").json
    assert batch == {"executor": "htcondor"}
    assert len(list((folder / "out").glob("copy-*.root"))) == 1


def test_one_that_comes_back_gets_the_jobs_that_were_intended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import htcondor2

    pool = condor.shared()
    away = folder / "condor_config"
    away.write_text(
        f"LOG = {folder}\nCONDOR_HOST = 127.0.0.1\nSCHEDD_ADDRESS_FILE = {folder}/none\nSCHEDD_NAME = none\n"
    )
    write(folder, 'kind = "htcondor"')
    try:
        monkeypatch.setenv("CONDOR_CONFIG", str(away))
        htcondor2.reload_config()
        told = run("submit", "copy.toml")
    finally:
        monkeypatch.setenv("CONDOR_CONFIG", pool.config)
        htcondor2.reload_config()
    assert told.code == 17 and "HTCondor does not answer" in told.err, told
    assert ok("submit", "copy.toml", "--json").json["complete"]
    assert ok("sql", "SELECT count(*) AS n FROM submissions", "--json").json == [{"n": 1}]


def test_bindings_that_are_not_there_are_told_before_anything_is_intended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "htcondor2", None)
    write(folder, 'kind = "htcondor"')
    told = run("submit", "copy.toml")
    assert told.code == 2 and "HTCondor's Python bindings are not installed" in told.err
    assert "sam-bookkeeper[htcondor]" in told.err
