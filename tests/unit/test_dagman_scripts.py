"""What DAGMan's scripts decide: whatever was killed, repeated, or comes late, every file counts once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import projects
from bookkeeper.dagman import __main__ as program
from bookkeeper.dagman.scripts import AGAIN, GO, LATER, NEVER, REMOVED, SKIP
from bookkeeper.errors import NotFound
from dagging import QUICK, Folder
from journaling import exactly_once, uploads, work
from ledgers import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World.create(tmp_path / "c.db", 3, partition_by={"files": 1}, max_attempts=2, policy=QUICK) as one:
        (tmp_path / "out").mkdir()
        yield one


@pytest.fixture
def pull(tmp_path: Path) -> Iterator[World]:
    with World.create(tmp_path / "c.db", 5, files_per_process=2, max_attempts=1, policy=QUICK) as one:
        (tmp_path / "out").mkdir()
        yield one


def test_a_node_that_goes_well_is_done_and_the_last_script_ends_the_project(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    for node in ("n0", "n1", "n2"):
        folder.run(node)
        assert folder.post(node) == GO  # DAGMan was killed before it knew
    assert folder.final() == GO
    assert folder.final() == GO
    assert projects.status(world.database, "p").open_project is None
    exactly_once(world, tmp_path)


def test_a_script_before_a_job_that_is_repeated_finds_its_ticket(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    ticket = folder.place("n0").ticket.read_text()
    assert folder.pre("n0") == GO
    assert folder.place("n0").ticket.read_text() == ticket
    assert projects.status(world.database, "p").live == 1


def test_a_ticket_too_old_for_another_job_is_given_back_for_a_new_one(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path, grace=0.001)
    assert folder.pre("n0") == GO
    first = folder.process("n0")
    world.database.one("SELECT 1")
    assert folder.pre("n0") == GO
    assert folder.process("n0") > first
    assert projects.status(world.database, "p").live == 1


def test_a_script_after_a_job_that_never_ran_is_made_up_for_by_the_next(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    folder.job("n0")
    assert folder.pre("n0") == SKIP
    exactly_once(world, tmp_path)
    assert world.files("committed") == ["f000"]


def test_a_job_that_died_is_given_back_and_tried_with_a_new_ticket(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    first = folder.process("n0")
    folder.job("n0", end="none")
    assert folder.post("n0", returned=-9) == AGAIN
    (row,) = world.database.rows("SELECT reason FROM processes WHERE id = :id", {"id": first})
    assert row["reason"] == "the job was killed by signal 9"
    folder.run("n0", "b")
    assert folder.process("n0") > first
    exactly_once(world, tmp_path)


def test_a_journal_that_comes_after_its_files_went_to_another_try_is_refused(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path, late=0.0)
    assert folder.pre("n0") == GO
    old = tmp_path / "old.journal"
    work(folder.place("n0").ticket, old).close()
    assert folder.post("n0") == AGAIN  # its folder does not show it
    assert folder.pre("n0") == GO
    old.rename(folder.place("n0").path / "journals" / "old.journal")
    folder.job("n0", "new")
    assert folder.post("n0") == GO
    assert uploads(tmp_path) == []
    exactly_once(world, tmp_path)
    assert world.files("committed") == ["f000"]


def test_a_journal_is_waited_for_when_its_job_ended_well(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    assert folder.post("n0") == LATER
    assert folder.post("n0") == LATER
    folder.job("n0")
    assert folder.post("n0") == GO


def test_of_a_job_that_ran_twice_one_run_counts(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    folder.job("n0", "a")
    folder.job("n0", "b")
    assert folder.post("n0") == GO
    exactly_once(world, tmp_path)
    assert world.files("committed") == ["f000"]


def test_a_first_run_without_an_end_does_not_spoil_the_second(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    folder.job("n0", "a", end="none")
    folder.job("n0", "b")
    assert folder.post("n0") == GO
    exactly_once(world, tmp_path)


def test_a_run_that_was_evicted_does_not_undo_the_one_that_did_the_work(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    folder.job("n0", "a", end="roll_back")
    folder.job("n0", "b")
    assert folder.post("n0") == GO
    exactly_once(world, tmp_path)
    assert world.files("committed") == ["f000"]


def test_what_the_policy_gives_up_is_not_tried_again(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    codes = []
    for _ in range(3):
        if folder.pre("n0") != GO:
            break
        folder.job("n0", f"j{len(codes)}", end="roll_back")
        codes.append(folder.post("n0", returned=13))
    assert (codes[0], codes[-1]) == (AGAIN, NEVER)
    assert folder.pre("n0") == NEVER
    assert "parked" in folder.place("n0").state()["reason"]
    assert folder.final(2) == 10
    missing = (folder.path / "missing.json").read_text()
    assert "f000" in missing and "p-recovery-1" in missing


def test_a_paused_project_is_no_reason_to_try_again(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    folder.job("n0", end="roll_back")
    projects.pause(world.database, "p", "the disk is full")
    assert folder.post("n0", returned=13) == NEVER
    assert "the disk is full" in folder.place("n0").state()["reason"]
    assert folder.pre("n1") == NEVER
    assert folder.final(2) == 10
    assert projects.status(world.database, "p").open_project == "p"


def test_a_node_that_a_person_kills_is_over_and_its_files_are_free(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    folder.place("n0").killed.write_text('{"reason": "not now"}')
    folder.job("n0", end="roll_back")  # it was told to stop
    assert folder.post("n0", returned=-1002) == NEVER
    (row,) = world.database.rows("SELECT attempts, setbacks, state FROM ledger ORDER BY file_id LIMIT 1")
    assert tuple(row.values()) == (0, 0, "available")
    assert folder.pre("n0") == NEVER
    folder.place("n0").killed.unlink()
    folder.run("n0", "b")


def test_what_a_killed_node_had_finished_counts(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    folder.job("n0")
    folder.place("n0").killed.write_text("{}")
    assert folder.post("n0", returned=-1002) == GO
    exactly_once(world, tmp_path)


def test_the_last_script_takes_in_what_came_late_and_recovers_the_rest(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert [folder.pre("n0"), folder.pre("n1")] == [GO, GO]
    folder.job("n0")
    assert folder.final(2) == 10
    assert world.files("committed") == ["f000"]
    now = projects.status(world.database, "p")
    assert (now.open_project, now.held, now.available) == ("p-recovery-1", 0, 2)
    assert folder.pre("n0") == SKIP  # the rescue DAG goes on with the recovery
    folder.run("n1", "b")
    folder.run("n2")
    assert folder.final() == GO
    exactly_once(world, tmp_path)


def test_a_dag_that_a_person_removed_leaves_the_project_open(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    assert folder.final(REMOVED) == 10
    now = projects.status(world.database, "p")
    assert (now.open_project, now.held) == ("p", 0)


def test_the_last_script_leaves_alone_what_another_dag_runs(world: World, tmp_path: Path) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0", dag="again-001") == GO
    assert folder.final(2) == 10
    assert projects.status(world.database, "p").held == 1
    folder.job("n0")
    assert folder.post("n0") == GO


def test_a_script_that_was_killed_after_it_lent_leaves_a_ticket_that_the_next_takes(
    world: World, tmp_path: Path
) -> None:
    folder = Folder(world, tmp_path)
    assert folder.pre("n0") == GO
    place = folder.place("n0")
    place.ticket.rename(place.next)
    assert folder.pre("n0") == GO
    assert (place.ticket.exists(), place.next.exists()) == (True, False)
    assert projects.status(world.database, "p").live == 1


def test_groups_take_what_is_left_until_nothing_is(pull: World, tmp_path: Path) -> None:
    folder = Folder(pull, tmp_path, groups=3)
    folder.run("n0")
    folder.run("n1")
    assert folder.pre("n2") == GO
    folder.job("n2", end="roll_back")
    assert folder.post("n2", returned=13) in (AGAIN, NEVER)
    assert folder.final(2) == 10
    exactly_once(pull, tmp_path)


def test_a_group_that_failed_is_taken_apart_by_whoever_comes(pull: World, tmp_path: Path) -> None:
    folder = Folder(pull, tmp_path, groups=2)
    assert [folder.pre("n0"), folder.pre("n1")] == [GO, GO]
    folder.job("n0", end="roll_back")
    assert folder.post("n0", returned=13) == AGAIN
    folder.job("n1")
    codes = [folder.post("n1")]
    while codes[-1] == AGAIN:
        if (code := folder.pre("n1")) != GO:
            codes.append(code)
            break
        folder.job("n1", f"more{len(codes)}")
        codes.append(folder.post("n1"))
    assert codes[-1] in (GO, SKIP)
    assert folder.pre("n0") == SKIP
    assert folder.final() == GO
    exactly_once(pull, tmp_path)


def test_a_catalog_that_is_away_is_asked_again_later(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(world, tmp_path)
    assert program.main(["pre", str(folder.path), "all", "n0"]) == GO
    (tmp_path / "c.db").rename(tmp_path / "away.db")
    assert program.main(["post", str(folder.path), "all", "n0", "0"]) == LATER
    assert program.main(["post", str(folder.path), "all", "n0", "x"]) == LATER
    assert program.main(["nonsense"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_node_that_is_none_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no node"):
        Folder(world, tmp_path).pre("n9")
