"""Workers that are told to stop, fenced or killed: the command never outlives them, and its files are free again."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leftovers import none_left
from workbench import STUBBORN, WAIT_FOR_SIGNAL, Bench, alive, until


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def bench(tmp_path: Path, zmumu_folder: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, zmumu_folder)
    yield made
    made.catalog.close()


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


PID = "import os; open('pid', 'w').write(str(os.getpid()))\n"


def started(bench: Bench, text: str, **changes: Any) -> tuple[subprocess.Popen[str], int]:
    """A worker whose command runs, and the command's process id."""
    worker = bench.worker(bench.job(*bench.script(PID + text), **changes))
    until(lambda: (bench.folder / "running").exists() or worker.poll() is not None, "the start of the command")
    assert worker.poll() is None, worker.communicate()
    return worker, int((bench.folder / "pid").read_text())


def outcome_of(worker: subprocess.Popen[str]) -> dict[str, Any]:
    stdout, stderr = worker.communicate(timeout=180)
    assert not stderr, stderr
    outcome: dict[str, Any] = json.loads(stdout.splitlines()[-1])["outcome"]
    return outcome


def test_sigterm_is_forwarded_and_counts_as_a_failure(bench: Bench, scratch: Path) -> None:
    worker, pid = started(bench, WAIT_FOR_SIGNAL)
    worker.terminate()
    outcome = outcome_of(worker)
    assert worker.returncode == 13
    assert outcome["reason"] == "the worker was told to stop by signal 15 (SIGTERM)"
    assert (bench.folder / "told").read_text() == "15" and not alive(pid)
    assert bench.ledger()[0] == "available" and bench.setbacks()[0] == 1
    assert list(scratch.iterdir()) == []


def test_sigint_is_an_interruption_and_costs_nothing(bench: Bench) -> None:
    worker, pid = started(bench, WAIT_FOR_SIGNAL)
    worker.send_signal(signal.SIGINT)
    assert outcome_of(worker)["fate"] == "rolled_back"
    assert (bench.folder / "told").read_text() == "2" and not alive(pid)
    assert bench.ledger()[0] == "available" and bench.attempts()[0] == 0
    assert bench.events("step.ended", 1)[-1]["outcome"] == "interrupted"


def test_command_that_does_not_listen_is_killed_after_the_grace(bench: Bench) -> None:
    """That it is told before, the next test proves: here it need not come to write that down within its grace."""
    worker, pid = started(bench, STUBBORN, grace=0.3)
    worker.terminate()
    assert outcome_of(worker)["code"] == -9 and not alive(pid)


def test_second_signal_kills_at_once(bench: Bench) -> None:
    worker, pid = started(bench, STUBBORN, grace=600)
    worker.terminate()
    until((bench.folder / "told").exists, "the first signal")
    worker.terminate()
    assert outcome_of(worker)["code"] == -9 and not alive(pid)


def test_signals_reach_what_the_command_started(bench: Bench) -> None:
    text = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"])
open("child", "w").write(str(child.pid))
open("running", "w")
child.wait()
"""
    worker, pid = started(bench, text)
    child = int((bench.folder / "child").read_text())
    worker.terminate()
    outcome_of(worker)
    until(lambda: not alive(child) and not alive(pid), "the end of both")


def test_fenced_while_running_is_killed_and_publishes_nothing(bench: Bench, scratch: Path) -> None:
    worker, pid = started(bench, STUBBORN, lease=0.6, grace=0.2)
    bench.project.end(fence=True)
    outcome = outcome_of(worker)
    assert (outcome["fate"], worker.returncode) == ("fenced", 7)
    assert "ended with the fence" in outcome["reason"] and not alive(pid)
    assert not bench.published() and list(scratch.iterdir()) == []


def test_work_that_lasts_too_long_is_ended(tmp_path: Path, zmumu_folder: Path) -> None:
    """Its time is over once its command runs, however long that took to start; the next heartbeat is told."""
    bench = Bench(tmp_path, zmumu_folder, max_wall=3600)
    worker, pid = started(bench, WAIT_FOR_SIGNAL, lease=15.0)
    with bench.catalog.database.transaction() as tx:
        tx.run("UPDATE processes SET wall_until = started_at")
    outcome = outcome_of(worker)
    assert outcome["fate"] == "fenced" and "max_wall passed" in outcome["reason"] and not alive(pid)
    bench.catalog.close()


LEASE = "SELECT lease_until FROM processes WHERE id = 1"


def test_heart_beats_while_the_command_runs(bench: Bench) -> None:
    worker, _ = started(bench, WAIT_FOR_SIGNAL, lease=13.0)
    seen = set[float]()
    until(lambda: (seen.add(bench.one(LEASE)), len(seen) == 3)[1], "two renewals", 120)
    assert max(seen) > min(seen) + 1
    assert bench.catalog.expire() == 0
    worker.send_signal(signal.SIGINT)
    outcome_of(worker)


def test_command_dies_with_its_worker_and_its_files_come_back(bench: Bench, scratch: Path) -> None:
    worker, pid = started(bench, STUBBORN, lease=0.5)
    worker.kill()
    until(lambda: not alive(pid), "the end of the command")
    until(lambda: not list(scratch.iterdir()), "the removal of the private folder")
    worker.communicate()
    assert bench.ledger()[0] == "held"
    until(bench.catalog.expire, "the end of the lease")
    assert bench.ledger()[0] == "available" and bench.setbacks()[0] == 1, "it had opened its file"
    (row,) = [row for row in bench.project.uncommitted() if row["last_process_id"]]
    assert row["reason"] == "process 1 rolled back: lease expired"


@pytest.mark.skipif(sys.platform != "linux", reason="platform: looks for the guardian in /proc")
def test_command_dies_with_its_guardian(bench: Bench) -> None:
    worker, pid = started(bench, STUBBORN)
    guardian = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guardian, signal.SIGKILL)
    outcome = outcome_of(worker)
    assert outcome["reason"].endswith("its guardian was killed")
    until(lambda: not alive(pid), "the end of the command")


def test_scratch_of_a_killed_worker_is_removed_by_the_next(bench: Bench, scratch: Path) -> None:
    left = scratch / "bookkeeper-scratch-of-nobody"
    left.mkdir()
    worker = bench.worker(bench.job())
    assert outcome_of(worker)["fate"] == "committed"
    assert not left.exists()


STEPS = "SELECT count(*) FROM events WHERE process_id = 2 AND kind = 'step.started'"


def test_worker_waits_for_what_others_may_give_back(bench: Bench) -> None:
    other = bench.project.start_process(files_per_process=6)
    assert len(other.next_files()) == 6
    worker = bench.worker(bench.job(wait=True))
    assert worker.stdout and json.loads(worker.stdout.readline())["process"] == 2
    until(lambda: bench.one(STEPS) == 2, "the step in which it waits")
    other.roll_back("given back", counted=False)
    assert outcome_of(worker)["fate"] == "committed"


def test_waiting_worker_hears_signals(bench: Bench) -> None:
    other = bench.project.start_process(files_per_process=6)
    other.next_files()
    worker = bench.worker(bench.job(wait=True))
    assert worker.stdout and json.loads(worker.stdout.readline())["process"] == 2
    until(lambda: bench.one(STEPS) == 2, "the step in which it waits")
    worker.terminate()
    assert outcome_of(worker)["step"] == "stage-inputs" and worker.returncode == 13
    other.roll_back("done")


def test_full_disk_at_the_destination_charges_no_file(bench: Bench) -> None:
    """The worker may write files of up to 2 MB only; the command lifts that for itself."""
    limit = 2_000_000
    text = """
import os, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
open(os.environ["BOOKKEEPER_OUTPUT"], "wb").write(os.urandom(3_000_000))
"""
    job = bench.job(*bench.script(text), outputs=(replace(bench.output, name="m-{process}.bin", validate="quick"),))
    worker = bench.worker(
        job, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    )
    outcome = outcome_of(worker)
    assert (outcome["fate"], outcome["step"]) == ("rolled_back", "output-storage")
    assert "larger than is allowed" in outcome["reason"]
    assert bench.attempts()[0] == 0 and not bench.temporaries()


def test_job_that_is_none_is_refused_in_words(bench: Bench) -> None:
    words = [sys.executable, "-m", "bookkeeper.worker", bench.catalog.url, "-"]
    done = subprocess.run(words, input='{"project": 3', capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("this is no job: ") and "Traceback" not in done.stderr
