"""What looks at a process tree add up to, of processes that are made up."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bookkeeper.performance import procfs
from bookkeeper.performance.account import Account, Seen
from bookkeeper.performance.procfs import ProcWalk

linux = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc is Linux's")


def account(*looks: dict[int, Seen], inclusive: bool = True) -> Account:
    made = Account(inclusive=inclusive)
    for look in looks:
        made.take(look)
    return made


def one(parent: int, amount: int) -> Seen:
    return Seen(parent, amount, float(amount), amount, amount)


def test_account_of_the_dead_lives_on_once() -> None:
    """1 waits for 2, which waited for 3; 4 was handed to somebody else."""
    before = {1: one(0, 10), 2: one(1, 20), 3: one(2, 30), 4: one(99, 40)}
    made = account(before, {1: one(0, 65)})
    assert (made.peak_rss, made.cpu_s, made.read, made.written) == (100, 105.0, 105, 105)


def test_account_where_parents_take_over_nothing() -> None:
    made = account({1: one(0, 10), 2: one(1, 20)}, {1: one(0, 15)}, inclusive=False)
    assert (made.cpu_s, made.read) == (35.0, 35)


def test_account_never_shrinks_and_knows_what_it_does_not_know() -> None:
    made = account({1: one(0, 50), 2: one(1, 20)}, {1: one(0, 50)}, {})
    assert (made.peak_rss, made.cpu_s, made.looks) == (70, 70.0, 2)
    silent = account({1: Seen(0, 0, 0.5)})
    assert (silent.peak_rss, silent.cpu_s, silent.read, silent.written) == (None, 0.5, None, None)


# -- a /proc of our own ------------------------------------------------------------------------------------------------

LINE = "{} (a) b (c)) S {} 7 7 0 -1 0 0 0 0 0 100 50 25 {} 20 0 1 0 {} 1000 {} 0 0"
PAGE, TICK = os.sysconf("SC_PAGESIZE"), os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A `/proc` of our own with process 7 and its child 8, each of which used 200 ticks; nothing is kept open."""
    monkeypatch.setattr(procfs, "PROC", str(tmp_path))
    monkeypatch.setattr(procfs, "KEPT", 0)
    (tmp_path / "7" / "task" / "7").mkdir(parents=True)
    (tmp_path / "7" / "task" / "7" / "children").write_text("8 ")
    (tmp_path / "8").mkdir()
    (tmp_path / "7" / "stat").write_text(LINE.format(7, 1, 25, 500, 10))
    (tmp_path / "8" / "stat").write_text(LINE.format(8, 7, 25, 600, 20))
    return tmp_path


@linux
def test_another_process_with_the_same_number_is_not_taken_for_it(proc: Path) -> None:
    """Only the time at which a process began tells them apart."""
    walk = ProcWalk(7)
    assert walk.look(thorough=True) == {7: Seen(1, 10 * PAGE, 200 / TICK), 8: Seen(7, 20 * PAGE, 200 / TICK)}
    (proc / "8" / "stat").write_text(LINE.format(8, 1, 25, 900, 9999))
    (proc / "7" / "task" / "7" / "children").write_text("")
    assert list(walk.look(thorough=False)) == [7]
    walk.close()


@linux
@pytest.mark.parametrize(("reader", "ticks"), [(1, 200), (7, 400)], ids=["after the parent", "after the child"])
def test_child_that_ends_in_the_middle_of_a_look_is_not_counted_twice(
    proc: Path, monkeypatch: pytest.MonkeyPatch, reader: int, ticks: int
) -> None:
    """It ends when the parent was read, or when it was: what it used is its parent's then."""
    walk = ProcWalk(7)
    before, look = walk.look(thorough=False), procfs._Member.look

    def then_end(member: procfs._Member, *, io: bool) -> Seen | None:
        now = look(member, io=io)
        if now is not None and now.parent == reader:
            (proc / "8" / "stat").unlink(missing_ok=True)
            (proc / "7" / "stat").write_text(LINE.format(7, 1, 225, 500, 10))
        return now

    monkeypatch.setattr(procfs._Member, "look", then_end)
    seen = walk.look(thorough=False)
    assert sum(one.cpu_s for one in seen.values()) == ticks / TICK
    assert account(before, seen, walk.look(thorough=False)).cpu_s == 400 / TICK
    walk.close()
