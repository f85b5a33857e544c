"""`demo` at the command line; what it shows is tested with the demonstration itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from commandline import run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_demo_touches_no_folder_that_is_there(here: Path) -> None:
    (here / "bookkeeper-demo").mkdir()
    (here / "bookkeeper-demo" / "mine.txt").touch()
    ran = run("demo")
    assert (ran.code, "--folder DIR" in ran.err) == (4, True)
    assert run("demo", "--folder", "no/where").code == 1


def test_demo_needs_the_data_that_it_is_told_of() -> None:
    assert run("demo", "--data", "nowhere").code == 3
    assert run("demo", "--seed", "x").code == 2
