"""Plug-ins beside real submissions: told while it runs, killed in mid-call, catching up, and judging outputs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bookkeeper
from bookkeeper import nodes
from bookkeeper.errors import BookkeeperError, SpecError
from bookkeeper.executors import memory
from bookkeeper.executors.local import LocalExecutor
from bookkeeper.plugins import Dispatcher
from bookkeeper.plugins.notify import Notify, targets
from bookkeeper.spec import load
from bookkeeper.submit import Progress, Submitted, audience, submit
from leftovers import none_left
from postbox import Postbox, postbox
from workbench import until

COPY = "import os, shutil, sys; shutil.copy(sys.argv[1], os.environ['BOOKKEEPER_OUTPUT'])\n"

PLUGIN = """
import os, time
from pathlib import Path
from bookkeeper import ValidationError
from bookkeeper.plugins import hookimpl

HERE = Path(__file__).parent

@hookimpl
def bookkeeper_event(event):
    with open(HERE / "begun", "a") as file:
        print(event.id, event.kind, os.getpid(), file=file)
    while (HERE / "hang").exists():
        time.sleep(0.02)
    with open(HERE / "told", "a") as file:
        print(event.id, event.kind, file=file)

@hookimpl
def bookkeeper_validators():
    def picky(path, expect):
        if (HERE / "bad-day").exists():
            raise ValidationError("the histogram is empty")
        with open(HERE / "judged", "a") as file:
            print(path, expect, file=file)
    return {"picky": picky}
"""

PROGRAM = (
    "import sys; from bookkeeper import open_catalog; from bookkeeper.spec import load\n"
    "from bookkeeper.submit import submit\n"
    "sys.exit(submit(load(sys.argv[1]), open_catalog(sys.argv[2]).database).exit_code)"
)


class Desk:
    """A catalog, six ROOT files, a payload, a plug-in and a spec, in one folder."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        shutil.copytree(data, folder / "data")
        self.catalog = bookkeeper.create_catalog(f"sqlite:///{folder}/catalog.db")
        self.database = self.catalog.database
        (folder / "mine.py").write_text(PLUGIN)

    def spec(self, *, payload: str = COPY, extra: str = "", validate: str = "quick", executor: str = "") -> Any:
        (self.folder / "payload.py").write_text(payload)
        (self.folder / "spec.toml").write_text(
            f"""
[project]
name = "mass"
files = ["data/*.root"]
[job]
command = ["{sys.executable}", "-S", "payload.py", "{{inputs}}"]
files_per_process = 2
[output]
name = "m-{{process}}.root"
destination = "out"
validate = "{validate}"
[executor]
jobs = 2
{executor}
[plugins]
modules = ["mine.py"]
{extra}
"""
        )
        return load(self.folder / "spec.toml")

    def submit(self, spec: Any, **options: Any) -> Submitted:
        return submit(spec, self.database, **options)

    def lines(self, name: str) -> list[list[str]]:
        """The words of the lines that the plug-in wrote."""
        path = self.folder / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def logged(self) -> list[int]:
        """The numbers of all events but failures of the plug-in itself."""
        rows = self.catalog.sql("SELECT id FROM events WHERE kind <> 'plugin.failed' ORDER BY id")
        return [row["id"] for row in rows]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def desk(tmp_path: Path, zmumu_folder: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, zmumu_folder)
    yield made
    (tmp_path / "hang").unlink(missing_ok=True)
    made.catalog.close()


@pytest.fixture
def box() -> Iterator[Postbox]:
    """Where notifications are posted. What sends them is loaded before, as a run waits a bounded time for them."""
    with postbox() as made:
        (target,) = targets([Notify(("ended",), url=made.url)], {})
        assert not list(target.problems())
        yield made


def test_submit_tells_every_event_and_the_completion(desk: Desk, box: Postbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", box.url)
    spec = desk.spec(extra='[[notify]]\non = ["complete", "ended", "parked"]\nurl_env = "CHAT"')
    result = desk.submit(spec)
    assert (result.exit_code, result.untold) == (0, ())
    first = desk.logged()[0]
    assert [int(number) for number, _ in desk.lines("told")] == [number for number in desk.logged() if number >= first]
    assert [post["title"] for post in box.posts] == [
        "bookkeeper: project mass is complete",
        "bookkeeper: project mass has ended",
    ]
    desk.submit(spec)
    assert len(box.posts) == 2, "nothing is told twice"
    kept = "".join(path.read_bytes().decode("latin-1") for path in desk.folder.glob("catalog.db*") if path.is_file())
    assert "hunter2" not in kept and "s3cret" not in kept


@pytest.mark.slow
def test_hanging_plugin_delays_the_end_by_a_bounded_time(desk: Desk) -> None:
    (desk.folder / "hang").touch()
    spec = desk.spec()
    seen: list[float] = []
    result = desk.submit(spec, on_update=lambda _: seen.append(time.monotonic()))
    assert result.exit_code == 0 and result.status.committed == 6
    assert time.monotonic() - seen[-1] < 120, "since nothing but the plug-in was left to be waited for"
    assert result.untold == ("mine@mass",)
    (desk.folder / "hang").unlink()
    again = desk.submit(spec)
    assert again.exit_code == 0 and again.untold == (), "what was away catches up"
    assert sorted({int(number) for number, _ in desk.lines("told")}) == desk.logged()


@pytest.mark.fault
def test_killed_in_mid_call_the_next_dispatcher_tells_it_again(desk: Desk) -> None:
    """kill -9 while the plug-in is called: nothing is lost, at most what was in the air is told twice."""
    desk.spec()
    (desk.folder / "hang").touch()
    words = [sys.executable, "-c", PROGRAM, str(desk.folder / "spec.toml"), desk.catalog.url]
    running = subprocess.Popen(words, start_new_session=True)
    until(lambda: desk.lines("begun"), "a call", 180)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not desk.lines("told")
    (desk.folder / "hang").unlink()
    with contextlib.closing(LocalExecutor(desk.database, "mass", 2)) as executor:
        until(lambda: executor.running() == 0, "the end of the workers that it started", 180)
    with desk.database.transaction() as tx:
        held = tx.run("UPDATE cursors SET claimed_until = claimed_until + 1e6 WHERE claimed_by IS NOT NULL").rowcount
    assert held == 1, "it died with its claim"
    result = desk.submit(load(desk.folder / "spec.toml"))
    assert result.exit_code == 0
    assert result.untold == (), "the claim of a process that is gone is not waited for"
    begun, told = desk.lines("begun"), [int(number) for number, _ in desk.lines("told")]
    assert begun[0][0] == begun[1][0] and begun[0][2] != begun[1][2], "the same event, by another process"
    assert told == desk.logged(), "each once, in order: only the call was repeated"


@pytest.mark.fault
def test_killed_again_and_again_nothing_is_lost(desk: Desk) -> None:
    desk.submit(desk.spec())
    spec = str(desk.folder / "spec.toml")
    (desk.folder / "told").unlink()
    with desk.database.transaction() as tx:
        for number in range(3000):
            tx.run("INSERT INTO events (at, kind, body) VALUES (1.0, 'x', :body)", {"body": f'{{"n": {number}}}'})
    cli = shutil.which("bookkeeper", path=str(Path(sys.executable).parent)) or "bookkeeper"
    for kill in range(1, 4):
        running = subprocess.Popen([cli, "--catalog", desk.catalog.url, "plugin", "run", spec], start_new_session=True)
        until(lambda: len(desk.lines("told")) > 300 * kill or running.poll() is not None, "some calls", 180)  # noqa: B023
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    with Dispatcher(desk.database, audience(load(spec))) as dispatcher:
        assert dispatcher.close(180) == []
    told = [int(number) for number, _ in desk.lines("told")]
    expected = [row["id"] for row in desk.catalog.sql("SELECT id FROM events WHERE kind = 'x'")]
    assert sorted(set(told)) == expected, "at least once"
    assert len(told) < 2 * len(expected), "and not from the beginning each time"


def test_two_submits_tell_every_event_once(desk: Desk) -> None:
    desk.spec()
    words = [sys.executable, "-c", PROGRAM, str(desk.folder / "spec.toml"), desk.catalog.url]
    both = [subprocess.Popen(words, start_new_session=True) for _ in range(2)]
    codes = sorted(one.wait(180) for one in both)
    assert codes == [0, 0]
    desk.submit(load(desk.folder / "spec.toml"))
    assert [int(number) for number, _ in desk.lines("told")] == desk.logged()


def test_validator_of_a_plugin_judges_outputs(desk: Desk) -> None:
    spec = desk.spec(validate="picky")
    result = desk.submit(spec)
    assert result.exit_code == 0
    assert len(desk.lines("judged")) == 3 and all(words[0].endswith(".root") for words in desk.lines("judged"))


def test_validator_that_refuses_rolls_back_with_its_reason(desk: Desk) -> None:
    (desk.folder / "bad-day").touch()
    result = desk.submit(desk.spec(validate="picky"))
    assert result.status.committed == 0
    assert any("the histogram is empty" in reason for reason in result.reasons)


def test_executor_of_a_plugin_runs_jobs(desk: Desk) -> None:
    more = """
from bookkeeper.executors.local import LocalExecutor

@hookimpl
def bookkeeper_executors():
    def make(database, request, jobs):
        (HERE / "made").touch()
        return LocalExecutor(database, request, jobs)
    return {"mine": make}
"""
    (desk.folder / "mine.py").write_text(PLUGIN + more)
    result = desk.submit(desk.spec(executor='kind = "mine"'))
    assert result.exit_code == 0 and (desk.folder / "made").exists()
    (desk.folder / "mine.py").write_text(PLUGIN)
    with pytest.raises(SpecError, match=r"executor\.kind: 'mine' is not known here"):
        desk.spec(executor='kind = "mine"')


def test_jobs_start_only_while_their_memory_fits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host has as much left at each look, whatever else runs on it."""
    most = 100_000.0
    monkeypatch.setattr(memory, "available_mb", lambda: most)
    executor = LocalExecutor(desk.database, "mass", 8)
    try:
        assert executor.free() == 8 and executor.free(1.0) == 8
        assert executor.free(most * 0.4) == 2
        assert executor.free(most * 100) == 1, "one at least: else nothing would ever run"
    finally:
        executor.close()
    seen: list[Progress] = []
    result = desk.submit(desk.spec(executor=f'memory = "{int(most * 0.7)}MB"'), on_update=seen.append)
    assert result.exit_code == 0 and max(one.running for one in seen) == 1


def test_container_with_less_memory_than_its_host(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("104857600\n")
    (tmp_path / "memory.current").write_text("52428800\n")
    assert memory.available_mb(tmp_path) == 50.0
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_mb(tmp_path) > 50.0
    assert memory.used_mb(os.getpid()) > 10 and memory.used_mb(2**22 + 1) == 0.0


def test_submit_waits_for_the_next_try_and_says_so(desk: Desk) -> None:
    """A fault that passes: nothing is started before its time has come, and the line says until when.

    It befalls the last files, so that no others are left, however long those take.
    """
    flaky = (
        "from pathlib import Path\nimport sys\n"
        "seen = Path('seen')\n"
        "if any('zmumu-6' in one for one in sys.argv) and not seen.exists():\n"
        "    seen.touch(); sys.exit('Connection timed out')\n" + COPY
    )
    seen: list[Progress] = []
    spec = desk.spec(payload=flaky, extra='[retry.transient_io]\nbase_delay = "6s"\njitter = false')
    result = desk.submit(spec, on_update=seen.append)
    assert result.exit_code == 0
    waited = [one for one in seen if "for the" in one.waiting or "for its" in one.waiting or "for their" in one.waiting]
    assert waited and all("next try at" in one.waiting for one in waited)
    processes = desk.catalog.sql("SELECT delivered, reason FROM processes")
    assert len([one for one in processes if not one["delivered"]]) <= 1, processes


def test_excluded_node_ends_the_run_with_its_reason(desk: Desk) -> None:
    spec = desk.spec()
    nodes.exclude(desk.database, socket.gethostname(), reason="its disk is bad", seconds=3600, by="test")
    with pytest.raises(BookkeeperError, match="its disk is bad") as caught:
        desk.submit(spec)
    assert "node admit" in caught.value.remedy
