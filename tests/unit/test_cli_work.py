"""`work` and `submit`: run commands as processes, and show how it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bookkeeper
from commandline import ok, run
from services.reach import Reach

JOB = """\
import os, shutil, sys
output, *inputs = sys.argv[1:]
print("reading", len(inputs))
if any(os.path.exists(os.path.basename(path) + ".bad") for path in inputs):
    sys.exit("basket 3 is corrupt")
shutil.copy(inputs[0], output)
"""
SPEC = f"""\
[project]
name = "p"
dataset = "zmumu"
[job]
command = [{sys.executable!r}, "job.py", "{{output}}", "{{inputs}}"]
files_per_process = 3
[output]
name = "mass-{{process}}.root"
destination = "out"
[executor]
kind = "local"
jobs = 2
"""
OUTPUT = ["--output-name", "mass-{process}.root", "--destination", "out"]
COMMAND = [sys.executable, "job.py", "{output}", "{inputs}"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path, reach: Reach) -> Path:
    monkeypatch.chdir(tmp_path)
    reach(tmp_path / "bookkeeper.db")
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "zmumu", "--names", "*")
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "p.toml").write_text(SPEC)
    return tmp_path


def test_work_commits_and_tells(here: Path) -> None:
    ok("project", "start", "p", "--dataset", "zmumu")
    ran = ok("work", "p", "--files-per-process", "4", *OUTPUT, "--", *COMMAND)
    assert ran.out == f"process 1 is committed: 4 of 4 files, 2,000 entries\n  {here}/out/mass-1.root\n"
    found = ok("work", "p", "--json", *OUTPUT, "--expect-tree", "events", "--", *COMMAND).json
    assert (found["fate"], found["files"], found["outputs"]) == ("committed", 2, [f"{here}/out/mass-2.root"])
    nothing = run("work", "p", *OUTPUT, "--", *COMMAND)
    assert (nothing.code, nothing.out) == (12, "")
    assert nothing.err.startswith("nothing to do: ")
    assert "reading 4" in ok("logs", "1").out


def test_work_that_fails_is_rolled_back_and_names_the_logs(here: Path) -> None:
    ok("project", "start", "p", "--dataset", "zmumu")
    (here / "zmumu-1.root.bad").touch()
    ran = run("work", "p", *OUTPUT, "--", *COMMAND)
    assert ran.code == 13
    assert ran.err.startswith("error: process 1 was rolled back in analysis: ")
    assert ran.err.endswith("→ bookkeeper logs 1\n")
    assert "basket 3 is corrupt" in ok("logs", "1", "--stderr").out


def test_work_on_a_paused_project() -> None:
    ok("project", "start", "p", "--dataset", "zmumu")
    ok("project", "pause", "p")
    assert run("work", "p", "--", "true").code == 11


def test_work_on_an_excluded_node_gets_no_file_and_says_why() -> None:
    ok("project", "start", "p", "--dataset", "zmumu")
    ok("node", "exclude", "wn17", "--for", "2h", "--reason", "its disk is full")
    ran = run("work", "p", "--node", "wn17", "--", "true")
    assert ran.code == 15
    assert ran.err.startswith("error: a process of p was given no file: ")
    assert "wn17" in ran.err and "its disk is full" in ran.err and "bookkeeper node admit" in ran.err
    assert run("work", "p", "--node", "wn17", "--json", "--", "true").json["fate"] == "excluded"


def test_submit_dry_run_changes_nothing(here: Path) -> None:
    ran = ok("submit", "p.toml", "--dry-run", "--jobs", "5")
    assert ran.lines[0] == "project p would be started: 6 files"
    assert "5 at a time" in ran.out
    assert ok("submit", "p.toml", "--dry-run", "--json").json["action"] == "start"
    assert ok("project", "list").out == "no project\n"


def test_submit_dry_run_without_a_catalog(here: Path) -> None:
    ran = ok("--catalog", "sqlite:///none.db", "submit", "p.toml", "--dry-run")
    assert "there is no catalog yet" in ran.out
    assert not (here / "none.db").exists()


def test_submit_to_the_end_then_again(here: Path) -> None:
    ran = ok("submit", "p.toml")
    assert ran.lines[-1] == "→ bookkeeper outputs p --paths"
    assert len(ok("outputs", "p", "--paths").lines) == 2
    assert ok("submit", "p.toml", "--json").json["complete"] is True


def test_recover_submits_the_remembered_spec(here: Path) -> None:
    with bookkeeper.open_catalog() as catalog:
        project = catalog.start_project("p", "zmumu", files_per_process=3)
        project.park([f"zmumu-{number}.root" for number in range(1, 7)], "wait")
    assert run("submit", "p.toml").code == 10
    assert "unpark p --all" in ok("status", "p").out
    ok("project", "unpark", "p", "--all")
    found = ok("recover", "p", "--submit", "--json").json
    assert (found["complete"], found["request"]) == (True, "p")


def test_recover_refuses_the_spec_of_another_request(here: Path) -> None:
    ok("project", "start", "q", "--dataset", "zmumu")
    ok("project", "start", "p", "--dataset", "zmumu")
    ran = run("recover", "q", "--submit", "--spec", "p.toml")
    assert (ran.code, "of request p, not of q" in ran.err) == (2, True)


def test_an_interrupt_leaves_the_project_open(here: Path) -> None:
    (here / "job.py").write_text("import threading; print('begun', flush=True); threading.Event().wait()")
    command = [sys.executable, "-m", "bookkeeper_cli.main", "submit", "p.toml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if "live process" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (
        130,
        "stopped in good order; `bookkeeper submit p.toml` goes on where it was\n",
    )
    assert "Traceback" not in out
    view = ok("status", "p", "--json").json
    assert (view["open_state"], view["live"], view["available"]) == ("open", 0, 6)
