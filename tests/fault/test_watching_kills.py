"""Whoever looks after jobs is killed, and is there twice: no job is submitted twice, and everything counts once."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import jobs
from toydesk import ToyDesk, installed
from workbench import kill, to_its_end, until


@pytest.fixture
def desk(tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyDesk]:
    with installed(tmp_path / "site", monkeypatch):
        (tmp_path / "desk").mkdir()
        made = ToyDesk(tmp_path / "desk", zmumu_folder)
        yield made
        made.pool.shut_down()
        made.catalog.close()


def submitted_once(desk: ToyDesk) -> None:
    """Every submission of the pool is one of the catalog, and every one of the catalog that took place is there once."""
    known = [row["tag"] for row in desk.rows("SELECT tag FROM submissions WHERE batch_id IS NOT NULL ORDER BY tag")]
    assert desk.pool.clusters() == known


def test_a_submitter_killed_before_it_could_record_finds_its_jobs_again(desk: ToyDesk) -> None:
    desk.spec(jobs=3)
    (desk.pool.root / "die-after-submit").touch()
    assert desk.run("submit", "spec.toml")[0] == -signal.SIGKILL
    assert desk.states() == ["intended"] * 3 and len(desk.pool.clusters()) == 1
    code, said = desk.run("submit", "spec.toml")
    assert code == 0, said
    submitted_once(desk)
    desk.exactly_once()


def test_a_submitter_killed_before_it_asked_the_pool_is_taken_over(desk: ToyDesk) -> None:
    desk.begin(jobs=3)
    folder = desk.database.folder / "batch" / "left"
    known = {"tag": "left", "executor": "toypool", "folder": str(folder)}
    assert jobs.intend(desk.database, "mass", host=socket.gethostname(), asks={}, wanted=3, **known) == 3
    code, said = desk.run("watch", "mass", "--until-done", "--every", "0.1s")
    assert code == 0, said
    assert "left" in desk.pool.clusters() and "complete, 6 of 6 files committed" in said
    submitted_once(desk)
    desk.exactly_once()


def test_two_watchers_killed_at_random_do_everything_once(desk: ToyDesk) -> None:
    desk.spec(jobs=3)
    code, said = desk.run("submit", "spec.toml", "--detach")
    assert code == 0, said
    luck = random.Random(5)
    watchers: list[subprocess.Popen[str]] = []

    def watch() -> subprocess.Popen[str]:
        return desk.command("watch", "mass", "--until-done", "--every", "0.05s")

    watchers = [watch(), watch()]
    try:
        for seen in (1, 2, 4):
            until(lambda: len(desk.rows("SELECT 1 FROM processes")) >= seen, f"{seen} processes")  # noqa: B023 - at once
            one = luck.randrange(2)
            watchers[one].kill()
            watchers[one].communicate()
            assert len([state for state in desk.states() if state in ("intended", "idle", "running")]) <= 3
            watchers[one] = watch()
        for watcher in watchers:
            said, problem = to_its_end(watcher)
            assert watcher.returncode == 0, said + problem
    finally:
        for watcher in watchers:
            kill(watcher)
    submitted_once(desk)
    desk.exactly_once()
    told = desk.rows(
        "SELECT body, count(*) AS n FROM events WHERE kind IN ('job.running', 'job.terminated') GROUP BY kind, body"
    )
    assert {row["n"] for row in told} == {1}
