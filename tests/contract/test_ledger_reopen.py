"""reopen: taking back a committed process whose output was lost, in two phases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bookkeeper.errors import Fenced, NotAllowed, NotFound
from bookkeeper.ledger import outputs
from bookkeeper.protocol import Mark
from ledgers import Job, World

Make = Callable[..., World]


def shares(world: World) -> dict[str, tuple[int, int]]:
    """Files and committed files of every project."""
    return {row[0]: (row[1], row[2]) for row in world.database.table("SELECT name, files, committed FROM projects")[1]}


def holder(world: World, n: int, project: str = "p") -> Job:
    job = world.start(project)
    assert len(job.take(n)) == n
    return job


def finish(world: World, job: Job) -> int:
    with world.database.transaction(durable=True) as tx:
        return outputs.finish_reopen(tx, job.key.id)


def test_reopening_frees_the_files_in_two_phases(world: World) -> None:
    job = holder(world, 3)
    job.commit()
    job.publish()
    (doomed,) = world.revoke(job)
    assert doomed.record == job.output()
    assert world.state(job) == "revoking"
    assert len(world.files("committed")) == 3  # until the objects are seen absent
    assert finish(world, job) == 3
    assert finish(world, job) == 0
    assert world.state(job) == "revoked"
    assert world.column("SELECT state FROM outputs") == ["revoked"]
    assert shares(world) == {"p": (4, 0)}
    again = world.start()
    again.take()
    again.commit()
    assert len(world.files("committed")) == 4


def test_publication_is_refused_while_revoking_and_ever_after(world: World) -> None:
    job, other = holder(world, 3), world.start()
    (stored,) = job.commit()
    world.revoke(job)
    for _ in range(2):
        with pytest.raises(NotAllowed, match="cannot be published"):
            world.ledger.published(other.key, [stored.id])
        with pytest.raises(Fenced, match="revoked"):
            world.ledger.published(job.key, [stored.id])
        finish(world, job)


def test_reopening_repeated_goes_on_where_it_was(world: World) -> None:
    job = holder(world, 3)
    job.commit()
    assert world.revoke(job) == world.revoke(job)
    finish(world, job)
    assert world.revoke(job) == ()


def test_only_a_committed_process_of_this_request_is_reopened(world: World) -> None:
    job = holder(world, 1)
    with pytest.raises(NotAllowed, match="active"):
        world.revoke(job)
    job.commit()
    world.catalog.start_project("q", "all")
    with pytest.raises(NotFound):
        world.revoke(job, "q")


def test_files_of_an_ended_complete_request_can_be_reopened_and_recovered(world: World) -> None:
    job = holder(world, 4)
    job.commit()
    assert world.recover() is None
    assert world.reopen(job) == 4
    assert world.recover() == "p-recovery-1"
    assert shares(world) == {"p": (0, 0), "p-recovery-1": (4, 0)}
    heir = holder(world, 4, "p-recovery-1")
    heir.commit()
    assert len(world.files("committed")) == 4
    assert world.catalog.project("p").status().committed == 4


def test_files_reopened_under_a_recovery_come_to_it(world: World) -> None:
    job = holder(world, 2)
    job.commit()
    world.recover()
    assert world.reopen(job) == 2
    assert shares(world) == {"p": (0, 0), "p-recovery-1": (4, 0)}


def test_what_a_reopened_process_did_not_consume_is_left_alone(world: World) -> None:
    job = holder(world, 2)
    job.ledger.commit(job.key, job.manifest(job.output(), f001=Mark.UNREAD))
    heir = holder(world, 3)
    heir.commit()
    assert world.reopen(job) == 1
    assert world.files("available") == ["f000"]
    assert len(world.files("committed")) == 3


def test_the_final_name_of_a_revoked_output_is_free_again(world: World) -> None:
    job = holder(world, 2)
    world.ledger.commit(job.key, job.manifest(job.output("same.root")))
    world.reopen(job)
    heir = holder(world, 2)
    world.ledger.commit(heir.key, heir.manifest(heir.output("same.root")))
    assert len(world.files("committed")) == 2


def test_a_partition_reopened_comes_back_whole(make: Make) -> None:
    world = make(4, partition_by={"files": 2})
    job = world.start()
    job.take()
    job.commit()
    world.reopen(job)
    assert world.start(partition=0).take() == ["f000", "f001"]
