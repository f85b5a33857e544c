"""`bookkeeper plugin`: list, run, test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import ok, run
from postbox import Postbox, postbox
from toys import make_zmumu

SPEC = """
[project]
name = "mass"
files = ["data/*.root"]
[job]
command = ["true"]
[output]
name = "m-{process}.root"
destination = "out"
[plugins]
modules = ["mine.py"]
[[notify]]
on = ["ended"]
url_env = "CHAT"
"""

PLUGIN = """
import os
from bookkeeper.plugins import hookimpl

@hookimpl
def bookkeeper_event(event):
    if os.environ.get("BROKEN") == event.kind:
        raise ValueError("it is broken")
    with open("told", "a") as file:
        print(event.kind, file=file)
"""


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: Postbox) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAT", box.url)
    (tmp_path / "data").mkdir()
    make_zmumu(tmp_path / "data")
    (tmp_path / "spec.toml").write_text(SPEC)
    (tmp_path / "mine.py").write_text(PLUGIN)
    ok("init")
    ok("file", "declare", "data")
    ok("dataset", "define", "all", "--names", "*")
    ok("project", "start", "mass", "--dataset", "all")
    return tmp_path


def test_run_tells_what_was_not_told(folder: Path, box: Postbox) -> None:
    said = ok("plugin", "run", "spec.toml")
    assert said.out == "mine@mass, notify:CHAT@mass: told everything\n" and not (folder / "told").exists()
    ok("project", "pause", "mass", "--reason", "lunch")
    ok("project", "end", "mass")
    assert ok("plugin", "run", "spec.toml", "--json").json == {"told": ["mine@mass", "notify:CHAT@mass"], "untold": []}
    assert "project.ended" in (folder / "told").read_text().splitlines()
    assert len(box.posts) == 1 and "project mass has ended" in box.posts[0]["title"]


def test_run_from_the_beginning(folder: Path) -> None:
    ok("plugin", "run", "spec.toml", "--from-beginning")
    assert "project.started" in (folder / "told").read_text()


def test_list_says_where_from_how_far_and_what_failed(
    folder: Path, box: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ok("plugin", "list", "spec.toml", "--json").json
    assert [row["cursor"] for row in before] == [None, None], "never run"
    ok("plugin", "run", "spec.toml")
    box.answer = 500
    monkeypatch.setattr("bookkeeper_cli.plugin.LONGEST", 0.0)
    ok("project", "end", "mass")
    failed = run("plugin", "run", "spec.toml")
    assert failed.code == 1 and "notify:CHAT@mass could not be told everything" in failed.err
    mine, chat = ok("plugin", "list", "spec.toml", "--json").json
    assert (
        mine["source"] == str(folder / "mine.py") and mine["hooks"] == ["bookkeeper_event"] and mine["failure"] is None
    )
    assert (chat["source"], chat["hooks"], chat["behind"], chat["attempts"]) == ("json://…", ["ended"], 1, 1)
    assert chat["failure"] == "NotSent: json://… answered 500"
    shown = ok("plugin", "list", "spec.toml").out
    assert "notify:CHAT@mass" in shown and "json://…" in shown and "hunter2" not in shown
    assert [row["name"] for row in ok("plugin", "list", "--json").json] == ["mine@mass", "notify:CHAT@mass"]


def test_list_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no plug-in is installed" in ok("plugin", "list").out
    assert ok("plugin", "run").out == "there is nobody to tell\n"


def test_test_says_what_each_target_answered(folder: Path, box: Postbox) -> None:
    (folder / "spec.toml").write_text(SPEC + '[[notify]]\non = ["parked"]\nurl_env = "NOT_SET"\n')
    ran = run("plugin", "test", "spec.toml")
    assert ran.code == 1 and "1 of 2 targets did not take the message" in ran.err
    assert "CHAT: json://… took the message" in ran.out and "NOT_SET: the variable NOT_SET is not set" in ran.out
    assert "a test for project mass" in box.posts[0]["title"]
    box.answer = 403
    rows = run("plugin", "test", "spec.toml", "--json").json
    assert [row["problem"].split(",")[0] for row in rows] == [
        "json://… answered 403",
        "the variable NOT_SET is not set",
    ]
    assert "hunter2" not in ran.out + ran.err + str(rows)


def test_test_needs_targets(folder: Path) -> None:
    (folder / "spec.toml").write_text(SPEC.split("[[notify]]")[0])
    ran = run("plugin", "test", "spec.toml")
    assert ran.code == 2 and "spec.toml has no [[notify]]" in ran.err


def test_dry_run_warns_of_what_is_not_reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT")
    assert "warning    notification CHAT: the variable CHAT is not set" in ok("submit", "--dry-run", "spec.toml").out


def test_module_that_cannot_be_imported_is_told_with_its_line(folder: Path) -> None:
    (folder / "mine.py").write_text("\nimport there_is_no_such_module\n")
    for words in (("plugin", "list"), ("plugin", "run"), ("submit", "--dry-run")):
        ran = run(*words, "spec.toml")
        assert ran.code == 2 and "Traceback" not in ran.err
        assert "spec.toml:11: plugins.modules[1]: " in ran.err and "line 2: ModuleNotFoundError" in ran.err
