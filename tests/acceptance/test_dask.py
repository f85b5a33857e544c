"""Dask: real schedulers and workers, killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client

from batchdesk import WAITS, BatchDesk
from bookkeeper.executors import dask as executor
from bookkeeper.executors.batch import BatchSystem
from bookkeeper.executors.dask import task
from bookkeeper.failures import Evidence, classify_failure
from bookkeeper_schema.states import JobState
from following import Followed, order
from workbench import until

SLEEP = ("sleep", "600")


WITHOUT_BOOKKEEPER = (
    "import importlib, sys; sys.modules['bookkeeper'] = None;"
    "sys.exit(importlib.import_module('distributed.cli.dask_' + sys.argv.pop(1)).main())"
)


class Pool:
    """A scheduler and its workers, each a process of its own, where there is no bookkeeper."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._folder, self._scheduler, self.workers = folder, None, []

    def start(self, workers: int) -> None:
        """Start a scheduler and so many workers, and wait until they are there."""
        self._scheduler = self._run("scheduler", f"--port={self.port}", "--host=127.0.0.1", "--dashboard-address=:0")
        for _ in range(workers):
            self.add()
        until(self._listens, "the scheduler", 180)
        with Client(self.address, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=180)

    def add(self) -> None:
        words = (self.address, "--nthreads=1", "--no-dashboard", "--no-nanny", "--host=127.0.0.1")
        self.workers.append(self._run("worker", *words, f"--local-directory={self._folder}"))

    def kill_scheduler(self) -> None:
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        for one in [*self.workers, self._scheduler]:
            if one is not None:
                one.kill()
                one.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        with (self._folder / "dask.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", WITHOUT_BOOKKEEPER, *words], stdout=log, stderr=log)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    made = Pool(tmp_path_factory.mktemp("pool"))
    try:
        made.start(2)
        yield made
    finally:
        made.stop()


@pytest.fixture
def system(pool: Pool, tmp_path: Path) -> Iterator[BatchSystem]:
    with contextlib.closing(executor.make(tmp_path, {"scheduler": pool.address})) as made:
        yield made


def test_jobs_run_and_are_found_again(system: BatchSystem, pool: Pool, tmp_path: Path) -> None:
    """Each is a program of its own, once; whoever asks finds them, and they go on when the one who submitted is gone."""
    words = 'echo $BOOKKEEPER_JOB_ID "$WORDS"; echo oops >&2; exit $1'
    given = order(tmp_path, "tag-1", "bash", "-c", words, "bash", "3", count=3, environment={"WORDS": "it's $HOME"})
    assert system.find(given) is None
    accepted = system.submit(given)
    assert accepted.page is not None and accepted.page.startswith("http://127.0.0.1:")
    system.close()
    with contextlib.closing(executor.make(tmp_path, {"scheduler": pool.address})) as other:
        assert other.find(given) == accepted
        followed = Followed.of(other, given, accepted).until_over()
        assert [followed.last(number).exit_code for number in range(3)] == [3, 3, 3]
        assert followed.kinds(1)[-2:] == ["RUNNING", "FAILED"] and followed.last(1).died
        assert (given.folder / "out.2").read_text() == f"{accepted.jobs[2]} it's $HOME\n"
        assert (given.folder / "err.2").read_text() == "oops\n"
        assert other.find(given) == accepted
        assert other.reconcile([followed.known]) == {}
        other.forget(followed.known)
        assert other.find(given) is None


def test_what_tasks_tell_is_looked_at_at_once(
    system: BatchSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it is believed, what was known before is not what the one who was woken by news is told."""
    monkeypatch.setattr("bookkeeper.executors.dask.system.FRESH", 3600.0)
    followed = Followed.of(system, order(tmp_path, "news", "true")).until_over()
    assert followed.last().exit_code == 0


def test_a_submission_that_was_cut_off_never_runs(
    system: BatchSystem, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its last word, its tasks are void, and it can be submitted again."""
    given = order(tmp_path, "cut-off", "bash", "-c", "echo ran")
    with contextlib.closing(executor.make(tmp_path, {"scheduler": pool.address})) as dies:
        monkeypatch.setattr(dies, "_start", cut_off(dies._start))
        with pytest.raises(KeyboardInterrupt):
            dies.submit(given)
    assert system.find(given) is None
    followed = Followed.of(system, given).until_over()
    assert followed.last().exit_code == 0
    assert (given.folder / "out.0").read_text() == "ran\n"


def test_a_submission_that_took_too_long_does_not_wait_for_ever(
    system: BatchSystem, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks gave up before the last word was written: nothing of it ran, nothing of it will, and that is known."""
    monkeypatch.setattr(task, "COMPLETE", 0.0)
    given = order(tmp_path, "slow", "bash", "-c", "echo ran")
    start = system._start

    def slowly(*words):
        start(*words)
        with Client(pool.address, set_as_default=False) as client:
            until(lambda: client.run_on_scheduler(task.standing)["over"].get(f"slow-{words[2]['nonce']}-0") == "")

    monkeypatch.setattr(system, "_start", slowly)
    followed = Followed.of(system, given).until_over()
    assert (followed.last().kind, followed.last().state) == ("VOID", JobState.REMOVED)
    assert not (given.folder / "out.0").exists()


def test_a_submission_whose_last_word_comes_late_runs(
    system: BatchSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one before it was cut off, and said to be void."""
    given = order(tmp_path, "late", "bash", "-c", "echo ran")
    start = system._start
    monkeypatch.setattr(system, "_start", cut_off(start))
    with pytest.raises(KeyboardInterrupt):
        system.submit(given)
    assert system.find(given) is None

    def late(client, *words):
        start(client, *words)
        until(lambda: client.processing() and any("late-" in str(keys) for keys in client.processing().values()))
        threading.Event().wait(2 * task.TICK)

    monkeypatch.setattr(system, "_start", late)
    followed = Followed.of(system, given).until_over()
    assert followed.last().exit_code == 0


def cut_off(start):
    """Let it be done, and nothing after it."""

    def started(*words):
        start(*words)
        raise KeyboardInterrupt

    return started


def test_a_worker_that_is_killed(system: BatchSystem, pool: Pool, tmp_path: Path) -> None:
    """Its job is over, and told to stop; Dask does not start it again, and the others are not touched."""
    told = "trap 'echo told; exit 5' TERM; echo $$; sleep 600 & wait"
    followed = Followed.of(system, order(tmp_path, "killed", "bash", "-c", told, count=2)).until_running()
    said = [followed.known.folder / f"out.{number}" for number in (0, 1)]
    until(lambda: all(text(one).endswith("\n") for one in said), "both say who they are", 180)
    both = [int(text(one)) for one in said]
    victim = psutil.Process(both[0]).parent()
    assert victim is not None
    os.kill(victim.pid, signal.SIGKILL)
    pool.add()
    followed.until(lambda one: len(one.known.open) == 1)
    assert (followed.last(0).kind, followed.last(0).state, followed.last(0).died) == (
        "KilledWorker",
        JobState.REMOVED,
        True,
    )
    assert classify_failure(Evidence(state=followed.last(0).kind, message=followed.last(0).reason or "")) == "executor"
    until(lambda: text(said[0]).endswith("told\n"), "it is told", 180)
    assert psutil.pid_exists(both[1])
    system.remove(followed.jobs, "enough")
    followed.until_over()
    assert (followed.last(1).kind, followed.last(1).state) == ("REMOVED", JobState.REMOVED)
    assert text(said[1]).endswith("told\n")


def text(path: Path) -> str:
    """What a job has printed so far; it may not have begun to."""
    return path.read_text() if path.exists() else ""


def test_jobs_are_held_and_released_and_end_in_time(system: BatchSystem, pool: Pool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    given = order(tmp_path, "held", "bash", "-c", f"until [ -e {gate} ]; do sleep 0.05; done", count=4)
    followed = Followed.of(system, given)
    followed.until(lambda one: sum(state is JobState.RUNNING for _, state in one.known.open.values()) == 2)
    waiting = [job for job, state in followed.known.open.values() if state is not JobState.RUNNING]
    system.hold(waiting, "wait")
    gate.touch()
    followed.until(lambda one: {state for _, state in one.known.open.values()} == {JobState.HELD})
    system.remove(waiting[:1], "not wanted")
    followed.until(lambda one: len(one.known.open) == 1)
    system.release(waiting)
    followed.until_over()
    kinds = sorted(followed.last(number).kind for number in range(4))
    assert kinds == ["COMPLETED", "COMPLETED", "COMPLETED", "REMOVED"]
    late = Followed.of(system, order(tmp_path, "late", *SLEEP, run_time_s=0.5)).until_over()
    assert (late.last().kind, late.last().signal) == ("TIMEOUT", signal.SIGTERM)


def test_a_program_that_is_not_there(system: BatchSystem, tmp_path: Path) -> None:
    followed = Followed.of(system, order(tmp_path, "none", "/no/such/program")).until_over()
    assert (followed.last().kind, followed.last().died) == ("FAILED", True)
    assert "No such file" in (followed.known.folder / "err.0").read_text()


def test_a_cluster_in_this_process(tmp_path: Path) -> None:
    """Another that is made for the same catalog finds it; it ends with the one who made it, and so do its jobs."""
    options = {"cluster": "local", "workers": 1, "options": {"dashboard_address": ":0"}}
    told = ("bash", "-c", "trap 'echo told; exit 5' TERM; echo begun; sleep 600 & wait")
    with contextlib.closing(executor.make(tmp_path, options)) as mine:
        followed = Followed.of(mine, given := order(tmp_path, "here", *told)).until_running()
        until(lambda: text(given.folder / "out.0") == "begun\n", "it has begun", 180)
        with contextlib.closing(executor.make(tmp_path, options)) as other:
            assert other.reconcile([followed.known]) == {}
    until(lambda: text(given.folder / "out.0") == "begun\ntold\n", "it is told to stop", 180)
    assert not (tmp_path / "dask.json").exists()


def test_what_travels_needs_no_bookkeeper() -> None:
    """A worker may have another version of it, or none."""
    words = [
        sys.executable,
        "-S",
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import task; print(*sys.modules)",
    ]
    done = subprocess.run([*words, str(Path(task.__file__).parent)], capture_output=True, text=True, check=True)
    assert "bookkeeper" not in done.stdout and "distributed" not in done.stdout


def test_an_analysis_whose_workers_and_scheduler_die_is_processed_once(
    pool: Pool, tmp_path: Path, zmumu_folder: Path
) -> None:
    with contextlib.closing(BatchDesk("dask", tmp_path, zmumu_folder)) as desk:
        table = f'[executor.dask]\nscheduler = "{pool.address}"\ntimeout = 5'
        sitter = desk.begin(WAITS, jobs=3, executor=table)
        until(lambda: (sitter.step(), len(begun(desk)) == 2)[1], "two processes have files", 180)
        pool.workers[-1].kill()
        pool.add()
        until(
            lambda: (sitter.step(), len(desk.rows(ROLLED_BACK)) == 1 and len(begun(desk)) == 3)[1],
            "another has its place",
        )
        pool.kill_scheduler()
        until(lambda: sitter.step().problems, "the scheduler is away", 180)
        pool.start(2)
        until(lambda: (sitter.step(), len(desk.rows(ROLLED_BACK)) == 3)[1], "what was lost is rolled back", 180)
        (tmp_path / "go").touch()
        end = desk.to_the_end(sitter)
        assert end.status.complete and not end.problems
        desk.exactly_once()
        reasons = {row["reason"] for row in desk.rows("SELECT DISTINCT reason FROM jobs WHERE reason IS NOT NULL")}
        assert any("was lost" in reason for reason in reasons)
        assert "Dask's scheduler does not know it: it was restarted" in reasons


def begun(desk: BatchDesk) -> list[dict[str, object]]:
    """The processes that were ever given files."""
    return desk.rows("SELECT id FROM processes WHERE delivered > 0")


ROLLED_BACK = "SELECT reason FROM processes WHERE state = 'rolled_back' AND reason <> 'nothing to do'"
