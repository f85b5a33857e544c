"""What `submit` says while it starts nothing: until when, why, and what to type."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bookkeeper import projects
from bookkeeper.watching.waiting import deliverable, waiting
from bookkeeper_cli.render.screen import summary
from listening import Log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.catalog.close()


def test_nothing_is_waited_for_while_files_can_be_delivered(log: Log) -> None:
    now = projects.status(log.database, "p")
    assert deliverable(now) == 6 and waiting(log.database, now) == ""
    projects.hold_back(log.database, "p", ["zmumu-1.root"], 60, "the tape is slow")
    now = projects.status(log.database, "p")
    assert deliverable(now) == 5 and waiting(log.database, now) == ""


def test_files_that_are_held_back_are_waited_for(log: Log) -> None:
    names = [row["name"] for row in log.catalog.sql("SELECT name FROM files")]
    projects.hold_back(log.database, "p", names, 60, "the tape is slow")
    now = projects.status(log.database, "p")
    assert deliverable(now) == 0 and now.next_at is not None
    until = time.strftime("%H:%M:%S", time.localtime(now.next_at))
    assert until in waiting(log.database, now) and "6 files wait for their next try at" in waiting(log.database, now)


def test_a_pause_says_what_to_type(log: Log) -> None:
    log.project.pause("3 failures in a row: no setup")
    now = projects.status(log.database, "p")
    assert deliverable(now) == 0
    assert waiting(log.database, now) == (
        "paused: 3 failures in a row: no setup; when mended: `bookkeeper project resume p`"
    )


def test_a_rest_says_until_when_and_why(log: Log) -> None:
    until = time.time() + 600
    log.record("project.rested", {"until": until, "seconds": 600, "reason": "EOS does not answer"})
    now = replace(projects.status(log.database, "p"), rest_until=until)
    assert deliverable(now) == 0
    said = waiting(log.database, now)
    assert said.startswith("resting until ") and said.endswith(": EOS does not answer")


def test_the_line_of_a_pipe_says_it_too(log: Log) -> None:
    view = {**projects.status(log.database, "p").as_dict(), "waiting": "resting until 14:05:00: no space"}
    assert summary(view) == "0 of 6 files committed, 6 available; resting until 14:05:00: no space"
