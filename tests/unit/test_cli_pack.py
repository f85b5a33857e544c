"""`pack` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commandline import ok, run

SPEC = """
[project]
name = "p"
dataset = "all"
[job]
command = ["python3", "mass.py", "{output}", "{inputs}"]
[output]
name = "m-{process}.root"
destination = "s3://bucket/out"
[executor]
transfer = "files"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    (tmp_path / "mass.py").write_text("")
    (tmp_path / "spec.toml").write_text(SPEC)
    return tmp_path


def test_a_folder_with_all_that_a_job_needs_and_the_command(here: Path) -> None:
    ran = ok("--catalog", "https://host:8443", "pack", "spec.toml", "--into", "job")
    assert [line.partition(":")[0] for line in ran.lines[:3]] == [
        "job/bookkeeper-worker",
        "job/job.json",
        "job/cargo.tar.gz",
    ]
    assert ran.lines[3] == "on the node: /bin/sh bookkeeper-worker https://host:8443 job.json"
    assert json.loads((here / "job/job.json").read_text())["project"] == "p"
    again = run("pack", "spec.toml", "--into", "job")
    assert (again.code, "is there already" in again.err) == (2, True)


def test_without_a_server_the_job_takes_a_ticket(here: Path) -> None:
    made = ok("pack", "spec.toml", "--into", "job", "--project", "p-recovery-1", "--json").json
    assert made["command"][2:] == ["--ticket", "TICKET", "--journal", "JOURNAL", "job.json"]
    assert [one["name"] for one in made["files"]] == ["bookkeeper-worker", "job.json", "cargo.tar.gz"]
    assert json.loads((here / "job/job.json").read_text())["project"] == "p-recovery-1"


def test_a_spec_whose_jobs_do_not_travel_is_refused(here: Path) -> None:
    (here / "spec.toml").write_text(SPEC.replace('"files"', '"shared"'))
    ran = run("pack", "spec.toml", "--into", "job")
    assert (ran.code, 'transfer = "files"' in ran.err) == (2, True)
    assert not (here / "job").exists()
