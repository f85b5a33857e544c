"""Leases, the catalog's clock, grace, max_wall, and the brake."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bookkeeper.errors import Fenced, Paused
from bookkeeper.ledger.door import forgive, sweep
from bookkeeper.protocol import Fate
from ledgers import Job, World

Make = Callable[..., World]


def test_a_lease_that_ran_out_gives_everything_back(world: World) -> None:
    job = world.start(lease=30.0)
    job.take()
    assert world.catalog.expire() == 0
    world.late(job)
    assert world.catalog.expire() == 1
    assert len(world.files("available")) == 4
    assert world.reason("f000") == f"process {job.key.id} rolled back: lease expired"
    assert world.catalog.expire() == 0


@pytest.mark.parametrize("verb", ["heartbeat", "next_files", "mark", "stage"])
def test_a_sign_of_life_renews_the_lease_even_after_it_ran_out_unnoticed(world: World, verb: str) -> None:
    job = world.start()
    job.take(1)
    world.late(job)
    {
        "heartbeat": lambda: world.ledger.heartbeat(job.key),
        "next_files": lambda: job.take(1),
        "mark": job.open,
        "stage": job.stage,
    }[verb]()
    assert world.catalog.expire() == 0
    left = world.value("SELECT lease_until FROM processes") - world.database.now()
    assert 590 < left <= 600.01


def test_the_clock_is_the_catalogs_wherever_the_clock_of_the_job_stands(world: World) -> None:
    job = world.start(lease=50.0)
    world.change("UPDATE processes SET lease_until = lease_until + 86400")  # the clock was set back by a day
    assert world.catalog.expire() == 0
    world.ledger.heartbeat(job.key)  # and the next beat puts that right
    assert world.value("SELECT lease_until FROM processes") - world.database.now() < 51
    world.change("UPDATE processes SET lease_until = lease_until - 86400")  # the clock was set forward
    world.ledger.heartbeat(job.key)
    assert world.catalog.expire() == 0


def test_every_start_sweeps(world: World) -> None:
    job = world.start()
    job.take()
    world.late(job)
    assert len(world.start().take()) == 4


def test_a_start_that_is_repeated_after_its_own_lease_ran_out_is_fenced(world: World) -> None:
    job = world.start()
    world.late(job)
    with pytest.raises(Fenced, match="lease expired"):
        world.ledger.start_process(job.introduction)


def live(world: World, n: int) -> list[Job]:
    return [world.start(files_per_process=1) for _ in range(n)]


@pytest.mark.parametrize(
    ("jobs", "silent", "graced"),
    [(10, 3, True), (10, 2, False), (9, 9, False), (10, 10, True), (20, 4, False), (20, 5, True)],
)
def test_a_mass_expiry_is_taken_for_an_outage(make: Make, jobs: int, silent: int, graced: bool) -> None:
    world = make(jobs)
    all_jobs = live(world, jobs)
    world.late(*all_jobs[:silent])
    world.start()  # sweeps before it counts itself
    states = [world.state(job) for job in all_jobs[:silent]]
    assert states == [("active" if graced else "rolled_back")] * silent


def test_grace_is_given_once(make: Make) -> None:
    world = make(12)
    jobs = live(world, 12)
    world.late(*jobs)
    world.start()
    assert world.value("SELECT count(*) FROM processes WHERE state = 'active'") == 13
    world.ledger.heartbeat(jobs[0].key)
    world.late(*jobs[1:])
    world.start()
    assert world.state(jobs[0]) == "active"
    assert {world.state(job) for job in jobs[1:]} == {"rolled_back"}


def test_who_had_its_grace_does_not_make_another_outage(make: Make) -> None:
    world = make(12)
    jobs = live(world, 12)
    world.late(*jobs)
    newcomer = world.start()
    world.late(*jobs, newcomer)
    world.start()
    assert {world.state(job) for job in (*jobs, newcomer)} == {"rolled_back"}


def test_who_was_graced_and_lived_on_is_graced_in_the_next_outage(make: Make) -> None:
    world = make(12)
    jobs = live(world, 12)
    for _ in range(2):
        world.late(*jobs)
        world.start()
        assert {world.state(job) for job in jobs} == {"active"}
        for job in jobs:
            world.ledger.heartbeat(job.key)


def test_an_explicit_expire_gives_no_grace(make: Make) -> None:
    world = make(12)
    jobs = live(world, 12)
    world.late(*jobs)
    assert world.catalog.expire() == 12


def test_an_outage_that_was_noticed_gives_everyone_one_lease_once(world: World) -> None:
    job = world.start(lease=30.0)
    job.take()
    world.late(job)
    forgive(world.database, "this host slept for 600 s")
    assert sweep(world.database) == 0
    assert world.value("SELECT count(*) FROM events WHERE kind = 'leases.graced'") == 1
    world.late(job)
    forgive(world.database, "this host slept for 600 s")
    assert sweep(world.database) == 1


def test_max_wall_ends_a_process_whose_heart_beats(make: Make) -> None:
    world = make(2, max_wall=100.0)
    job = world.start()
    job.take()
    job.open()
    assert world.ledger.heartbeat(job.key) == 600.0
    world.change("UPDATE processes SET wall_until = wall_until - 101")
    with pytest.raises(Fenced, match="max_wall passed"):
        world.ledger.heartbeat(job.key)
    assert world.state(job) == "rolled_back"
    assert len(world.files("available")) == 2
    assert world.attempts("f000") == (1, 0)


def test_max_wall_passed_is_swept_like_a_lease_and_gets_no_grace(make: Make) -> None:
    world = make(12, max_wall=100.0)
    jobs = live(world, 12)
    world.change("UPDATE processes SET wall_until = wall_until - 101")
    world.start()
    assert {world.state(job) for job in jobs} == {"rolled_back"}


def test_a_staged_process_is_under_max_wall_too(make: Make) -> None:
    world = make(2, max_wall=100.0)
    job = world.start()
    job.take()
    job.stage()
    world.change("UPDATE processes SET wall_until = wall_until - 101")
    with pytest.raises(Fenced):
        world.ledger.heartbeat(job.key)
    assert world.ledger.fate(job.key) is Fate.ROLLED_BACK


# -- the brake ---------------------------------------------------------------------------------------------------------


def fail_uncharged(world: World) -> None:
    job = world.start()
    job.take()
    job.roll_back("no space left on device", step="output-storage")


def test_three_failures_in_a_row_that_are_not_the_files_pause_the_project(world: World) -> None:
    fail_uncharged(world)
    fail_uncharged(world)
    assert world.project_state() == ("open", None)
    fail_uncharged(world)
    state, reason = world.project_state()
    assert state == "paused"
    assert reason is not None and "no space left on device" in reason
    with pytest.raises(Paused, match="no space left"):
        world.start()
    assert world.catalog.project("p").resume()
    fail_uncharged(world)  # and the count begins anew
    assert world.project_state()[0] == "open"


def test_the_row_is_broken_by_a_commit(make: Make) -> None:
    world = make(8)
    for _ in range(3):
        fail_uncharged(world)
        fail_uncharged(world)
        job = world.start()
        job.take(1)
        job.commit()
    assert world.project_state()[0] == "open"


def test_a_failure_that_blames_its_file_does_not_break_the_row(make: Make) -> None:
    world = make(8)
    for _ in range(2):
        fail_uncharged(world)
    world.start().crash(1)
    fail_uncharged(world)
    assert world.project_state()[0] == "paused"


def test_commits_that_were_refused_and_leases_that_expired_unopened_let_the_project_rest(world: World) -> None:
    job = world.start()
    job.take()
    with pytest.raises(Exception, match="none was declared"):
        world.ledger.commit(job.key, job.manifest())
    for _ in range(2):
        job = world.start()
        job.take()
        world.late(job)
        world.catalog.expire()
    assert world.project_state()[0] == "open"
    assert world.value("SELECT rest_until > started_at FROM projects") == 1


def test_a_step_that_fails_before_any_file_was_taken_is_a_failure(world: World) -> None:
    for _ in range(3):
        world.start().roll_back("no such program", step="stage-executable")
    assert world.project_state()[0] == "paused"


@pytest.mark.parametrize("how", ["rolled back", "expired"])
def test_a_process_that_found_nothing_to_do_is_no_failure(world: World, how: str) -> None:
    holder = world.start()
    holder.take()
    for _ in range(5):
        job = world.start()
        assert job.take() == []
        if how == "rolled back":
            job.roll_back("nothing to do")
        else:
            world.late(job)
            world.catalog.expire()
    assert world.project_state() == ("open", None)


def test_the_brake_of_an_ended_project_touches_nothing(world: World) -> None:
    jobs = [world.start(files_per_process=1) for _ in range(4)]
    for job in jobs:
        job.take()
    world.recover()
    for job in jobs:
        job.roll_back("no space", step="output-storage")
    assert world.project_state() == ("ended", None)
    assert world.project_state("p-recovery-1") == ("open", None)
