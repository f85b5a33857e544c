"""pause, end, recover, park, unpark, reopen: what operators do while jobs are at work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bookkeeper.errors import Fenced, NotAllowed, NotFound
from bookkeeper.protocol import Fate, Mark, Status
from ledgers import Job, World

Make = Callable[..., World]


def shares(world: World) -> dict[str, tuple[int, int]]:
    """Files and committed files of every project."""
    return {row[0]: (row[1], row[2]) for row in world.database.table("SELECT name, files, committed FROM projects")[1]}


def holder(world: World, n: int, project: str = "p") -> Job:
    job = world.start(project)
    assert len(job.take(n)) == n
    return job


# -- end ---------------------------------------------------------------------------------------------------------------


def test_an_end_without_fence_lets_what_runs_commit(world: World) -> None:
    job = holder(world, 2)
    assert world.end() == 0
    job.commit()
    assert shares(world) == {"p": (4, 2)}
    assert world.end() == 0  # a repeated end is a good answer


def test_an_end_with_fence_rolls_back_what_runs_and_charges_nothing(world: World) -> None:
    job, staged = holder(world, 2), holder(world, 1)
    job.open()
    staged.stage()
    assert world.end(fence=True) == 2
    for one in (job, staged):
        with pytest.raises(Fenced, match="fence"):
            one.commit()
    assert world.attempts("f000") == (0, 0)
    assert world.project_state() == ("ended", None)


def test_a_later_end_with_fence_fences(world: World) -> None:
    job = holder(world, 2)
    world.end()
    assert world.end(fence=True) == 1
    assert world.ledger.fate(job.key) is Fate.ROLLED_BACK
    assert world.end(fence=True) == 0


def test_pause_and_resume(world: World) -> None:
    job = holder(world, 2)
    project = world.catalog.project("p")
    project.pause("one")
    project.pause("two")
    assert world.project_state() == ("paused", "two")
    job.commit()  # what runs may commit
    assert project.resume() is True
    assert project.resume() is False
    world.end()
    for act in (project.resume, lambda: project.pause("three")):
        with pytest.raises(NotAllowed, match="ended"):
            act()


# -- recover -----------------------------------------------------------------------------------------------------------


def test_recovery_takes_the_free_files_and_leaves_what_is_held(world: World) -> None:
    done, job = holder(world, 1), holder(world, 1)
    done.commit()
    assert world.recover() == "p-recovery-1"
    assert shares(world) == {"p": (2, 1), "p-recovery-1": (2, 0)}
    assert world.start("p-recovery-1").take() == ["f002", "f003"]
    assert world.files("held") == ["f001", "f002", "f003"]
    job.commit()
    assert shares(world) == {"p": (2, 2), "p-recovery-1": (2, 0)}


@pytest.mark.parametrize("how", ["rolled back", "expired", "unread", "skipped"])
def test_held_files_come_to_the_recovery_when_they_are_given_back(world: World, how: str) -> None:
    job = holder(world, 4)
    world.recover()
    assert shares(world) == {"p": (4, 0), "p-recovery-1": (0, 0)}
    heir = world.start("p-recovery-1")
    assert heir.ask().status is Status.NONE_NOW
    if how == "rolled back":
        job.roll_back()
    elif how == "expired":
        world.late(job)
    else:
        verdict = Mark.UNREAD if how == "unread" else Mark.SKIPPED
        job.ledger.commit(job.key, job.manifest(no_output=True, **dict.fromkeys(job.ids, verdict)))
    assert len(heir.take()) == 4
    assert shares(world) == {"p": (0, 0), "p-recovery-1": (4, 0)}


def test_a_late_commit_under_an_ended_project_counts(world: World) -> None:
    job = holder(world, 4)
    world.recover()
    job.commit()
    assert len(world.files("committed")) == 4
    assert world.recover("p-recovery-1") is None


def test_two_operators_get_the_same_recovery(world: World) -> None:
    assert world.recover() == world.recover() == "p-recovery-1"
    assert world.value("SELECT count(*) FROM projects") == 2


def test_a_recovery_that_stands_is_no_answer_when_nothing_is_missing(world: World) -> None:
    assert world.recover() == "p-recovery-1"
    job = world.start("p-recovery-1")
    job.take()
    job.commit()
    assert world.recover("p") is None
    assert world.value("SELECT count(*) FROM projects") == 2


def test_a_recovery_is_recovered_in_turn(world: World) -> None:
    first = holder(world, 1)
    assert world.recover() == "p-recovery-1"
    second = holder(world, 1, "p-recovery-1")
    assert world.recover("p-recovery-1") == "p-recovery-2"
    assert world.recover("p-recovery-1") == "p-recovery-2"
    assert world.recover("p") == "p-recovery-2"
    first.roll_back()
    second.roll_back()
    assert shares(world) == {"p": (0, 0), "p-recovery-1": (0, 0), "p-recovery-2": (4, 0)}
    assert len(world.start("p-recovery-2").take()) == 4
    assert world.column("SELECT recovers FROM projects") == [None, 1, 2]


def test_recovery_with_fence_takes_everything_at_once(world: World) -> None:
    job = holder(world, 3)
    assert world.recover(fence=True) == "p-recovery-1"
    assert shares(world)["p-recovery-1"] == (4, 0)
    with pytest.raises(Fenced):
        job.commit()


def test_a_later_recovery_with_fence_fences_the_old_projects_only(world: World) -> None:
    old = holder(world, 1)
    world.recover()
    new = holder(world, 1, "p-recovery-1")
    assert world.recover(fence=True) == "p-recovery-1"
    assert (world.state(old), world.state(new)) == ("rolled_back", "active")
    assert shares(world)["p-recovery-1"] == (4, 0)


def test_nothing_is_missing_where_all_is_committed_or_parked(world: World) -> None:
    job = holder(world, 3)
    job.commit()
    world.catalog.project("p").park(["f003"], "bad")
    assert world.recover() is None
    assert world.project_state() == ("ended", None)
    assert world.recover() is None


def test_something_is_missing_while_it_is_only_held(world: World) -> None:
    holder(world, 4)
    assert world.recover() == "p-recovery-1"


def test_a_paused_project_can_be_recovered(world: World) -> None:
    world.catalog.project("p").pause("disk full")
    assert world.recover() == "p-recovery-1"
    assert world.project_state("p-recovery-1") == ("open", None)


def test_the_name_of_a_recovery_steps_aside_for_projects_that_have_it(world: World) -> None:
    for number in (1, 2):
        world.catalog.start_project(f"p-recovery-{number}", "all")
    assert world.recover() == "p-recovery-3"


def test_a_recovery_keeps_partitions_and_attempts(make: Make) -> None:
    world = make(4, partition_by={"files": 2})
    job = world.start(partition=1)
    job.take()
    job.open()
    job.roll_back()
    world.recover()
    assert world.attempts("f002") == (1, 1)
    assert world.start("p-recovery-1", partition=1).take() == ["f002", "f003"]


# -- park and unpark ---------------------------------------------------------------------------------------------------


def test_only_what_is_free_is_parked_and_all_or_nothing(world: World) -> None:
    project = world.catalog.project("p")
    job = holder(world, 1)
    for names in (["f001", "f000"], ["f001", "nobody"]):
        with pytest.raises((NotAllowed, NotFound)):
            project.park(names, "bad")
        assert world.files("parked") == []
    job.commit()
    with pytest.raises(NotAllowed, match="committed by process"):
        project.park(["f000"], "bad")


def test_an_unparked_file_comes_alone_and_keeps_its_attempts(make: Make) -> None:
    world = make(2)
    assert world.start().crash(1) == ["f000"]
    project = world.catalog.project("p")
    project.park(["f000"], "looks bad")
    assert world.reason("f000") == "looks bad"
    assert project.unpark() == 1
    other = world.start()
    assert other.take() == ["f001"]  # alone next: not with the other
    job = world.start()
    assert job.take() == ["f000"]
    assert world.attempts("f000") == (1, 1)
    assert world.value("SELECT max(attempt) FROM consumption WHERE file = 'f000'") == 2


def test_a_file_parked_by_failures_is_parked_by_the_next_one_again(make: Make) -> None:
    world = make(1)
    for _ in range(3):
        world.start().crash()
    project = world.catalog.project("p")
    assert project.unpark(["f000"]) == 1
    world.start().crash()
    assert world.files("parked") == ["f000"]
    assert world.attempts("f000") == (4, 4)


def test_a_file_unparked_after_the_end_comes_to_the_recovery(world: World) -> None:
    world.catalog.project("p").park(["f001"], "bad")
    world.recover()
    assert shares(world) == {"p": (1, 0), "p-recovery-1": (3, 0)}
    assert world.catalog.project("p").unpark(["f001"]) == 1
    assert shares(world) == {"p": (0, 0), "p-recovery-1": (4, 0)}


def test_a_changed_file_comes_back_only_with_repin_and_then_as_it_is_now(world: World) -> None:
    world.change_file("f000")
    world.start().take()
    project = world.catalog.project("p")
    with pytest.raises(NotAllowed, match="changed since"):
        project.unpark(["f000"])
    assert project.unpark(["f000"], repin=True) == 1
    job = world.start()
    assert [(info.name, info.size) for info in job.ask().files] == [("f000", 1)]


def test_a_retired_file_stays_parked(world: World) -> None:
    from bookkeeper import files

    files.retire(world.database, ["f000"], "bad run")
    world.start().take()
    with pytest.raises(NotAllowed, match="retired"):
        world.catalog.project("p").unpark(repin=True)
    with pytest.raises(NotAllowed, match="not parked"):
        world.catalog.project("p").unpark(["f001"])
