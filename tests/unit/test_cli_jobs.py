"""jobs, kill, hold, release, resubmit, watch, logs --job: a queue in the hands of people."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import jobs as kept
from bookkeeper.jobs import looking
from bookkeeper.watching import Babysitter, verbs
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


def until_at_work(desk: ToyDesk, sitter: Babysitter, jobs: int) -> None:
    """Look after the project until so many jobs run, as the catalog knows, and have their files."""
    live = "SELECT 1 FROM processes WHERE state = 'active' AND delivered > 0"

    def at_work() -> bool:
        sitter.step()
        return len(desk.running()) == len(desk.rows(live)) == jobs

    until(at_work, f"{jobs} jobs at work")


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


def test_verbs_tell_what_became_of_jobs_where_nobody_looks_after_them(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr(verbs, "PATIENCE", 60.0)
    sitter = desk.begin(BLOCKED, jobs=2)
    until_at_work(desk, sitter, 2)
    none = run("release", "mass")
    assert none.code == 3 and "no job of mass is held" in none.err
    assert "2 jobs held, 2 processes rolled back" in ok("hold", "mass").out
    assert ok("jobs", "mass").lines[0] == "2 held" and desk.states() == ["held"] * 2
    again = run("hold", "mass")
    assert again.code == 3 and "no job of mass is waiting or running" in again.err
    named = run("release", "mass", "--job", "77.0")
    assert named.code == 3 and "project mass has no such job (job 77.0)" in named.err
    assert "2 jobs released" in ok("release", "mass").out
    assert "held" not in desk.states()
    until_at_work(desk, sitter, 2)  # one that only begins is told of the end, and ends by itself
    assert "2 jobs removed" in ok("kill", "mass").out
    assert desk.states() == ["removed"] * 2
    assert len(desk.events("job.removed")) == 2 and len(desk.events("job.held")) == 2


def test_what_the_batch_system_holds_is_released_though_the_catalog_does_not_know(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr(verbs, "PATIENCE", 60.0)
    sitter = desk.begin(BLOCKED, jobs=2)
    until_at_work(desk, sitter, 2)
    job = desk.running()[0]
    desk.pool.hold([job], "by other means")
    log = desk.pool.queue / job.partition(".")[0] / "log"
    until(lambda: '"held"' in log.read_text(), "the pool holds it")
    assert desk.states() == ["running"] * 2
    assert ok("release", "mass", "--json").json["jobs"] == [job]
    assert desk.states().count("held") == 0 and len(desk.events("job.held")) == 1


def test_a_verb_ends_where_the_batch_system_does_not_tell_it_yet(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr(verbs, "PATIENCE", 0.1)
    sitter = desk.begin(BLOCKED, jobs=1, lease="1h")  # or its next heartbeat tells the job of the end
    until_at_work(desk, sitter, 1)
    with monkeypatch.context() as patched:
        patched.setattr("toypool.ToyPool.hold", lambda *_: None)
        assert "1 job held" in ok("hold", "mass").out
    assert desk.states() == ["running"]


def test_a_node_is_called_as_the_batch_system_or_as_the_machine_calls_it(
    desk: ToyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr(verbs, "PATIENCE", 60.0)
    sitter = desk.begin(BLOCKED, jobs=2)
    until_at_work(desk, sitter, 2)
    slots = {row["batch_id"]: row["node"] for row in desk.rows("SELECT batch_id, node FROM jobs")}
    of = {row["job_id"]: row for row in desk.rows("SELECT id, job_id, node FROM processes WHERE state = 'active'")}
    one, two = sorted(of)
    assert of[one]["node"] == of[two]["node"] == socket.gethostname() and slots[one] != slots[two]
    done = ok("kill", "mass", "--node", slots[one], "--json").json
    assert (done["jobs"], done["processes"]) == ([one], [of[one]["id"]])
    done = ok("kill", "mass", "--node", of[two]["node"], "--json").json
    assert (done["jobs"], done["processes"]) == ([two], [of[two]["id"]])
    assert desk.states() == ["removed"] * 2
    assert run("kill", "mass", "--node", "nowhere").code == 3


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
    until_at_work(desk, sitter, 3)
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
        until(lambda: desk.rows("SELECT 1 FROM projects WHERE state = 'ended'"), "the project ends", 300)
    desk.exactly_once()


def test_a_server_runs_nothing_that_a_client_names(desk: ToyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    desk.spec(BLOCKED, jobs=1)
    with served(desk.database) as url:
        ok("--catalog", url, "submit", "spec.toml", "--detach")
        assert [one["via"] for one in desk.events("project.submitted")] == ["server"]
