"""Notifications: what is told, where to, and that no secret is kept or shown."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.errors import UsageError
from bookkeeper.plugins import Notify, Patience, Plugins, hookimpl
from bookkeeper.plugins.notify import OCCASIONS, Target, targets
from bookkeeper.plugins.notify.targets import NotSent
from listening import QUICK, Log
from postbox import Postbox, postbox
from workbench import until

SECRETS = ("hunter2", "s3cret-path", "me:")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.stop.set()
    made.catalog.close()


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as made:
        yield made


def everything_in(log: Log) -> str:
    """All that the catalog says, in any of its files."""
    return "".join(path.read_bytes().decode("latin-1") for path in log.folder.glob("catalog.db*") if path.is_file())


def settle(lane: Any) -> None:
    until(lambda: lane.step(flush=True) is None, "the end of the log")


def test_every_occasion_says_what_happened_why_and_what_to_type(log: Log, box: Postbox) -> None:
    lane = log.target(Notify(on=OCCASIONS, url=box.url))
    log.record("project.completed")
    log.record("files.parked", {"count": 3, "reason": "corrupted_input: truncated"})
    log.record("project.paused", {"reason": "3 failures in a row: no setup", "brake": True})
    log.record("project.rested", {"until": time.time() + 600, "seconds": 600, "reason": "EOS does not answer"})
    log.record(
        "node.excluded", {"node": "n7", "until": time.time() + 3600, "reason": "3 failures", "by": "rules"}, None
    )
    log.record("project.ended")
    log.record(
        "plugin.failed",
        {"plugin": "other@p", "event": 5, "kind": "x", "problem": "bad", "attempt": 5, "given_up": True},
    )
    settle(lane)
    complete, parked, braked, rested, excluded, ended, plugin = box.texts
    assert "project p is complete" in complete and "bookkeeper outputs p --paths" in complete
    assert "0 of 6 files committed, 6 available" in complete
    assert "3 files of project p are parked" in parked and "3 files: corrupted_input: truncated" in parked
    assert "bookkeeper failures p" in parked and "bookkeeper project unpark p --all" in parked
    assert "project p was paused" in braked and "3 failures in a row: no setup" in braked
    assert "bookkeeper project resume p" in braked
    assert "project p rests until" in rested and "EOS does not answer" in rested
    assert "node n7 is excluded until" in excluded and "bookkeeper node admit n7" in excluded
    assert "project p has ended" in ended and "bookkeeper recover p" in ended
    assert "plug-in other@p failed" in plugin and "bookkeeper plugin list" in plugin


def test_only_the_occasions_asked_for_are_told(log: Log, box: Postbox) -> None:
    lane = log.target(Notify(on=("complete",), url=box.url, title="ours"))
    log.record("project.paused", {"reason": "by hand"})
    log.record("files.parked", {"count": 1, "reason": "r"})
    log.record("project.completed")
    settle(lane)
    assert [post["title"] for post in box.posts] == ["ours"]


def test_a_pause_by_hand_is_no_brake(log: Log, box: Postbox) -> None:
    lane = log.target(Notify(on=("braked",), url=box.url))
    log.project.pause("lunch")
    settle(lane)
    assert not box.posts


def test_parked_files_make_one_message(log: Log, box: Postbox) -> None:
    lane = log.target(Notify(on=("parked", "complete"), url=box.url), patience=replace(QUICK, gather=3600))
    for number in range(40):
        log.record("file.parked", {"file": f"f{number}", "reason": f"reason {number % 7}"})
        log.record("x.between")
    wait = lane.step()
    assert wait is not None and 3000 < wait <= 3600 and not box.posts, "more may come"
    log.record("files.parked", {"count": 10, "reason": "reason 0"})
    settle(lane)
    (text,) = box.texts
    assert "50 files of project p are parked" in text and "16 files: reason 0" in text and "and 2 more reasons" in text


def test_another_occasion_ends_the_gathering(log: Log, box: Postbox) -> None:
    lane = log.target(Notify(on=("parked", "complete"), url=box.url), patience=replace(QUICK, gather=3600))
    log.record("file.parked", {"file": "f", "reason": "bad"})
    assert lane.step() is not None and not box.posts
    log.record("project.completed")
    lane.step()
    assert [("parked" in text, "complete" in text) for text in box.texts] == [(True, False), (False, True)]


def test_target_that_fails_is_told_again_and_its_failure_has_no_secret(
    log: Log, box: Postbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    box.answer = 500
    lane = log.target(Notify(on=("complete",), url=box.url), patience=Patience(back_off=(0.01, 600)))
    log.record("project.completed")
    until(lambda: lane.step() and len(log.bodies("plugin.failed")) == 2, "two attempts")
    assert log.bodies("plugin.failed")[0]["problem"] == "NotSent: json://… answered 500"
    box.answer = 200
    later = log.target(Notify(on=("complete",), url=box.url))
    assert (later.step() or 0) > 60, "it waits for its next attempt"
    said = everything_in(log) + caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in said]
    assert [path for path in box.paths if "s3cret-path" in path], "it was there to be leaked"


def test_target_that_hangs_is_given_up_on_in_time(box: Postbox) -> None:
    box.hangs.set()
    target = Target("t", Notify(on=("complete",), url=f"{box.url}?rto=0.2"))
    with pytest.raises(NotSent, match=r"^json://… could not be reached, or did not answer in time$"):
        target.send("title", "body")


def test_target_that_is_not_there(box: Postbox) -> None:
    target = Target("t", Notify(on=("complete",), url="json://me:hunter2@127.0.0.1:9/s3cret-path"))
    with pytest.raises(NotSent, match=r"^json://… could not be reached"):
        target.send("title", "body")


def test_addresses_come_from_variables_and_files(box: Postbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", box.url)
    monkeypatch.setenv("WORD", "hunter2")
    (tmp_path / "secret").write_text(f"# our chat\n{box.url}\n")
    (tmp_path / "secret").chmod(0o600)
    tables = [
        Notify(("ended",), url_env="CHAT"),
        Notify(("ended",), url_file=str(tmp_path / "secret")),
        Notify(("ended",), url=box.url.replace("hunter2", "${WORD}")),
    ]
    for target in targets(tables, {}):
        assert target.shown == "json://…" and list(target.problems()) == []
        target.send("a", "b")
    assert len(box.posts) == 3


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        (Notify(("ended",), url_env="NOT_SET"), "the variable NOT_SET is not set"),
        (Notify(("ended",), url="json://${NOT_SET}/"), "the variable NOT_SET is not set"),
        (Notify(("ended",), url_file="nowhere"), "nowhere cannot be read: No such file"),
        (Notify(("ended",), url="hunter2://me:hunter2/x".replace("hunter2:", "nothing:")), "nothing://… is no address"),
        (Notify(("ended",), url="hunter 2"), "an address is no address"),
        (Notify(("ended",), url="hunter2-and-nothing-else"), "an address is no address"),
        (Notify(("ended",), url="slack://hunter2"), "slack://… is no address"),
    ],
)
def test_what_is_wrong_with_an_address_is_told_without_it(
    notify: Notify, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (target,) = targets([notify], {})
    assert "hunter2" not in target.name + target.shown
    (problem,) = target.problems()
    assert said in problem and "hunter2" not in problem + caplog.text
    with pytest.raises(UsageError) as caught:
        target.send("a", "b")
    assert said in str(caught.value) and "hunter2" not in f"{caught.value!r}{caught.value.remedy}"


def test_file_that_others_can_read_is_warned_of(tmp_path: Path, box: Postbox) -> None:
    (tmp_path / "secret").write_text(box.url)
    (tmp_path / "secret").chmod(0o644)
    (problem,) = Target("t", Notify(("ended",), url_file=str(tmp_path / "secret"))).problems()
    assert "can be read by others" in problem and "chmod 600" in problem


def test_plugins_bring_targets(log: Log) -> None:
    told: list[tuple[str, str]] = []

    class Pager:
        @hookimpl
        def bookkeeper_notifiers(self) -> Any:
            return {"pager": lambda title, body: told.append((title, body))}

    for url in ("pager", "pager://anything"):
        plugins = Plugins()
        plugins.add("pager", Pager(), "here")
        lane = log.target(Notify(("complete",), url=url), plugins=plugins)
        log.record("project.completed")
        settle(lane)
    assert [title for title, _ in told] == ["bookkeeper: project p is complete"] * 2


def test_the_logs_of_others_go_on(caplog: pytest.LogCaptureFixture, box: Postbox) -> None:
    """Only the thread that sends is silenced, and only while it sends."""
    caplog.set_level(logging.DEBUG)
    Target("t", Notify(("ended",), url=box.url)).send("a", "b")
    logging.getLogger("apprise").warning("somebody else's word")
    assert caplog.messages == ["somebody else's word"]


def test_every_logger_below_apprise_is_silenced(box: Postbox) -> None:
    """A filter of a logger does not hold for those below it: each has to be known."""
    Target("t", Notify(("ended",), url=box.url)).send("a", "b")
    roots = ("apprise", "requests", "urllib3")
    loaded = [name for name in logging.root.manager.loggerDict if name.startswith(tuple(f"{root}." for root in roots))]
    talking = {name for name in loaded if "log" in vars(sys.modules.get(name, logging))}
    assert talking and not [name for name in talking if not logging.getLogger(name).filters]
