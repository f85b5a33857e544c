"""The memory, CPU time and bytes of a whole process tree, whatever becomes of its processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bookkeeper.performance import PerformanceRecorder, procfs
from workbench import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc is Linux's")

HOLD = "import os, time; held = b'x' * {}000000; print(os.getpid(), flush=True); time.sleep(600)"
SPAWN = """
import subprocess, sys
def child(code):
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code])
"""
MB = 1_000_000 / (1 << 20)


def holding(megabytes: int) -> str:
    """The program that holds so much memory, and says its number once it does."""
    return HOLD.format(megabytes)


@contextmanager
def running(code: str, ready: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a session of its own until it said ``ready`` lines; end all of it afterwards."""
    words = [sys.executable, "-I", "-S", "-c", code]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
    assert process.stdin and process.stdout
    try:
        for _ in range(ready):
            process.stdout.readline()
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def samplers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sampler-")]


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.fixture(params=["proc", "psutil"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Each way to look; without `/proc` it is psutil's."""
    if request.param == "psutil":
        monkeypatch.setattr(procfs, "PROC", str(tmp_path / "no-proc"))
    elif sys.platform != "linux":
        pytest.skip("platform: /proc is Linux's")
    return str(request.param)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    until(lambda: not samplers() and descriptors() <= before, "the end of every sampler, with its descriptors")


TREE = f"""{SPAWN}
two = '''{SPAWN}
kids = [child({holding(50)!r}) for _ in range(2)]
for kid in kids: kid.wait()
'''
child(two).wait()
"""


def test_whole_tree_is_counted(way: str) -> None:
    """The memory of two grandchildren."""
    with running(TREE, ready=2) as process, PerformanceRecorder("t") as rec:
        rec.monitor_process(process.pid, poll_interval=0.05)
        until(lambda: (rec.peak_rss_mb or 0) > 100 * MB, "the memory of both")
        assert rec.cpu_s is not None and rec.cpu_s > 0
    assert rec.peak_rss_mb is not None and 100 * MB < rec.peak_rss_mb < 100 * MB + 4 * 20, "and of nobody else"
    assert rec.samples > 1


ORPHAN = f"""{SPAWN}
middle = '''{SPAWN}
child({holding(50)!r})
'''
child(middle).wait()
import time; time.sleep(600)
"""


@linux
def test_who_left_the_tree_before_it_was_seen_is_counted() -> None:
    """Its parent ended before anybody looked; it is in the session of the tree still."""
    with running(ORPHAN) as process, PerformanceRecorder("t") as rec:
        rec.monitor_process(process.pid, poll_interval=0.05)
        until(lambda: (rec.peak_rss_mb or 0) > 50 * MB, "the memory of the one that left")


LEAVING = f"""{SPAWN}
middle = '''
import os, time
parent = os.getpid()
if os.fork() == 0:
    os.setsid()
    print(flush=True)
    while os.getppid() == parent:
        time.sleep(0.01)
    {holding(50)}
os.read(0, 1)
'''
first = subprocess.Popen([sys.executable, "-I", "-S", "-c", middle])
first.wait()
time.sleep(600)
"""


def test_who_leaves_the_tree_later_is_counted(way: str) -> None:
    """It made a session of its own, and its parent ended: nothing but that it was seen before ties it to the tree."""
    with running("import time\n" + LEAVING) as process, PerformanceRecorder("t") as rec:
        assert process.stdin and process.stdout
        rec.monitor_process(process.pid, poll_interval=0.02)
        seen = rec.samples
        until(lambda: rec.samples > seen + 8, "that it was seen")
        process.stdin.write("go\n")
        process.stdin.flush()
        gone = int(process.stdout.readline())
        until(lambda: (rec.peak_rss_mb or 0) > 50 * MB, "the memory of the one that left")
        os.kill(gone, signal.SIGKILL)


@linux
def test_children_of_other_threads_are_counted() -> None:
    code = f"""{SPAWN}
import threading
thread = threading.Thread(target=lambda: child({holding(50)!r}).wait())
thread.start()
thread.join()
"""
    with running(code) as process, PerformanceRecorder("t") as rec:
        rec.monitor_process(process.pid, poll_interval=0.05)
        until(lambda: (rec.peak_rss_mb or 0) > 50 * MB, "the memory of the child")


def test_killed_tree_is_known_and_the_thread_ends(way: str) -> None:
    with running(TREE, ready=2) as process, PerformanceRecorder("t") as rec:
        rec.monitor_process(process.pid, poll_interval=0.02)
        until(lambda: (rec.peak_rss_mb or 0) > 100 * MB, "the memory of both")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: not samplers(), "the end of the thread")
    assert rec.peak_rss_mb is not None and rec.peak_rss_mb > 100 * MB


def test_stopped_process_stops_nobody(way: str) -> None:
    with running(holding(50)) as process:
        os.kill(process.pid, signal.SIGSTOP)
        with PerformanceRecorder("t") as rec:
            rec.monitor_process(process.pid, poll_interval=0.02)
            until(lambda: rec.samples > 3, "looks at it")
        assert rec.peak_rss_mb is not None and rec.peak_rss_mb > 50 * MB


def test_block_does_not_wait_for_the_next_look() -> None:
    with running(holding(1)) as process:
        began = time.monotonic()
        with PerformanceRecorder("t") as rec:
            rec.monitor_process(process.pid, poll_interval=600)
        assert time.monotonic() - began < 60
        assert rec.samples == 2, "the first look and the last"


def test_process_that_is_gone_or_a_zombie_is_unknown(way: str) -> None:
    process = subprocess.Popen(["true"])
    if sys.platform == "linux":
        until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "its end")
    with PerformanceRecorder("zombie") as zombie:
        zombie.monitor_process(process.pid)
    process.wait()
    with PerformanceRecorder("gone") as gone:
        gone.monitor_process(process.pid)
        gone.monitor_process(-1)
        gone.monitor_process(2**31 - 1)
    assert zombie.peak_rss_mb is None and gone.peak_rss_mb is None
    assert (gone.cpu_s, gone.samples) == (None, 0)


def test_nothing_to_look_with_is_null(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No /proc, no psutil: as the format says, and nothing raises."""
    monkeypatch.setattr(procfs, "PROC", str(tmp_path / "no-proc"))
    monkeypatch.setitem(sys.modules, "psutil", None)
    with PerformanceRecorder("t") as rec:
        rec.monitor_process(os.getpid())
        assert not samplers()
    assert rec.to_dict()["peak_rss_mb"] is None and rec.wall_time_s is not None
    assert (rec.cpu_s, rec.read_bytes, rec.written_bytes, rec.samples) == (None, None, None, 0)


STORM = f"""{SPAWN}
import os, time
def storm(depth):
    pids = []
    for _ in range(12):
        pid = os.fork()
        if pid == 0:
            if depth:
                storm(depth - 1)
            deadline = time.process_time() + 0.002
            while time.process_time() < deadline: pass
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
sys.stdin.readline()
for _ in range(3):
    storm(1)
"""


@linux
def test_storm_of_forks_is_survived_and_counted_once() -> None:
    with running(STORM, ready=0) as process, PerformanceRecorder("t") as rec:
        assert process.stdin
        rec.monitor_process(process.pid, poll_interval=0.01)
        process.stdin.write("go\n")
        process.stdin.flush()
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0
    used = usage.ru_utime + usage.ru_stime
    assert rec.cpu_s is not None and rec.cpu_s < used + 0.03, "ticks are hundredths of a second"
    assert rec.cpu_s > used / 4


@linux
def test_bytes_of_children_that_ended_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(20_000_000))
    code = f"""{SPAWN}
for _ in range(3):
    child("open({str(tmp_path / "input")!r}, 'rb').read(); open({str(tmp_path / "out")!r}, 'wb').write(bytes(5000000))").wait()
{holding(1)}
"""
    with running(code) as process, PerformanceRecorder("t") as rec:
        rec.monitor_process(process.pid, poll_interval=0.02)
    assert rec.read_bytes is not None and 60_000_000 <= rec.read_bytes < 70_000_000
    assert rec.written_bytes is not None and 15_000_000 <= rec.written_bytes < 16_000_000


@linux
def test_no_more_files_than_may_be_open_are_opened() -> None:
    """A tree of 40, and 20 descriptors left: what cannot be opened is looked at another time."""
    code = f"{SPAWN}\nkids = [child({holding(1)!r}) for _ in range(40)]\nkids[0].wait()"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with running(code, ready=40) as process:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, limits[1]))
        try:
            with PerformanceRecorder("t") as rec:
                rec.monitor_process(process.pid, poll_interval=0.02)
                until(lambda: rec.samples > 2, "looks at it")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert rec.peak_rss_mb is not None
