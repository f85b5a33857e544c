"""Whoever looks after jobs is killed, and is there twice: no job is submitted twice, and everything counts once."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import jobs
from toydesk import ToyDesk, installed
from workbench import until


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
    assert desk.command("submit", "spec.toml").wait(60) == -signal.SIGKILL
    assert desk.states() == ["intended"] * 3 and len(desk.pool.clusters()) == 1
    second = desk.command("submit", "spec.toml")
    said, problem = second.communicate(timeout=120)
    assert second.returncode == 0, said + problem
    submitted_once(desk)
    desk.exactly_once()


def test_a_submitter_killed_before_it_asked_the_pool_is_taken_over(desk: ToyDesk) -> None:
    sitter = desk.begin(jobs=3)
    sitter.spec, spec = None, sitter.spec  # as if killed: what is intended is not handed over by this one
    assert spec is not None
    folder = desk.database.folder / "batch" / "left"
    said = {"tag": "left", "executor": "toypool", "folder": str(folder), "asks": {}, "wanted": 3}
    assert jobs.intend(desk.database, "mass", host=sitter._host, **said) == 3
    watcher = desk.command("watch", "mass", "--until-done", "--every", "0.1s")
    text, problem = watcher.communicate(timeout=120)
    assert watcher.returncode == 0, text + problem
    assert "left" in desk.pool.clusters() and "complete, 6 of 6 files committed" in text
    submitted_once(desk)
    desk.exactly_once()


def test_two_watchers_killed_at_random_do_everything_once(desk: ToyDesk) -> None:
    desk.spec(jobs=3)
    handed = desk.command("submit", "spec.toml", "--detach")
    said, problem = handed.communicate(timeout=60)
    assert handed.returncode == 0, said + problem
    luck = random.Random(5)
    watchers: list[subprocess.Popen[str]] = []

    def watch() -> subprocess.Popen[str]:
        return desk.command("watch", "mass", "--until-done", "--every", "0.05s")

    watchers = [watch(), watch()]
    for seen in (1, 2, 4):
        until(lambda: len(desk.rows("SELECT 1 FROM processes")) >= seen, f"{seen} processes", 60)  # noqa: B023 - at once
        one = luck.randrange(2)
        watchers[one].kill()
        watchers[one].communicate()
        assert len([state for state in desk.states() if state in ("intended", "idle", "running")]) <= 3
        watchers[one] = watch()
    for one in watchers:
        said, problem = one.communicate(timeout=120)
        assert one.returncode == 0, said + problem
    submitted_once(desk)
    desk.exactly_once()
    told = desk.rows(
        "SELECT body, count(*) AS n FROM events WHERE kind IN ('job.running', 'job.terminated') GROUP BY kind, body"
    )
    assert {row["n"] for row in told} == {1}
