"""jobs, kill, hold, release, resubmit, watch, logs --job: a queue in the hands of people."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import jobs as kept
from bookkeeper.jobs import looking
from bookkeeper.watching import verbs
from commandline import ok, run
from services.reach import served
from toydesk import BLOCKED, ToyDesk, installed
from workbench import until


@pytest.fixture
def desk(tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyDesk]:
    with installed(tmp_path / "site", monkeypatch):
        (tmp_path / "desk").mkdir()
        made = ToyDesk(tmp_path / "desk", zmumu_folder)
        monkeypatch.setenv("BOOKKEEPER_CATALOG", made.catalog.url)
        yield made
        made.pool.shut_down()
        made.catalog.close()


def test_a_queue_is_shown_held_released_killed_and_goes_on(desk: ToyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    desk.spec(BLOCKED, jobs=3)
    assert "bookkeeper watch mass" in ok("submit", "spec.toml", "--detach").out
    until(lambda: (ok("watch", "mass", "--once"), len(desk.running()) == 3)[1], "three jobs run")
    until(lambda: len(desk.rows("SELECT 1 FROM processes WHERE delivered > 0")) == 3, "three processes have files")
    shown = ok("jobs", "mass")
    assert shown.lines[0] == "3 running" and shown.lines[1].split()[:3] == ["job", "state", "starts"]
    one, two, three = (row["job"] for row in ok("jobs", "mass", "--json").json["jobs"])
    assert "1 job held, 1 process rolled back" in ok("hold", "mass", "--job", one, "--reason", "let me look").out
    until(lambda: (ok("watch", "mass", "--once"), "held" in desk.states())[1], "one is held")
    assert "let me look" in ok("jobs", "mass").out
    assert run("release", "mass", "--node", "nowhere").code == 3
    assert "1 job released" in ok("release", "mass").out
    (process,) = desk.rows("SELECT id FROM processes WHERE job_id = ?", two)
    assert "1 job removed, 1 process rolled back" in ok("kill", "mass", "--process", process["id"]).out
    (row,) = desk.rows("SELECT reason FROM processes WHERE id = ?", process["id"])
    assert row["reason"].startswith("killed by ")
    assert {row["attempts"] for row in desk.rows("SELECT attempts FROM ledger")} == {0}, "nothing is charged"
    ended = ok("kill", "mass", "--reason", "enough", "--json").json
    assert ended["paused"] == "mass" and three in ended["jobs"]
    until(lambda: (ok("watch", "mass", "--once"), not kept.submissions(desk.database, "mass"))[1], "the queue is empty")
    (desk.folder / "go").touch()
    assert "6 files to be processed" in ok("resubmit", "mass").out
    end = ok("watch", "mass", "--until-done", "--every", "0.1s", "--json").json
    assert [(one["complete"], one["jobs"]) for one in end["projects"]] == [(True, {})]
    desk.exactly_once()
    (last,) = desk.rows("SELECT max(id) AS id FROM processes WHERE state = 'committed'")
    printed = ok("logs", last["id"], "--job")
    assert f'{{"process": {last["id"]}' in printed.out and '"outcome"' in printed.out
    assert (desk.database.folder / "logs" / f"{last['id']}.job.gz").exists(), "it is kept with the process"
    status = ok("status", "mass").out
    assert "finding" not in status and "jobs  " not in status


def test_what_was_intended_is_not_submitted_once_a_person_killed_it(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    sitter, tag = desk.begin(jobs=3), "bookkeeper-x-1"
    said = {"executor": "toypool", "host": socket.gethostname(), "folder": str(desk.systems.folder / tag)}
    kept.intend(desk.database, "mass", tag=tag, asks={}, wanted=3, **said)
    assert ok("kill", "mass", "--json").json["paused"] == "mass"
    sitter.step()
    assert desk.states() == ["lost"] * 3 and not desk.pool.clusters()
    ok("resubmit", "mass")
    desk.to_the_end(sitter)
    desk.exactly_once()


def test_a_process_is_looked_up_once_however_many_jobs_there_are(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    sitter = desk.begin(BLOCKED, jobs=3)
    until(lambda: (sitter.step(), len(desk.rows("SELECT 1 FROM processes WHERE delivered > 0")) == 3)[1], "three run")
    asked: list[int] = []

    def of_process(database: Any, process: int) -> Any:
        asked.append(process)
        return looking.of_process(database, process)

    monkeypatch.setattr(kept, "of_process", of_process)
    (last,) = desk.rows("SELECT max(id) AS id FROM processes")
    done = verbs.kill(desk.database, "mass", verbs.Chosen(process=last["id"]))
    assert (len(done.jobs), done.processes, asked) == (1, (last["id"],), [last["id"]])


def test_what_would_be_submitted_is_written_and_nothing_else_done(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    desk.spec()
    said = ok("submit", "spec.toml", "--dry-run").out
    assert "mass-dry-run/toypool.json" in said and "Nothing was submitted." in said
    assert not desk.pool.clusters() and not desk.rows("SELECT 1 FROM projects")
    desk.spec(executor='queue = "refused"')
    assert "no queue 'refused'" in run("submit", "spec.toml", "--dry-run").err


def test_a_server_looks_after_what_was_submitted_on_its_host(desk: ToyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    desk.spec()
    ok("submit", "spec.toml", "--detach")
    with served(desk.database):
        until(lambda: desk.rows("SELECT 1 FROM projects WHERE state = 'ended'"), "the project ends", 60)
    desk.exactly_once()


def test_a_server_runs_nothing_that_a_client_names(desk: ToyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    desk.spec(BLOCKED, jobs=1)
    with served(desk.database) as url:
        ok("--catalog", url, "submit", "spec.toml", "--detach")
        assert [one["via"] for one in desk.events("project.submitted")] == ["server"]
