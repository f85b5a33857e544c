"""Submit: from a spec to the published outputs, interrupted and killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bookkeeper
from bookkeeper.errors import BookkeeperError, NotAllowed, Paused
from bookkeeper.executors import JobStatus, make
from bookkeeper.spec import Spec, load
from bookkeeper.submit import Progress, Submitted, plan, prepare, submit
from leftovers import none_left
from services.reach import Reach
from workbench import alive, until

COPY = "import os, shutil, sys; shutil.copy(sys.argv[1], os.environ['BOOKKEEPER_OUTPUT'])\n"
BLOCKED = (
    "import os, sys, time\nfrom pathlib import Path\n"
    "Path(f'ran-{os.getpid()}').touch()\n"
    "while not Path('go').exists(): time.sleep(0.02)\n" + COPY
)


class Desk:
    """A catalog, six ROOT files, a payload and a spec, in one folder."""

    def __init__(self, folder: Path, data: Path, reach: Reach) -> None:
        self.folder = folder
        shutil.copytree(data, folder / "data")
        self.catalog = bookkeeper.open_catalog(reach(folder / "catalog.db"))
        self.database = self.catalog.database

    def spec(
        self, payload: str = COPY, *, project: str = "", job: str = "files_per_process = 2", **changes: Any
    ) -> Spec:
        (self.folder / "payload.py").write_text(payload)
        program = changes.get("program", f'"{sys.executable}", "-S"')
        (self.folder / "spec.toml").write_text(
            f"""
[project]
name = "mass"
files = ["data/*.root"]
lease = "{changes.get("lease", "60s")}"
{project}
[job]
command = [{program}, "payload.py", "{{inputs}}"]
{job}
[output]
name = "{changes.get("name", "m-{process}.root")}"
destination = "{changes.get("destination", "out")}"
validate = "quick"
[executor]
kind = "local"
jobs = 2
"""
        )
        return load(self.folder / "spec.toml")

    def submit(self, spec: Spec, **options: Any) -> Submitted:
        return submit(spec, self.database, **options)

    def ran(self) -> list[int]:
        """The process ids of the commands that started."""
        return [int(path.name.removeprefix("ran-")) for path in self.folder.glob("ran-*")]

    def published(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "out").glob("*.root"))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def desk(tmp_path: Path, zmumu_folder: Path, reach: Reach) -> Iterator[Desk]:
    made = Desk(tmp_path, zmumu_folder, reach)
    yield made
    made.catalog.close()


def test_everything_is_processed_once_and_the_project_ends(desk: Desk) -> None:
    spec = desk.spec()
    seen: list[Progress] = []
    result = desk.submit(spec, on_update=seen.append)
    assert (result.exit_code, result.status.committed, result.interrupted) == (0, 6, False)
    assert result.status.open_project is None and result.status.unpublished == 0
    assert len(desk.published()) == 3
    phases = list(dict.fromkeys(one.phase for one in seen))
    assert phases == ["declaring", "running", "done"]
    assert max(one.running for one in seen) == 2 and seen[-1].running == 0
    assert seen[-1].entries == 3000
    logs = desk.database.folder / "logs"
    assert not list(logs.glob("worker-*")), "logs of workers that said nothing are removed"
    again = desk.submit(spec)
    assert again.exit_code == 0 and len(desk.published()) == 3


def test_partitions_name_their_outputs(desk: Desk) -> None:
    spec = desk.spec(job="partition_by = { files = 4 }", name="part-{partition}.root")
    assert desk.submit(spec).exit_code == 0
    assert desk.published() == ["part-0.root", "part-1.root"]


def test_stop_rolls_back_and_the_next_run_resumes(desk: Desk) -> None:
    spec = desk.spec(BLOCKED)
    stop = threading.Event()

    def stop_when_two_run(progress: Progress) -> None:
        if len(desk.ran()) == 2:
            stop.set()

    result = desk.submit(spec, stop=stop, on_update=stop_when_two_run)
    assert result.interrupted and result.exit_code == 10
    assert (result.status.open_state, result.status.available, result.status.live) == ("open", 6, 0)
    assert not [pid for pid in desk.ran() if alive(pid)]
    assert {row["attempts"] for row in desk.catalog.sql("SELECT attempts FROM ledger")} == {0}
    (desk.folder / "go").touch()
    assert desk.submit(spec).exit_code == 0
    assert len(desk.published()) == 3


SUBMIT = "import sys; from bookkeeper import open_catalog; from bookkeeper.spec import load; from bookkeeper.submit import submit\n"
SUBMIT += "sys.exit(submit(load(sys.argv[1]), open_catalog(sys.argv[2]).database).exit_code)"


def as_a_process(desk: Desk) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", SUBMIT, str(desk.folder / "spec.toml"), desk.catalog.url]
    return subprocess.Popen(words, start_new_session=True, stderr=subprocess.PIPE)


def test_control_c_ends_cleanly(desk: Desk) -> None:
    desk.spec(BLOCKED)
    running = as_a_process(desk)
    until(lambda: len(desk.ran()) == 2, "two commands")
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, stderr = running.communicate(timeout=180)
    assert running.returncode == 10 and not stderr, stderr
    status = desk.catalog.project("mass").status()
    assert (status.open_state, status.available, status.live) == ("open", 6, 0)


def test_the_command_says_that_it_was_stopped_and_how_to_go_on(desk: Desk) -> None:
    desk.spec(BLOCKED)
    words = [sys.executable, "-m", "bookkeeper_cli.main", "--catalog", desk.catalog.url, "submit", "spec.toml"]
    running = subprocess.Popen(words, cwd=desk.folder, start_new_session=True, stderr=subprocess.PIPE)
    until(lambda: len(desk.ran()) == 2, "two commands")
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=180)
    assert running.returncode == 130
    assert stderr.decode() == "stopped in good order; `bookkeeper submit spec.toml` goes on where it was\n"


def test_no_time_is_told_while_files_wait_for_their_next_try(desk: Desk) -> None:
    """The file that fails is the last: however long the others take, nothing but it is left when it has failed."""
    once = "import os, sys\nfrom pathlib import Path\nonce = Path('once')\n"
    once += "if 'zmumu-6' in sys.argv[1] and not once.exists():\n"
    once += "    once.touch(); sys.exit('[ERROR] Operation expired')\n"
    spec = desk.spec(once + COPY, job='files_per_process = 1\n[retry.transient_io]\nbase_delay = "6s"')
    seen: list[Progress] = []
    assert desk.submit(spec, on_update=seen.append).exit_code == 0
    waiting = [one for one in seen if one.waiting]
    assert any(one.files_per_s > 0 for one in waiting), "the pace of the last half minute is known"
    assert {one.eta for one in waiting} == {None}


def test_workers_survive_a_killed_submit_and_the_next_counts_them(desk: Desk) -> None:
    spec = desk.spec(BLOCKED)
    running = as_a_process(desk)
    until(lambda: len(desk.ran()) == 2, "two commands")
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    executor = make("local", desk.database, "mass", 2)
    assert (executor.running(), executor.free()) == (2, 0)
    executor.close()
    most: list[int] = []

    def let_go(progress: Progress) -> None:
        most.append(progress.running)
        if len(most) == 3:
            assert len(desk.ran()) == 2, "no third worker while two run"
            (desk.folder / "go").touch()

    result = desk.submit(spec, on_update=let_go)
    assert result.exit_code == 0 and max(most) == 2
    assert len(desk.published()) == 3
    assert desk.catalog.sql("SELECT DISTINCT state FROM processes WHERE delivered > 0") == [{"state": "committed"}]


def test_worker_that_is_stopped_while_it_starts_says_so(desk: Desk) -> None:
    spec = desk.spec()
    prepare(spec, desk.database)
    executor = make("local", desk.database, "mass", 1)
    executor.submit(spec.process())
    executor.cancel()
    ended: list[JobStatus] = []

    def is_over() -> bool:
        ended.extend(one for one in executor.status() if one.over)
        return bool(ended)

    until(is_over, "the end of the worker")
    assert ended[0].outcome is not None and ended[0].outcome.reason.endswith("signal 2 (SIGINT)")
    assert not list((desk.database.folder / "logs").glob("worker-*"))
    assert (executor.running(), executor.free()) == (0, 1)
    executor.close()


@pytest.mark.skipif(sys.platform != "linux", reason="platform: looks at /proc")
def test_commands_inherit_nothing_of_ours(desk: Desk) -> None:
    """Not the slot, nor the catalog: three descriptors, no signal blocked or ignored that was not before."""
    read = """
import os, signal
def ignored():
    line = next(line for line in open("/proc/self/status") if line.startswith("SigIgn"))
    mask = int(line.split()[1], 16) & 0x7FFFFFFF  # above are the C library's own
    return mask & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)  # Python's own
"""
    inherited = subprocess.run([sys.executable, "-c", f"{read}print(ignored())"], capture_output=True, check=True)
    payload = f"""{read}
listed = sorted(map(int, os.listdir("/proc/self/fd")))  # and the folder's own
assert listed[:3] == [0, 1, 2] and len(listed) == 4, listed
assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
assert ignored() == {int(inherited.stdout)}, ignored()  # what whoever submits ignores, as under nohup
"""
    assert desk.submit(desk.spec(payload + COPY)).exit_code == 0


def test_paused_project_is_refused_until_it_is_resumed(desk: Desk) -> None:
    spec = desk.spec()
    desk.submit(spec, stop=_set())
    desk.catalog.project("mass").pause("the detector is on fire")
    with pytest.raises(Paused, match="the detector is on fire") as caught:
        desk.submit(spec)
    assert caught.value.exit_code == 11 and "project resume mass" in caught.value.remedy
    desk.catalog.project("mass").resume()
    assert desk.submit(spec).exit_code == 0


def test_brake_stops_the_launching(desk: Desk) -> None:
    (desk.folder / "blocked").write_text("no folder")
    result = desk.submit(desk.spec(destination="blocked/out"))
    assert result.exit_code == 11 and result.status.open_state == "paused"
    assert "failures in a row" in str(result.status.pause_reason)
    assert any("blocked" in reason for reason in result.reasons)


def test_files_that_fail_for_ever_are_parked_and_the_rest_is_done(desk: Desk) -> None:
    payload = "import sys\nif any('zmumu-3' in path for path in sys.argv): sys.exit('bad basket')\n" + COPY
    spec = desk.spec(payload, project="max_attempts = 2")
    result = desk.submit(spec)
    assert (result.exit_code, result.status.committed, result.status.parked) == (10, 5, 1)
    assert result.status.open_project is None, "nothing is left to deliver: it is ended"
    assert any("bad basket" in reason for reason in result.reasons)
    with pytest.raises(NotAllowed, match=r"1 of its . files are not committed") as caught:
        desk.submit(spec)
    assert "bookkeeper recover mass" in caught.value.remedy


def test_recovery_is_gone_on_with(desk: Desk) -> None:
    spec = desk.spec()
    desk.submit(spec, stop=_set())
    recovery = desk.catalog.project("mass").recover()
    assert recovery is not None and plan(spec, desk.database).project == recovery.name
    assert desk.submit(spec).exit_code == 0
    assert {row["project"] for row in desk.catalog.sql("SELECT project FROM process_summary")} == {recovery.name}


def test_program_that_is_missing_ends_the_run(desk: Desk) -> None:
    spec = desk.spec(program='"no-such-program-here"')
    try:
        assert desk.submit(spec).exit_code == 11
    except BookkeeperError as error:
        assert "could not start" in str(error) and "no such program" in str(error)
    assert desk.catalog.sql("SELECT count(*) AS n FROM processes")[0]["n"] <= 5


def test_workers_that_do_not_even_start_end_the_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = desk.spec()
    broken = desk.folder / "broken-python"
    broken.write_text("#!/bin/sh\necho \"ImportError: no module named 'bookkeeper'\" >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(BookkeeperError, match="could not start: exit code 1: ImportError") as caught:
        desk.submit(spec)
    assert "left open" in caught.value.remedy
    assert list((desk.database.folder / "logs").glob("worker-mass-*.log"))


def test_left_over_outputs_are_published(desk: Desk) -> None:
    spec = desk.spec()
    desk.submit(spec, stop=_set())
    process = desk.catalog.project("mass").start_process(files_per_process=6)
    for file in process.next_files():
        file.consumed()
    shutil.copy(process.files[0].locations[0], desk.folder / "x.root")
    process.stage_out(desk.folder / "x.root", desk.folder / "out", "x-{process}.root")
    (desk.folder / "out" / "x-1.root").write_text("in the way")
    with pytest.raises(BookkeeperError, match="taken by another object"):
        process.commit()
    result = desk.submit(spec)
    assert result.exit_code == 10 and any("taken by another object" in reason for reason in result.reasons)
    (desk.folder / "out" / "x-1.root").unlink()
    assert desk.submit(spec).exit_code == 0, "also of a project that has ended"
    assert desk.published() == ["x-1.root"]


def test_plan_changes_nothing(desk: Desk) -> None:
    spec = desk.spec(program='"no-such-program-here"')
    before = plan(spec, None)
    assert (before.action, before.files, before.processes, before.jobs) == ("start", 6, 3, 2)
    assert before.outputs == (str(desk.folder / "out" / "m-1.root"),)
    assert "no such program" in before.warnings[0]
    assert desk.catalog.sql("SELECT count(*) AS n FROM files") == [{"n": 0}]
    spec = desk.spec()
    desk.submit(spec, stop=_set())
    resumed = plan(spec, desk.database)
    assert (resumed.action, resumed.files) == ("resume", 6) and resumed.as_dict()["status"]["available"] == 6
    desk.submit(spec)
    assert plan(spec, desk.database).action == "finished"


@pytest.mark.parametrize("program", ['"true"', '"no-such-program-here"'])
def test_a_plan_without_files_would_be_refused(desk: Desk, program: str) -> None:
    desk.catalog.define_dataset("none", names=["nothing-*"])
    desk.spec(program=program)
    path = desk.folder / "spec.toml"
    path.write_text(path.read_text().replace('files = ["data/*.root"]', 'dataset = "none"'))
    planned = plan(load(path), desk.database)
    assert (planned.action, planned.files) == ("refused", 0)
    assert "there is no file to be processed" in planned.warnings


def _set() -> threading.Event:
    """A stop that was asked for before anything ran: the project is started, and no more."""
    stop = threading.Event()
    stop.set()
    return stop
