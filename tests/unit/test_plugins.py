"""Plug-ins are told events after the commit, in order, at least once; what they do wrong harms nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import retries
from bookkeeper.errors import UsageError
from bookkeeper.failures import Explanation, FailureCategory
from bookkeeper.plugins import (
    Decision,
    Dispatcher,
    Failure,
    HoldBack,
    Park,
    Patience,
    Pause,
    Plugins,
    hookimpl,
    load,
    subscribe,
    subscribers,
)
from bookkeeper.plugins import cursors as cursors_of
from listening import QUICK, Keeper, Log
from workbench import until


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.stop.set()
    made.catalog.close()


def settle(lane: Any, **how: Any) -> None:
    """Step until the lane has nothing more to do by itself."""
    until(lambda: lane.step(**how) is None, "the end of the log")


# -- what is told --------------------------------------------------------------------------------------------------


def test_events_are_told_in_order_once_with_names_for_numbers(log: Log) -> None:
    keeper = Keeper()
    lane = log.lane(keeper)
    process = log.project.start_process(files_per_process=1, node="n1")
    (file,) = process.next_files()
    log.record("x.one", {"a": [1]}, project=None, process=process.id, file=file.id)
    log.record("x.two", {"b": "ü"})
    settle(lane)
    settle(lane)
    one, two = (event for event in keeper.told if event.kind.startswith("x."))
    assert (one.project, one.request, one.process_id, one.file, one.body) == (
        "p",
        "p",
        process.id,
        file.name,
        {"a": [1]},
    )
    assert (two.body, two.process_id, two.at > 0) == ({"b": "ü"}, None, True)
    assert [event.id for event in keeper.told] == sorted({event.id for event in keeper.told})
    assert log.cursor()["event_id"] == two.id and log.cursor()["claimed_by"] is None


def test_new_plugin_begins_at_the_end_of_the_log_unless_asked_from_the_beginning(log: Log) -> None:
    log.record("x.before")
    late, early = Keeper(), Keeper()
    lanes = [log.lane(late), log.lane(early, name="early", beginning=True)]
    log.record("x.after")
    for lane in lanes:
        settle(lane)
    assert late.kinds == ["x.after"]
    assert early.kinds[0] == "project.started" and early.kinds[-2:] == ["x.before", "x.after"]


def test_plugin_that_was_away_catches_up(log: Log) -> None:
    first, second = Keeper(), Keeper()
    settle(log.lane(first))
    for number in range(1200):
        log.record("x.while-away", {"n": number})
    lane = log.lane(second)
    settle(lane)
    assert [event.body["n"] for event in second.told] == list(range(1200))


def test_plugin_of_a_spec_hears_of_its_request_only_and_one_installed_of_everything(log: Log) -> None:
    log.catalog.start_project("q", "all")
    ours, everybodys = Keeper(), Keeper()
    lanes = [log.lane(ours), log.lane(everybodys, name="installed", installed=True)]
    for kind, project in (("x.p", "p"), ("x.q", "q"), ("x.none", None)):
        log.record(kind, project=project)
    for lane in lanes:
        settle(lane)
    assert ours.kinds == ["x.p", "x.none"] and everybodys.kinds == ["x.p", "x.q", "x.none"]
    assert log.cursor("installed")["event_id"] > 0, "its cursor is the installation's"


def test_idle_tick_looks_at_an_index_and_writes_nothing(log: Log) -> None:
    lane = log.lane(Keeper())
    settle(lane)
    plan = log.catalog.sql("EXPLAIN QUERY PLAN SELECT max(id) AS id FROM events")
    assert "SEARCH" in plan[0]["detail"]
    before = log.database.rows("PRAGMA table_info(cursors)"), log.cursor()
    for _ in range(3):
        assert lane.step() is None
    assert before[1] == log.cursor()


# -- plug-ins that fail --------------------------------------------------------------------------------------------


def test_plugin_that_raises_is_tried_five_times_then_the_event_is_given_up(log: Log) -> None:
    keeper = Keeper("x.bad")
    lane = log.lane(keeper)
    for kind in ("x.good", "x.bad", "x.better"):
        log.record(kind)
    settle(lane)
    assert keeper.kinds == ["x.good", "x.better"], "and none of its own failures"
    failures = log.bodies("plugin.failed")
    assert [(one["attempt"], one["given_up"]) for one in failures] == [
        (1, False), (2, False), (3, False), (4, False), (5, True),
    ]  # fmt: skip
    assert {(one["plugin"], one["kind"], one["problem"]) for one in failures} == {
        ("mine@p", "x.bad", "ValueError: x.bad is refused")
    }


def test_attempts_wait_longer_and_longer(log: Log) -> None:
    lane = log.lane(Keeper("x.bad"), patience=Patience(back_off=(60.0, 600.0)))
    log.record("x.bad")
    wait = lane.step()
    assert wait is not None and 59 < wait <= 60
    again = lane.step()
    assert again is not None and 50 < again <= 60, "asked again, it still waits"
    assert log.cursor()["attempts"] == 1 and len(log.bodies("plugin.failed")) == 1
    other = log.lane(Keeper("x.bad"), patience=Patience(back_off=(60.0, 600.0)))
    assert (other.step() or 0) > 50, "so does every other dispatcher"


def test_two_plugins_that_fail_do_not_tell_each_other_for_ever(log: Log) -> None:
    refusing = Keeper("x.bad", "plugin.failed"), Keeper("x.bad", "plugin.failed")
    lanes = [log.lane(one, name=f"p{number}") for number, one in enumerate(refusing)]
    log.record("x.bad")
    until(lambda: [lane.step() for lane in lanes] == [None, None], "an end")
    assert len(log.bodies("plugin.failed")) == 2 * 5 + 2 * 5 * 5


def test_plugin_that_hangs_is_abandoned_and_counted(log: Log) -> None:
    release, calls = threading.Event(), []

    class Hanging:
        @hookimpl
        def bookkeeper_event(self, event: Any) -> None:
            calls.append(event.kind)
            if event.kind == "x.hang":
                release.wait(600)

    lane = log.lane(Hanging(), patience=Patience(timeout=0.1, back_off=(0.01,)))
    log.record("x.hang")
    log.record("x.after")
    try:
        until(lambda: lane.step() == 0.1, "two attempts")
        failures = log.bodies("plugin.failed")
        assert [one["given_up"] for one in failures] == [False, True]
        assert failures[0]["problem"] == "Hanging: it did not return within 0.1 s"
        assert lane.step() == 0.1 and "x.after" not in calls, "two threads hang: no third is risked"
        lane._patience = Patience(timeout=60, back_off=(0.01,))  # what returns may be slow to do so
    finally:
        release.set()
    until(lambda: lane.step() is None, "the rest")
    assert calls == ["x.hang", "x.hang", "x.after"]


def test_one_that_hangs_delays_neither_others_nor_transactions_nor_the_end(log: Log) -> None:
    release, keeper = threading.Event(), Keeper()

    class Hanging:
        @hookimpl
        def bookkeeper_event(self, event: Any) -> None:
            release.wait(600)

    plugins = Plugins()
    plugins.add("hanging", Hanging(), "here")
    plugins.add("keeper", keeper, "here")
    dispatcher = Dispatcher(log.database, subscribers(plugins, (), "p"), patience=Patience(timeout=600))
    dispatcher.start()
    try:
        log.record("x.one")
        until(lambda: keeper.told, "the other one")
        before = time.monotonic()
        log.record("x.two")
        until(lambda: len(keeper.told) == 2, "the other one again")
        untold = dispatcher.close(0.5)
        assert time.monotonic() - before < 300, "its call takes twice as long"
    finally:
        release.set()
    assert untold == ["hanging@p"] and keeper.kinds == ["x.one", "x.two"]
    assert not log.bodies("plugin.failed"), "to be called off is no failure"
    assert log.cursor("hanging@p")["claimed_by"] is None, "the next dispatcher need not wait"


class Wild(BaseException):
    """What is no `Exception`."""


class Mute(Exception):
    """One that cannot say itself."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("raised", "problem"),
    [
        (SystemExit(3), "RuntimeError: it called sys.exit"),
        (KeyboardInterrupt(), "RuntimeError: it raised KeyboardInterrupt"),
        (Wild(), "RuntimeError: it raised Wild"),
        (Mute(), "Mute: <Mute that cannot be shown: ValueError>"),
        (OSError("caf\udce9.root"), "OSError: caf\\udce9.root"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_plugin_that_raises_odd_things_harms_nothing_but_itself(
    log: Log, raised: BaseException, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Odd:
        @hookimpl
        def bookkeeper_event(self, event: Any) -> None:
            raise raised

    lane = log.lane(Odd())
    log.record("x.one")
    settle(lane)
    assert log.bodies("plugin.failed")[0]["problem"] == problem
    assert capsys.readouterr().err == ""


# -- claims --------------------------------------------------------------------------------------------------------


def test_two_dispatchers_tell_every_event_once(log: Log) -> None:
    keeper = Keeper()
    plugins = Plugins()
    plugins.add("mine", keeper, "here")
    both = [Dispatcher(log.database, subscribers(plugins, (), "p")) for _ in range(2)]
    for one in both:
        one.start()
    for number in range(200):
        log.record("x.one", {"n": number})
    before = time.monotonic()
    assert [one.close(600) for one in both] == [[], []]
    assert time.monotonic() - before < 300, "all is told: there is nothing to wait for"
    assert sorted(event.body["n"] for event in keeper.told) == list(range(200))


def test_what_another_dispatcher_told_is_not_untold(log: Log) -> None:
    keeper = Keeper()
    first, second = log.lane(keeper), log.lane(keeper)
    assert second.step() is None
    log.record("x.one")
    assert second.behind()
    settle(first)
    assert not second.behind() and second.step() is None and keeper.kinds == ["x.one"]


def test_claim_of_a_foreign_host_runs_out(log: Log) -> None:
    lane = log.lane(Keeper(), patience=QUICK)
    log.record("x.one")
    dead = cursors_of.claim(log.database, "mine@p", "elsewhere/17/abc", 600)
    assert dead is not None
    assert lane.step() == 1.0, "claimed: look again in a second"
    with log.database.transaction() as tx:
        tx.run("UPDATE cursors SET claimed_until = claimed_until - 600")
    until(lambda: lane.step() is None, "the claim's end")
    with pytest.raises(cursors_of.Lost):
        dead.told(10**6)
        dead.renew()
    assert log.cursor()["event_id"] < 10**6, "who was silent too long writes nothing"


def test_claim_of_a_process_that_is_gone_is_void_at_once(log: Log) -> None:
    import socket
    import subprocess
    import sys

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    keeper = Keeper()
    lane = log.lane(keeper)
    log.record("x.one")
    cursors_of.claim(log.database, "mine@p", f"{socket.gethostname()}/{gone.pid}/abc", 600)
    settle(lane)
    assert keeper.kinds == ["x.one"]


# -- second opinions and amendments --------------------------------------------------------------------------------


class Doctor:
    """Knows better what failures are, and what to do."""

    def __init__(self, opinion: Any = None, amendment: Any = None) -> None:
        self.opinion, self.amendment = opinion, amendment
        self.failures: list[Failure] = []
        self.decisions: list[Decision] = []

    @hookimpl
    def bookkeeper_classify(self, failure: Failure) -> Any:
        self.failures.append(failure)
        return self.opinion

    @hookimpl
    def bookkeeper_decide(self, failure: Failure, decision: Decision) -> Any:
        self.decisions.append(decision)
        return self.amendment


def fail(log: Log, reason: str = "exit code 1: RuntimeError: bad basket") -> int:
    process = log.project.start_process(files_per_process=2, node="n1")
    for file in process.next_files():
        file.opened()
    process.roll_back(reason)
    return process.id


def test_second_opinion_is_recorded_and_counts(log: Log) -> None:
    doctor = Doctor({"category": "corrupted_input", "rule": "our-rule", "remedy": "copy it again"})
    lane = log.lane(doctor)
    process = fail(log)
    settle(lane)
    (failure,) = doctor.failures
    assert (failure.project, failure.process_id, failure.node, failure.by) == ("p", process, "n1", "rules")
    assert len(failure.files) == 2 and "bad basket" in failure.message and failure.body["fingerprint"]
    assert [body["by"] for body in log.bodies("failure.classified")] == ["rules", "plugin:mine"]
    (row,) = log.catalog.sql("SELECT category, rule, remedy, by FROM failures WHERE process_id = ?", (process,))
    assert row == {"category": "corrupted_input", "rule": "our-rule", "remedy": "copy it again", "by": "plugin:mine"}


def test_explanation_is_taken_as_it_is(log: Log) -> None:
    doctor = Doctor(Explanation(FailureCategory.EXECUTOR, "drained", "node drained", "message", 0.9, "wait"))
    lane = log.lane(doctor)
    fail(log)
    settle(lane)
    newest = log.bodies("failure.classified")[-1]
    assert (newest["category"], newest["rule"], newest["evidence"]) == ("executor", "drained", "node drained")


def test_opinion_that_is_none_is_a_failure_of_the_plugin(log: Log) -> None:
    lane = log.lane(Doctor({"category": "bad luck"}))
    fail(log)
    settle(lane)
    assert "has no known category; allowed: transient_io, executor" in log.bodies("plugin.failed")[0]["problem"]


@pytest.mark.parametrize("confidence", [float("nan"), float("inf"), 2, -1, "sure", True])
def test_confidence_that_is_none_is_a_failure_of_the_plugin(log: Log, confidence: Any) -> None:
    lane = log.lane(Doctor({"category": "executor", "confidence": confidence}))
    fail(log)
    settle(lane)
    assert "must be a number from 0 to 1" in log.bodies("plugin.failed")[0]["problem"]
    assert [body["by"] for body in log.bodies("failure.classified")] == ["rules"]


def test_no_opinion_changes_nothing(log: Log) -> None:
    doctor = Doctor()
    lane = log.lane(doctor)
    fail(log)
    settle(lane)
    assert len(doctor.failures) == len(doctor.decisions) == 1
    assert len(log.bodies("failure.classified")) == 1 and not log.bodies("plugin.decided")


@pytest.mark.parametrize(
    "amendment", [Park("it is known to be bad"), HoldBack(600, "the tape is slow"), Pause("wait for me")]
)
def test_amendments_are_carried_out_and_recorded(log: Log, amendment: Any) -> None:
    lane = log.lane(Doctor(amendment=amendment))
    fail(log)
    settle(lane)
    status = log.project.status()
    (body,) = log.bodies("plugin.decided")
    assert body["by"] == "plugin:mine" and body["reason"] == amendment.reason and body["problem"] is None
    if isinstance(amendment, Park):
        assert status.parked == 2 and len(body["files"]) == 2
        rows = log.catalog.sql("SELECT reason FROM uncommitted WHERE state = 'parked'")
        assert {row["reason"] for row in rows} == {"plugin:mine: it is known to be bad"}
    elif isinstance(amendment, HoldBack):
        assert status.delayed == 2 and status.next_at is not None and status.next_at > time.time() + 500
    else:
        assert status.open_state == "paused" and status.pause_reason == "plugin:mine: wait for me"


def test_amendment_that_comes_too_late_is_recorded_and_does_no_harm(log: Log) -> None:
    lane = log.lane(Doctor(amendment=Park("too late")))
    fail(log)
    taken = [log.project.start_process(files_per_process=6) for _ in range(2)]
    while sum(len(process.next_files()) for process in taken):
        pass
    settle(lane)
    assert [body["problem"] for body in log.bodies("plugin.decided")] == ["none of the files is available any more"]
    assert not log.bodies("plugin.failed") and log.project.status().parked == 0


def test_answer_that_is_no_amendment_is_a_failure_of_the_plugin(log: Log) -> None:
    lane = log.lane(Doctor(amendment="park"))
    fail(log)
    settle(lane)
    assert "must return HoldBack, Park, Pause or None, not 'park'" in log.bodies("plugin.failed")[0]["problem"]


@pytest.mark.parametrize(
    "wrong", [lambda: Park(" "), lambda: Pause(""), lambda: HoldBack(-1), lambda: HoldBack(float("inf"))]
)
def test_amendments_say_what_they_must(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()


def test_done_twice_an_opinion_changes_nothing_but_the_record(log: Log) -> None:
    process = fail(log)
    explanation = Explanation(FailureCategory.UNKNOWN, "r", "", "none", 1.0, "")
    for _ in range(2):
        with log.database.transaction() as tx:
            retries.reclassified(tx, process, explanation, by="plugin:mine")
    assert len(log.catalog.sql("SELECT 1 FROM failures")) == 1


# -- loading -------------------------------------------------------------------------------------------------------


def test_names_of_plugins_are_taken_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "from bookkeeper.plugins import hookimpl\n@hookimpl\ndef bookkeeper_event(event): pass\n"
    )
    with pytest.raises(UsageError, match="there is a plug-in a already"):
        load([str(tmp_path / "a.py"), str(tmp_path / "a.py")])


def test_installed_plugins_are_found_and_a_broken_one_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "ours-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bookkeeper.plugins]\nworks = ours_works\nbroken = ours_broken\n")
    (tmp_path / "ours_works.py").write_text(
        "from bookkeeper.plugins import hookimpl\n@hookimpl\ndef bookkeeper_validators(): return {'v': print}\n"
    )
    (tmp_path / "ours_broken.py").write_text("import there_is_no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = load()
    (plugin,) = plugins
    assert (plugin.name, plugin.installed, plugin.hooks) == ("works", True, ("bookkeeper_validators",))
    assert plugin.source == "ours (ours_works)" and list(plugins.validators()) == ["v"]
    assert plugins.broken == {"broken": "ModuleNotFoundError: No module named 'there_is_no_such_module'"}
    assert subscribers(plugins) == []


def test_nothing_to_tell_needs_no_cursor(log: Log) -> None:
    subscribe(log.database, [])
    assert log.catalog.sql("SELECT count(*) AS n FROM cursors") == [{"n": 0}]
