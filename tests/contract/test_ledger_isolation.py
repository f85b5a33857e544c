"""Attempts, isolation by halving, parking; partitions whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bookkeeper.errors import NotAllowed, RolledBack
from bookkeeper.protocol import Fate, FileMark, Manifest, Mark, Status
from ledgers import World

Make = Callable[..., World]


def play(world: World, poison: set[str], rounds: int = 200) -> list[tuple[int, bool]]:
    """Process after process until nothing is left: how many files each had, and whether it failed."""
    sizes = []
    for _ in range(rounds):
        job = world.start()
        names = job.take()
        if not names:
            job.roll_back("nothing to do", counted=False)
            return sizes
        job.open()
        failed = not poison.isdisjoint(names)
        sizes.append((len(names), failed))
        if failed:
            job.roll_back("segmentation fault")
        else:
            job.commit()
    raise AssertionError("it never ends")


def test_one_poison_among_a_hundred_is_alone_in_the_end_and_parked(make: Make) -> None:
    world = make(100)
    sizes = play(world, {"f000"})
    # 100 fail; 50 of them fail, 50 are committed; then 25, 13, 7, 4, 2, 1: at each size the innocent rest commits too.
    assert [size for size, failed in sizes if failed] == [100, 50, 25, 13, 7, 4, 2, 1, 1, 1]
    assert [size for size, failed in sizes if not failed] == [50, 25, 12, 6, 3, 2, 1]
    assert world.files("parked") == ["f000"]
    assert world.attempts("f000") == (10, 3)
    assert world.reason("f000") == "parked after 10 attempts: segmentation fault"
    assert len(world.files("committed")) == 99
    assert world.project_state() == ("open", None)


@pytest.mark.parametrize("poison", [{"f050"}, {"f007", "f093"}, {"f010", "f011", "f012"}])
def test_poisons_are_parked_and_nothing_else(make: Make, poison: set[str]) -> None:
    world = make(100)
    play(world, poison)
    assert set(world.files("parked")) == poison
    assert len(world.files("committed")) == 100 - len(poison)
    assert all(world.attempts(name)[1] == 3 for name in poison)


def test_the_limit_holds_for_all_that_a_process_is_given_not_for_one_call(make: Make) -> None:
    world = make(8, files_per_process=8)
    world.start().crash()
    job = world.start()
    assert [len(job.take(1)) for _ in range(5)] == [1, 1, 1, 1, 0]
    assert job.ask().status is Status.FULL


def test_files_that_failed_less_come_first_and_no_group_grows_past_its_smallest_limit(make: Make) -> None:
    world = make(8, files_per_process=4)
    assert world.start().crash() == ["f000", "f001", "f002", "f003"]
    job = world.start()
    assert job.take(3) == ["f004", "f005", "f006"]
    assert job.take() == ["f007"]
    assert job.ask().status is Status.FULL
    other = world.start()
    assert other.take() == ["f000", "f001"]


def test_a_process_does_not_mix_files_that_failed_into_a_group_already_too_large(make: Make) -> None:
    world = make(8, files_per_process=4)
    world.start().crash()
    job = world.start()
    assert job.take(3) == ["f004", "f005", "f006"]
    rest = world.start()
    assert rest.take(1) == ["f007"]
    answer = job.ask()  # what is left has failed once: at most two together
    assert (answer.files, answer.status) == ((), Status.FULL)
    assert rest.take() == ["f000"]


def test_only_opened_files_are_charged(world: World) -> None:
    job = world.start()
    job.take()
    job.open("f000")
    job.mark(Mark.FAILED, "f001", reason="truncated")
    job.roll_back()
    assert [world.attempts(f"f{n:03d}") for n in range(4)] == [(1, 0), (1, 0), (0, 0), (0, 0)]


def test_a_mark_in_the_last_words_counts_as_if_it_had_arrived(world: World) -> None:
    job = world.start()
    job.take(2)
    job.roll_back("crash", marks=[FileMark(job.ids["f000"], Mark.OPENED), FileMark(job.ids["f001"], Mark.UNREAD)])
    assert world.attempts("f000") == (1, 0)
    assert world.attempts("f001") == (0, 0)


@pytest.mark.parametrize("step", ["stage-executable", "output-storage"])
def test_steps_that_are_not_the_files_fault_charge_nothing(world: World, step: str) -> None:
    job = world.start()
    job.take()
    job.open()
    job.roll_back("disk full", step=step)
    assert world.attempts("f000") == (0, 0)


@pytest.mark.parametrize("step", ["analysis", "verification", None])
def test_other_steps_charge_what_was_opened(world: World, step: str | None) -> None:
    job = world.start()
    job.take()
    job.open()
    job.roll_back("crash", step=step)
    assert world.attempts("f000") == (1, 0)


def test_an_interruption_charges_nothing_and_is_no_failure(world: World) -> None:
    for _ in range(5):
        job = world.start()
        job.take()
        job.open()
        job.roll_back("Ctrl-C", counted=False)
    assert world.attempts("f000") == (0, 0)
    assert world.project_state() == ("open", None)


def test_a_lease_that_expired_is_a_setback_only_after_the_first_opened(world: World) -> None:
    job = world.start()
    job.take()
    world.late(job)
    world.catalog.expire()
    assert world.setbacks("f000") == 0
    job = world.start()
    job.take()
    job.open("f000")
    world.late(job)
    world.catalog.expire()
    assert [world.setbacks(f"f{n:03d}") for n in range(4)] == [1, 1, 1, 1]
    assert [world.attempts(f"f{n:03d}") for n in range(4)] == [(0, 0)] * 4


def test_failures_alone_park_and_failures_in_company_never_do(make: Make) -> None:
    world = make(2, files_per_process=2, max_attempts=2)
    world.change("UPDATE ledger SET attempts = 0")
    for _ in range(3):  # in company
        job = world.start()
        job.take()
        job.open()
        job.roll_back("it crashed", step=None)
        assert world.files("parked") == []
    assert world.attempts("f000")[0] + world.attempts("f001")[0] >= 3


def test_skipped_and_failed_files_of_a_commit_are_freed_and_charged_once(world: World) -> None:
    job = world.start()
    job.take()
    job.mark(Mark.FAILED, "f001", reason="broken basket")
    job.ledger.commit(job.key, job.manifest(job.output(), f001=Mark.FAILED, f002=Mark.SKIPPED))
    assert world.files("available") == ["f001", "f002"]
    assert (world.attempts("f001"), world.attempts("f002"), world.attempts("f000")) == ((1, 0), (1, 0), (0, 0))
    assert world.reason("f001").startswith("failed: ")
    assert world.reason("f002").startswith("skipped: ")


def test_a_file_that_fails_alone_in_commits_is_parked_too(make: Make) -> None:
    world = make(1)
    for _ in range(3):
        job = world.start()
        job.take()
        job.ledger.commit(job.key, job.manifest(no_output=True, f000=Mark.FAILED))
    assert world.files("parked") == ["f000"]
    assert world.reason("f000") == "parked after 3 attempts: failed: f000 is odd"


def test_unread_files_of_a_commit_are_free_without_charge(world: World) -> None:
    job = world.start()
    job.take()
    job.ledger.commit(job.key, job.manifest(job.output(), f003=Mark.UNREAD))
    assert world.files("available") == ["f003"]
    assert world.attempts("f003") == (0, 0)
    assert "left unread" in world.reason("f003")


def test_a_file_found_changed_is_parked_at_once(world: World) -> None:
    job = world.start()
    job.take()
    decided = [FileMark(id, Mark.CONSUMED) for name, id in job.ids.items() if name != "f002"]
    decided.append(FileMark(job.ids["f002"], Mark.FAILED, reason="12 bytes, 30 declared", changed=True))
    job.ledger.commit(job.key, Manifest(decided, [job.output()]))
    assert world.files("parked") == ["f002"]
    assert world.reason("f002") == "12 bytes, 30 declared"
    assert world.attempts("f002") == (1, 0)


# -- partitions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(make: Make) -> World:
    """Six files in three partitions."""
    return make(6, partition_by={"files": 2})


def test_a_partition_is_delivered_whole_and_one_a_process(parts: World) -> None:
    job = parts.start()
    answer = job.ask(1)
    assert ([info.name for info in answer.files], answer.partition) == (["f000", "f001"], 0)
    assert job.ask(100).status is Status.FULL
    assert job.ask(1, seq=1) == answer
    assert parts.start().take() == ["f002", "f003"]
    assert parts.start(partition=2).take() == ["f004", "f005"]


def test_a_partition_in_other_hands_is_not_given(parts: World) -> None:
    holder, asker = parts.start(partition=1), parts.start(partition=1)
    holder.take()
    assert asker.ask().status is Status.NONE_NOW
    holder.commit()
    assert asker.ask().status is Status.EXHAUSTED


def test_a_partition_is_committed_whole_or_not_at_all(parts: World) -> None:
    for verdict in (Mark.SKIPPED, Mark.FAILED, Mark.UNREAD):
        job = parts.start(partition=0)
        job.take()
        with pytest.raises(RolledBack, match="whole or not at all"):
            job.commit(f001=verdict)
        assert "f000" in parts.files("available")
        parts.catalog.project("p").resume()


def test_a_file_of_a_partition_is_neither_skipped_nor_failed_alone(parts: World) -> None:
    job = parts.start()
    job.take()
    for mark in (Mark.SKIPPED, Mark.FAILED):
        with pytest.raises(NotAllowed, match="whole partition"):
            job.mark(mark, "f000", reason="bad")


def test_a_partition_is_charged_and_parked_whole(parts: World) -> None:
    for attempt in range(1, 4):
        job = parts.start(partition=0)
        assert job.take() == ["f000", "f001"]
        job.open("f000")
        job.roll_back("crash")
        assert parts.attempts("f000") == parts.attempts("f001") == (attempt, attempt)
    assert parts.files("parked") == ["f000", "f001"]
    assert parts.start(partition=0).ask().status is Status.EXHAUSTED


def test_a_bad_file_leaves_its_partition_by_a_persons_act_only(parts: World) -> None:
    project = parts.catalog.project("p")
    project.park(["f001"], "unreadable")
    job = parts.start(partition=0)
    assert job.take() == ["f000"]
    job.commit()
    assert project.unpark(["f001"]) == 1
    late = parts.start()
    late.take()
    other = parts.start()
    assert [*late.ids, *other.take(), *parts.start().take()] == ["f002", "f003", "f004", "f005", "f001"]
    assert parts.value("SELECT max(partition_number) FROM ledger") == 3


def test_a_parked_partition_comes_back_whole(parts: World) -> None:
    for _ in range(3):
        job = parts.start(partition=0)
        job.take()
        job.open()
        job.roll_back("crash")
    assert parts.catalog.project("p").unpark(["f000"]) == 2
    assert parts.start(partition=0).take() == ["f000", "f001"]


def test_a_partition_with_a_stale_file_is_parked_whole(parts: World) -> None:
    parts.change_file("f003")
    assert parts.start().take() == ["f000", "f001"]
    assert parts.start().take() == ["f004", "f005"]
    assert parts.files("parked") == ["f002", "f003"]
    assert "f003" in parts.reason("f002")
    with pytest.raises(NotAllowed, match="f003 changed"):
        parts.catalog.project("p").unpark(["f002"])
    assert parts.catalog.project("p").unpark(["f002"], repin=True) == 2
    assert parts.start(partition=1).take() == ["f002", "f003"]


def test_a_file_found_changed_parks_its_whole_partition(parts: World) -> None:
    job = parts.start()
    job.take()
    changed = FileMark(job.ids["f001"], Mark.FAILED, reason="9 bytes, 20 declared", changed=True)
    assert job.roll_back("changed input", marks=[changed]) is Fate.ROLLED_BACK
    assert parts.files("parked") == ["f000", "f001"]
    assert "f001 in its partition" in parts.reason("f000")
