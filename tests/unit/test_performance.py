"""`bookkeeper.performance`: what is measured of a block, and the file it is kept in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.performance import PerformanceRecorder, estimate_job_input_bytes, perf_path_for

FIELDS = ["task_name", "start_time", "end_time", "wall_time_s", "peak_rss_mb", "throughput_mbs"]
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")

# The documented examples of RDFAnalyzerCore's performance_recorder; only the import line is ours.
DOCUMENTED = {
    "a block": """\
from bookkeeper.performance import PerformanceRecorder

with PerformanceRecorder("MyTask[branch=3]") as rec:
    # ... do the work ...
    rec.set_throughput(input_bytes=total_bytes)
rec.save("/path/to/my_output.perf.json")
""",
    "a subprocess": """\
with PerformanceRecorder("analysis_job:job_7") as rec:
    proc = subprocess.Popen(cmd, shell=True)
    rec.monitor_process(proc.pid)
    proc.communicate()
    rec.set_throughput(input_bytes=estimate_job_input_bytes(job_dir))
rec.save(os.path.join(job_dir, "job.perf.json"))
""",
    "an estimate": """\
from bookkeeper.performance import estimate_job_input_bytes
total = estimate_job_input_bytes("/eos/cms/store/user/me/jobs/job_3")
""",
    "a path": """\
from bookkeeper.performance import perf_path_for

perf_path_for("/jobs/job_3.done")       # → '/jobs/job_3.perf.json'
perf_path_for("/jobs/sample_0.json")    # → '/jobs/sample_0.perf.json'
perf_path_for("/run/submitted.txt")     # → '/run/submitted.perf.json'
""",
    "a task": """\
with PerformanceRecorder(task_label) as rec:
    proc = subprocess.Popen(full_cmd, shell=True, **options)
    rec.monitor_process(proc.pid)
    stdout_data, stderr_data = proc.communicate()
    rec.set_throughput(input_bytes)
rec.save(os.path.join(job_dir, "job.perf.json"))
""",
}


def documented(example: str, folder: Path, **names: Any) -> dict[str, Any]:
    """Run a documented example; the one path that only its writer has leads into ``folder``."""
    given = {"PerformanceRecorder": PerformanceRecorder, "os": os, "subprocess": subprocess, "job_dir": str(folder)}
    room = {**given, "estimate_job_input_bytes": estimate_job_input_bytes, **names}
    exec(DOCUMENTED[example].replace("/path/to/", f"{folder}/made/"), room)
    return room


def test_documented_block(tmp_path: Path) -> None:
    room = documented("a block", tmp_path, total_bytes=5 << 20)
    kept = json.loads((tmp_path / "made" / "my_output.perf.json").read_text())
    assert list(kept) == FIELDS
    assert kept == room["rec"].to_dict()
    assert kept["task_name"] == "MyTask[branch=3]" and kept["peak_rss_mb"] is None and kept["throughput_mbs"] > 0


def test_documented_subprocess(tmp_path: Path) -> None:
    (tmp_path / "input.root").write_bytes(bytes(3 << 20))
    (tmp_path / "submit_config.txt").write_text(f"fileList={tmp_path}/input.root,root://eos/b.root\n")
    held = 'import time; held = b"x" * 30_000_000; time.sleep(3)'  # until it was looked at
    room = documented("a subprocess", tmp_path, cmd=f"{sys.executable} -S -c '{held}'")
    kept = json.loads((tmp_path / "job.perf.json").read_text())
    assert room["proc"].returncode == 0
    assert kept["peak_rss_mb"] > 1 and kept["throughput_mbs"] > 0


def test_documented_task(tmp_path: Path) -> None:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    room = documented("a task", tmp_path, task_label="t", full_cmd="echo said", options=options, input_bytes=0)
    kept = json.loads((tmp_path / "job.perf.json").read_text())
    assert room["stdout_data"] == "said\n" and kept["throughput_mbs"] is None


def test_documented_estimate_and_paths(tmp_path: Path) -> None:
    assert documented("an estimate", tmp_path)["total"] == 0
    documented("a path", tmp_path)
    for call, path in re.findall(r"(perf_path_for\(.*\))\s+# → '(.*)'", DOCUMENTED["a path"]):
        assert documented("a path", tmp_path)["perf_path_for"](call.split('"')[1]) == path


def test_fields_have_the_documented_form() -> None:
    with PerformanceRecorder("t") as rec:
        rec.monitor_process(os.getpid())
        rec.set_throughput(12_345_678)
    kept = rec.to_dict()
    assert list(kept) == FIELDS
    assert (
        ISO.fullmatch(kept["start_time"]) and ISO.fullmatch(kept["end_time"]) and kept["start_time"] <= kept["end_time"]
    )
    for name, decimals in (("wall_time_s", 3), ("peak_rss_mb", 1), ("throughput_mbs", 3)):
        assert kept[name] == round(kept[name], decimals) == getattr(rec, name)


def test_nothing_is_known_before_the_block() -> None:
    rec = PerformanceRecorder("t")
    rec.set_throughput(5)
    assert rec.to_dict() == dict.fromkeys(FIELDS) | {"task_name": "t"}
    assert (rec.cpu_s, rec.read_bytes, rec.written_bytes, rec.samples) == (None, None, None, 0)


def test_block_that_raises_is_measured_and_the_exception_goes_on() -> None:
    with pytest.raises(KeyError), PerformanceRecorder("t") as rec:
        raise KeyError
    assert rec.wall_time_s is not None and rec.end_time is not None


def test_throughput_is_by_the_whole_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    with PerformanceRecorder("t") as rec:
        rec.set_throughput(4 << 20)
        assert rec.throughput_mbs == 2.0, "so far"
    assert (rec.wall_time_s, rec.throughput_mbs) == (4.0, 1.0)
    rec.set_throughput(6 << 20)
    assert rec.throughput_mbs == 1.5
    rec.set_throughput(0)
    rec.set_throughput(-1)
    assert rec.throughput_mbs == 1.5


def test_what_the_system_says_at_the_end_counts_where_it_is_more() -> None:
    rec = PerformanceRecorder("t")
    rec.at_least(peak_rss_mb=10.04, cpu_s=1.0, read_bytes=5)
    rec.at_least(peak_rss_mb=2.0, cpu_s=1.5, written_bytes=7)
    assert (rec.peak_rss_mb, rec.cpu_s, rec.read_bytes, rec.written_bytes) == (10.0, 1.5, 5, 7)


def test_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with PerformanceRecorder("t") as rec:
        pass
    target = tmp_path / "a" / "b" / "t.perf.json"
    rec.save(target)
    before = target.read_text()
    assert before.endswith("}\n") and before.startswith('{\n  "task_name": "t",\n')
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == (tmp_path / "a").stat().st_mode & 0o666
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        rec.save(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "nothing is left of it"


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("/jobs/job_3.done", "/jobs/job_3.perf.json"),
        ("/jobs/sample_0.json", "/jobs/sample_0.perf.json"),
        ("submitted.txt", "submitted.perf.json"),
        ("/jobs/mass.root", "/jobs/mass.root.perf.json"),
        ("/jobs/a.txt.done", "/jobs/a.txt.perf.json"),
        ("/jobs.done/a", "/jobs.done/a.perf.json"),
        (Path("/jobs/a.done"), "/jobs/a.perf.json"),
    ],
)
def test_path_of_the_measurements(output: str | Path, path: str) -> None:
    assert perf_path_for(output) == path


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("fileList=a.root,b.root\n", 30),
        ("threads=4\n  fileList : a.root , b.root\n", 30),
        ("fileList\ta.root\n", 10),
        ("fileList a.root", 10),
        ("fileList='a.root',\"b.root\"", 30),
        ("fileList={folder}/a.root,file://{folder}/b.root", 30),
        ("fileList=root://eos.cern.ch//a.root,davs://x/b.root,b.root", 20),
        ("fileList=a.root,,absent.root,sub,\0", 10),
        ("fileList=a.root\r\n", 10),
        ("fileList=\n", 0),
        ("fileListing=a.root\n#fileList=a.root\n", 0),
        ("\x00\xff\n===\n", 0),
        ("", 0),
    ],
)
def test_input_bytes_of_a_prepared_job(tmp_path: Path, config: str, size: int) -> None:
    (tmp_path / "a.root").write_bytes(bytes(10))
    (tmp_path / "b.root").write_bytes(bytes(20))
    (tmp_path / "sub").mkdir()
    (tmp_path / "submit_config.txt").write_bytes(config.replace("{folder}", str(tmp_path)).encode("latin-1"))
    assert estimate_job_input_bytes(tmp_path) == estimate_job_input_bytes(str(tmp_path)) == size


def test_job_without_a_configuration_has_no_known_input(tmp_path: Path) -> None:
    assert estimate_job_input_bytes(tmp_path) == 0
    (tmp_path / "submit_config.txt").mkdir()
    assert estimate_job_input_bytes(tmp_path) == 0


def test_many_recorders_at_once(tmp_path: Path) -> None:
    """They share nothing."""

    def measure(number: int) -> None:
        with PerformanceRecorder(f"t{number}") as rec:
            rec.monitor_process(os.getpid(), poll_interval=0.01)
        rec.save(tmp_path / "same.perf.json")

    threads = [threading.Thread(target=measure, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(json.loads((tmp_path / "same.perf.json").read_text())) == FIELDS
    assert [path.name for path in tmp_path.iterdir()] == ["same.perf.json"]
