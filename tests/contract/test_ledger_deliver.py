"""next_files and mark: who gets what, in which groups, and what an empty answer says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bookkeeper.errors import BookkeeperError, NotAllowed, NotFound, UsageError
from bookkeeper.protocol import FileMark, Mark, Status
from ledgers import World, marks

Make = Callable[..., World]


def test_files_come_in_order_and_are_held(world: World) -> None:
    job = world.start()
    answer = job.ask(3)
    assert answer.status is Status.FILES
    assert [info.name for info in answer.files] == ["f000", "f001", "f002"] == world.files("held")
    assert (answer.files[1].size, answer.files[1].entries, answer.files[1].locations) == (20, 2, ("/in/1",))


def test_the_same_number_again_gets_the_same_list_and_takes_nothing(world: World) -> None:
    job = world.start()
    first, second = job.ask(2), job.ask(1)
    before = world.dump()
    assert job.ask(2, seq=1) == first
    assert job.ask(100, seq=2) == second
    assert world.dump() == before
    assert job.take() == ["f003"]


def test_the_same_list_comes_in_the_same_order(world: World) -> None:
    world.start().crash(1)
    job = world.start()
    answer = job.ask()
    assert [info.name for info in answer.files] == ["f001", "f002", "f003", "f000"]
    assert job.ask(seq=1) == answer
    assert [info for info, _ in world.ledger.deliveries_of(job.key)] == list(answer.files)


def test_a_call_that_was_answered_empty_takes_nothing_when_it_arrives_again_late(world: World) -> None:
    job, other = world.start(), world.start()
    other.take()
    assert job.ask(seq=1).status is Status.NONE_NOW
    other.roll_back("gives back")
    assert job.ask(seq=1).files == ()
    assert len(job.ask(2, seq=2).files) == 2
    before = world.dump()
    assert job.ask(2, seq=1).files == ()
    assert world.dump() == before


def test_a_call_overtaken_by_a_later_one_takes_nothing(world: World) -> None:
    job = world.start()
    taken = job.ask(2, seq=2)
    assert job.ask(2, seq=1).files == ()
    assert job.ask(2, seq=2) == taken
    assert len(world.files("held")) == 2


def test_a_late_call_frees_what_expired_and_takes_it_in_one_go(world: World) -> None:
    job, silent = world.start(), world.start()
    silent.take()
    world.late(silent)
    assert job.take() == ["f000", "f001", "f002", "f003"]
    assert world.state(silent) == "rolled_back"


def test_full_is_said_when_the_process_has_all_it_may_have(world: World) -> None:
    job = world.start(files_per_process=3)
    assert len(job.take(2)) == 2
    assert len(job.take(2)) == 1
    assert job.ask().status is Status.FULL


def test_none_now_is_said_while_another_holds_and_exhausted_when_none_does(world: World) -> None:
    job, other = world.start(), world.start()
    other.take()
    answer = job.ask()
    assert (answer.files, answer.status, answer.project_state) == ((), Status.NONE_NOW, "open")
    assert other.ask().status is Status.EXHAUSTED  # nobody else holds any
    other.commit()
    assert job.ask().status is Status.EXHAUSTED


def test_parked_files_are_neither_available_nor_held(world: World) -> None:
    world.catalog.project("p").park([f"f{n:03d}" for n in range(4)], "bad run")
    assert world.start().ask().status is Status.EXHAUSTED


def test_nothing_is_delivered_while_paused_and_after_the_end(world: World) -> None:
    job = world.start()
    job.ask(1)
    world.catalog.project("p").pause("look")
    answer = job.ask()
    assert (answer.files, answer.status, answer.project_state) == ((), Status.NONE_NOW, "paused")
    assert len(job.ask(seq=1).files) == 1
    assert world.catalog.project("p").resume()
    assert len(job.take(1)) == 1
    world.end()
    answer = job.ask()
    assert (answer.files, answer.status, answer.project_state) == ((), Status.EXHAUSTED, "ended")
    assert len(job.ask(seq=1).files) == 1


def test_a_process_of_an_ended_project_gets_nothing_of_the_recovery(world: World) -> None:
    job = world.start()
    world.recover()
    assert job.ask().files == ()
    assert len(world.start("p-recovery-1").take()) == 4


def test_calls_and_files_are_counted_from_one(world: World) -> None:
    job = world.start()
    for seq, limit in ((0, 1), (-1, 1), (1, 0), (1, -5)):
        with pytest.raises(UsageError):
            world.ledger.next_files(job.key, seq, limit)


def test_what_is_done_is_recorded_with_the_call_and_again_with_its_repetition(world: World) -> None:
    job = world.start()
    job.take(1)
    done = [FileMark(job.ids["f000"], Mark.CONSUMED, entries=1, bytes=10)]
    answer = job.ask(1, done, seq=2)
    assert job.ask(1, done, seq=2) == answer
    assert world.ledger.deliveries_of(job.key)[0][1] == done[0]


def test_marks_go_forward_only_and_repeated_or_overtaken_ones_change_nothing(world: World) -> None:
    job = world.start()
    job.take(3)
    job.mark(Mark.CONSUMED, "f000", entries=7)
    job.mark(Mark.SKIPPED, "f001", reason="not needed")
    before = world.dump()
    job.mark(Mark.OPENED, "f000", "f001")
    job.mark(Mark.CONSUMED, "f000", entries=99)
    job.mark(Mark.SKIPPED, "f001", reason="other words")
    assert world.dump() == before


@pytest.mark.parametrize(
    ("first", "then"),
    [(Mark.CONSUMED, Mark.SKIPPED), (Mark.CONSUMED, Mark.FAILED), (Mark.SKIPPED, Mark.CONSUMED), (Mark.FAILED, Mark.SKIPPED),
     (Mark.FAILED, Mark.CONSUMED), (Mark.SKIPPED, Mark.FAILED)],
)  # fmt: skip
def test_a_mark_that_contradicts_an_earlier_one_is_refused_whole(world: World, first: Mark, then: Mark) -> None:
    job = world.start()
    job.take(2)
    job.mark(first, "f000", reason="because")
    before = world.dump()
    with pytest.raises(NotAllowed, match="f000"):
        world.ledger.mark(job.key, [*marks(job, Mark.OPENED, ["f001"]), *marks(job, then, ["f000"])])
    assert world.dump() == before


def test_only_files_that_were_given_are_marked(world: World) -> None:
    job = world.start()
    job.take(1)
    with pytest.raises(NotFound):
        world.ledger.mark(job.key, [FileMark(world.id_of("f001"), Mark.OPENED)])
    with pytest.raises(UsageError, match="manifest only"):
        job.mark(Mark.UNREAD)


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
def test_a_number_that_no_file_has_is_an_error_of_ours(world: World, number: int) -> None:
    job = world.start()
    job.take(1)
    before = world.dump()
    for more in ({"entries": number}, {"bytes": number}):
        with pytest.raises(BookkeeperError):
            job.mark(Mark.CONSUMED, **more)
    assert world.dump() == before


def test_skipped_and_failed_files_never_come_back_to_the_same_process(world: World) -> None:
    job = world.start()
    job.take(2)
    job.mark(Mark.SKIPPED, "f000", reason="no")
    job.mark(Mark.FAILED, "f001", reason="no")
    assert job.take() == ["f002", "f003"]
    assert job.ask().status is Status.EXHAUSTED
    job.ledger.commit(job.key, job.manifest(job.output(), f000=Mark.SKIPPED, f001=Mark.FAILED))
    assert world.start().take() == ["f000", "f001"]


def test_a_file_that_changed_or_was_retired_is_parked_before_it_is_given(world: World) -> None:
    from bookkeeper import files

    world.change_file("f001")
    files.retire(world.database, ["f003"], "bad calibration")
    assert world.start().take() == ["f000", "f002"]
    assert world.files("parked") == ["f001", "f003"]
    assert "changed since the snapshot" in world.reason("f001")
    assert "retired since the snapshot" in world.reason("f003")
    assert world.attempts("f001") == (0, 0)


def test_a_request_of_stale_files_only_is_exhausted(world: World) -> None:
    for n in range(4):
        world.change_file(f"f{n:03d}")
    assert world.start().ask().status is Status.EXHAUSTED
    assert world.recover() is None
