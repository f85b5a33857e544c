"""What a process cost is recorded, whatever became of it: as an event, and beside its logs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import logs
from bookkeeper.errors import CatalogBusy
from bookkeeper.ledger import SqlLedger
from leftovers import none_left
from workbench import STUBBORN, Bench, alive, until

KEYS = [
    "exit_code", "wall_s", "cpu_s", "peak_rss_mb", "read_bytes", "written_bytes", "input_bytes", "throughput_mbs",
    "entries", "entries_per_s", "node", "files",
]  # fmt: skip
FIELDS = ["task_name", "start_time", "end_time", "wall_time_s", "peak_rss_mb", "throughput_mbs"]

linux = pytest.mark.skipif(sys.platform != "linux", reason="platform: only Linux counts the bytes of others")

HOLD = """
import subprocess, sys
code = "import time; held = b'x' * 80_000_000; time.sleep(3); open('running', 'w').close(); time.sleep({})"
child = subprocess.Popen([sys.executable, "-S", "-c", code])
child.wait()
"""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def bench(tmp_path: Path, zmumu_folder: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, zmumu_folder)
    yield made
    made.catalog.close()


def measured(bench: Bench, process: int = 1) -> dict[str, Any]:
    """The one event of a process."""
    (body,) = bench.events("perf.recorded", process)
    assert list(body) == KEYS
    return body


def kept(bench: Bench, process: int = 1) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(logs.perf_path(bench.catalog.database, process).read_text())
    assert list(body) == FIELDS and body["task_name"] == f"p:process_{process}"
    return body


def test_committed_process(bench: Bench) -> None:
    outcome = bench.work(files_per_process=1, node="node-7")
    assert outcome.fate == "committed"
    body = measured(bench)
    size = bench.one("SELECT f.size FROM files f JOIN deliveries d ON d.file_id = f.id")
    assert (body["exit_code"], body["node"], body["input_bytes"], body["entries"]) == (0, "node-7", size, 500)
    assert body["files"] == [] and body["wall_s"] > 0 and body["cpu_s"] >= 0 and body["peak_rss_mb"] > 0
    assert body["entries_per_s"] == pytest.approx(500 / body["wall_s"], abs=0.1)
    assert body["throughput_mbs"] == pytest.approx(size / body["wall_s"] / (1 << 20), rel=0.1)
    sidecar = kept(bench)
    names = {"wall_s": "wall_time_s", "peak_rss_mb": "peak_rss_mb", "throughput_mbs": "throughput_mbs"}
    assert {name: body[name] for name in names} == {name: sidecar[field] for name, field in names.items()}
    peak = "SELECT peak_rss_mb FROM process_summary WHERE process_id = 1"
    assert bench.one(peak) == body["peak_rss_mb"]


@linux
def test_bytes_of_a_brief_command_are_all_counted(bench: Bench) -> None:
    """It is over before anybody could look twice: its parent asks the system at its end."""
    bench.work()
    body = measured(bench)
    assert body["read_bytes"] >= body["input_bytes"] and body["written_bytes"] >= body["input_bytes"]


def test_command_line_shows_the_peak_of_the_whole_tree(bench: Bench) -> None:
    """The memory is a child's, which holds it for three looks."""
    (bench.folder / "payload.py").write_text(HOLD.format(0) + "sys.exit(3)\n")
    words = ["work", "p", "--files-per-process", "1", "--", sys.executable, "-S", "payload.py"]
    command = [str(Path(sys.executable).with_name("bookkeeper")), "--catalog", bench.catalog.url, *words]
    done = subprocess.run(command, cwd=bench.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 13, done.stderr
    assert bench.one("SELECT peak_rss_mb FROM process_summary") > 80_000_000 / (1 << 20) + 5, (
        "the child, and its parent"
    )
    assert measured(bench)["exit_code"] == 3


def test_failed_process_keeps_what_is_known(bench: Bench) -> None:
    outcome = bench.work("sh", "-c", "kill -9 $$")
    assert outcome.code == -9
    body = measured(bench)
    assert (body["exit_code"], body["entries"], body["entries_per_s"]) == (-9, None, None)
    assert body["wall_s"] > 0 and body["input_bytes"] > 0 and kept(bench)["wall_time_s"] == body["wall_s"]


@pytest.mark.parametrize("how", ["told", "killed", "fenced"])
def test_interrupted_process_is_measured_to_its_end(bench: Bench, how: str) -> None:
    """Told to stop it is not gone: the wrapper looks on until it is."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if how == "killed" else ""
    command = bench.script(deaf + HOLD.format(600))
    worker = bench.worker(bench.job(*command, grace=0.4, lease=0.6))
    until((bench.folder / "running").exists, "the start of the command")
    if how == "fenced":
        bench.project.end(fence=True)
    else:
        worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=180)
    body = measured(bench)
    assert body["exit_code"] < 0 and body["peak_rss_mb"] > 80_000_000 / (1 << 20)
    assert kept(bench)["peak_rss_mb"] == body["peak_rss_mb"]
    assert bench.events("step.ended", 1)[-1]["outcome"] == ("fenced" if how == "fenced" else "interrupted")


@pytest.mark.skipif(sys.platform != "linux", reason="platform: looks for the guardian in /proc")
def test_command_whose_guardian_was_killed_is_measured(bench: Bench) -> None:
    """Nobody is left who could say what it used, but who looked at it."""
    text = "import os; open('pid', 'w').write(str(os.getpid()))\n" + STUBBORN
    worker = bench.worker(bench.job(*bench.script(text)))
    until((bench.folder / "running").exists, "the start of the command")
    pid = int((bench.folder / "pid").read_text())
    guardian = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    subprocess.run(["kill", "-9", str(guardian)], check=True)
    worker.communicate(timeout=180)
    body = measured(bench)
    assert body["exit_code"] == -9 and body["peak_rss_mb"] > 1 and body["cpu_s"] >= 0
    until(lambda: not alive(pid), "the end of the command")


def test_stopped_command_is_measured(bench: Bench) -> None:
    """It is told to go on again and again: once could be before it stopped."""
    text = '''
import os, signal, sys, shutil, subprocess
code = f"""
import os, signal, time
while os.getppid() == {os.getpid()}:
    time.sleep(0.5)
    os.kill({os.getpid()}, signal.SIGCONT)
"""
again = subprocess.Popen([sys.executable, "-S", "-c", code])
os.kill(os.getpid(), signal.SIGSTOP)
again.kill()
again.wait()
shutil.copy(sys.argv[1], os.environ["BOOKKEEPER_OUTPUT"])
'''
    assert bench.work(*bench.script(text)).fate == "committed"
    assert measured(bench)["wall_s"] > 0.4


REPORTING = """
import json, os, shutil, sys
with open(os.environ["BOOKKEEPER_REPORT"], "a") as report:
    for number, path in enumerate(sys.argv[1:], 1):
        said = {{"file": path, "state": "consumed", "seconds": number * 0.5, "entries": {entries}}}
        report.write(json.dumps(said) + "\\n")
shutil.copy(sys.argv[1], os.environ["BOOKKEEPER_OUTPUT"])
sys.exit({code})
"""


@pytest.mark.parametrize("code", [0, 1])
def test_times_of_files_come_from_the_report_the_slowest_first(bench: Bench, code: int) -> None:
    command = bench.script(REPORTING.format(entries=500, code=code))
    outcome = bench.work(*command, files_per_process=3)
    body = measured(bench)
    names = [row["name"] for row in bench.catalog.sql("SELECT name FROM files ORDER BY id LIMIT 3")]
    assert body["files"] == [
        {"file": name, "seconds": seconds} for name, seconds in zip(reversed(names), (1.5, 1.0, 0.5), strict=True)
    ]
    assert body["entries"] == (1500 if code == 0 else None), outcome


def test_process_that_read_wrongly_is_recorded_once(bench: Bench) -> None:
    outcome = bench.work(*bench.script(REPORTING.format(entries=499, code=0)))
    assert outcome.step == "verification"
    assert measured(bench)["entries"] is None


def test_command_that_never_ran_cost_nothing(bench: Bench) -> None:
    bench.work("no-such-program-here")
    assert bench.events("perf.recorded", 1) == []
    assert not logs.perf_path(bench.catalog.database, 1).exists()


def test_file_that_cannot_be_written_fails_no_job(bench: Bench) -> None:
    logs.perf_path(bench.catalog.database, 1).mkdir(parents=True)
    assert bench.work().fate == "committed"
    assert measured(bench)["exit_code"] == 0


def test_catalog_that_is_away_gets_the_events_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are history: that they cannot be written for a moment ends no job."""
    record, calls = SqlLedger.record, []

    def busy(self: SqlLedger, *words: Any) -> None:
        calls.append(words)
        if len(calls) in (2, 3, 4):
            raise CatalogBusy("locked")
        record(self, *words)

    monkeypatch.setattr(SqlLedger, "record", busy)
    assert bench.work().fate == "committed"
    assert measured(bench)["exit_code"] == 0
    assert len(bench.events("step.started", 1)) == len(bench.events("step.ended", 1)) == 5


def test_evidence_of_a_failure_is_what_the_command_said(bench: Bench) -> None:
    command = bench.script("import sys; print('x' * 50_000, file=sys.stderr); raise RuntimeError('bad basket')")
    bench.work(*command)
    (body,) = bench.events("failure.classified", 1)
    assert (body["exit_code"], body["signal"], body["step"]) == (1, None, "analysis")
    assert body["message"] == "exit code 1: RuntimeError: bad basket"
    assert body["stderr"].rstrip().endswith("RuntimeError: bad basket") and len(body["stderr"]) <= 4096


def test_evidence_without_standard_error_is_standard_output(bench: Bench) -> None:
    bench.work("sh", "-c", "echo no such tree; kill -SEGV $$")
    (body,) = bench.events("failure.classified", 1)
    assert (body["exit_code"], body["signal"], body["stderr"].strip()) == (None, 11, "no such tree")


def test_evidence_of_a_step_that_runs_no_command_is_the_exception(bench: Bench) -> None:
    bench.out.mkdir()
    (bench.out / "m-1.root").write_text("in the way")
    bench.work("sh", "-c", 'echo noise >&2; cp "$1" "$2"', "sh", "{inputs}", "{output}")
    (body,) = bench.events("failure.classified", 1)
    assert (body["step"], body["stderr"], body["exit_code"]) == ("output-storage", "", None)
    (kind, said), *_ = body["exceptions"]
    assert kind.startswith("bookkeeper.errors.") and "exists already" in said


def test_excluded_node_is_given_nothing(bench: Bench) -> None:
    from bookkeeper import nodes

    nodes.exclude(bench.catalog.database, "bad", reason="its disk is full", seconds=600, by="somebody")
    outcome = bench.work(node="bad")
    assert (outcome.fate, outcome.exit_code, outcome.process_id) == ("excluded", 15, None)
    assert "node bad is excluded" in outcome.reason and "its disk is full" in outcome.reason
    assert bench.work(node="good").fate == "committed"


def test_node_that_is_excluded_while_it_waits(bench: Bench) -> None:
    from bookkeeper import nodes

    other = bench.project.start_process(files_per_process=6)
    other.next_files()
    worker = bench.worker(bench.job(node="bad", wait=True))
    assert worker.stdout and json.loads(worker.stdout.readline())["process"] == 2
    nodes.exclude(bench.catalog.database, "bad", reason="its disk is full", seconds=600, by="somebody")
    outcome = json.loads(worker.communicate(timeout=180)[0].splitlines()[-1])["outcome"]
    assert (outcome["fate"], worker.returncode) == ("excluded", 15)
    assert "its disk is full" in outcome["reason"]
    other.roll_back("done", counted=False)
