"""What follows from a failure: the file, the node, the storage or the command is to blame, and each has its answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import nodes
from bookkeeper.errors import Fenced, NodeExcluded, Paused, UsageError
from bookkeeper.failures import Evidence, explain_failure
from bookkeeper.ledger.door import bury
from bookkeeper.protocol import EventRecord, Mark, Status
from bookkeeper.retries import history, reclassified
from ledgers import Job, World, sound

Make = Callable[..., World]

TRANSIENT = Evidence(message="exit code 1", exit_code=1, stderr="[ERROR] Operation expired", step="analysis")
CONFIGURATION = Evidence(
    message="exit code 1: ModuleNotFoundError: No module named 'awkward'",
    exit_code=1,
    stderr="ModuleNotFoundError: No module named 'awkward'",
    step="analysis",
)
CRASH = Evidence(message="killed by signal 11 (SIGSEGV)", signal=11, exit_code=-11, step="analysis")
UNKNOWN = Evidence(message="exit code 1: something odd", exit_code=1, step="analysis")
PLAIN = {"base_delay": 10.0, "backoff_factor": 2.0, "jitter": False}


def corrupted(name: str) -> Evidence:
    said = f"OSError: {name} is not a ROOT file"
    return Evidence(message=f"exit code 1: {said}", exit_code=1, stderr=said, step="analysis")


def fail(world: World, evidence: Evidence, limit: int = 100, **introduction: Any) -> Job:
    """A process that takes files, opens them, and fails in this way."""
    job = world.start(**introduction)
    if job.take(limit):
        job.open()
    job.roll_back(evidence.message, evidence=evidence)
    return job


def decided(world: World) -> dict[str, Any]:
    """The last decision."""
    return dict(json.loads(world.value("SELECT body FROM events WHERE kind = 'retry.decided' ORDER BY id DESC")))


def ripen(world: World, seconds: float) -> None:
    """Let time pass for files that wait for their next try, and for a project that rests."""
    world.change("UPDATE ledger SET not_before = not_before - ? WHERE not_before > 0", [(seconds,)])
    world.change("UPDATE projects SET rest_until = rest_until - ?", [(seconds,)])


def wait_of(world: World, name: str) -> float:
    """Seconds from the last decision until a file is delivered again."""
    return float(
        world.value(
            "SELECT l.not_before - (SELECT max(at) FROM events) FROM ledger l JOIN files f ON f.id = l.file_id"
            " WHERE f.name = ?",
            name,
        )
    )


# -- what passes -------------------------------------------------------------------------------------------------------


def test_a_transient_failure_costs_no_strike_and_waits(make: Make) -> None:
    world = make(2, files_per_process=2, policy={"retry": {"transient_io": PLAIN}})
    fail(world, TRANSIENT)
    assert (world.attempts("f000"), world.setbacks("f000")) == ((0, 0), 1)
    job = world.start()
    answer = job.ask()
    assert (answer.files, answer.status) == ((), Status.NONE_NOW)
    status = world.catalog.project("p").status()
    assert (status.available, status.delayed) == (2, 2)
    assert status.next_at == pytest.approx(world.value("SELECT min(not_before) FROM ledger"))
    ripen(world, 11)
    assert job.take() == ["f000"]  # of the two that were allowed before, one may come
    said = decided(world)
    assert (said["category"], said["decisions"], said["delay"]) == ("transient_io", ["back off"], 10)
    assert said["rule"] and said["evidence"] == "[ERROR] Operation expired"
    sound(world)


def test_the_back_off_grows_with_every_failure_and_a_commit_needs_none(make: Make) -> None:
    world = make(1, policy={"retry": {"transient_io": {**PLAIN, "max_retries": 9}}, "brake": {"identical": 0}})
    waits = []
    for _ in range(3):
        fail(world, TRANSIENT)
        waits.append(wait_of(world, "f000"))
        ripen(world, waits[-1] + 1)
    assert waits == pytest.approx([10, 20, 40], abs=4)
    job = world.start()
    job.take()
    job.commit()
    assert world.files("committed") == ["f000"]


def test_a_file_over_the_cap_is_delivered_alone_and_parked_if_that_fails_too(make: Make) -> None:
    brake = {"identical": 0}
    world = make(4, policy={"retry": {"transient_io": {"max_retries": 0, "base_delay": 0}}, "brake": brake})
    fail(world, TRANSIENT)
    assert len(fail(world, TRANSIENT).ids) == 1  # in company it proved nothing
    (name,) = world.files("parked")
    assert world.reason(name) == "parked after 2 attempts: exit code 1"
    assert world.attempts(name) == (0, 0)
    sound(world)


def test_each_category_has_a_cap_of_its_own(make: Make) -> None:
    brake = {"identical": 0}
    retry = {"transient_io": {"max_retries": 2, "base_delay": 0}, "configuration": {"max_retries": 1, "base_delay": 0}}
    world = make(1, files_per_process=1, policy={"retry": retry, "brake": brake})
    for evidence in (TRANSIENT, TRANSIENT, CONFIGURATION):
        fail(world, evidence)
    assert world.files("parked") == []
    fail(world, CONFIGURATION)
    assert world.files("parked") == ["f000"]


def test_a_lease_that_ran_out_is_wait_enough(world: World) -> None:
    job = world.start()
    job.take()
    job.open()
    world.late(job)
    world.catalog.expire()
    assert decided(world)["category"] == "executor"
    assert world.setbacks("f000") == 1
    assert world.start().take() != []


def test_failures_that_pass_let_the_project_rest_longer_each_time_and_pause_it_in_the_end(make: Make) -> None:
    retry = {"transient_io": {**PLAIN, "base_delay": 100.0, "max_retries": 2}}
    world = make(40, files_per_process=1, policy={"retry": retry})
    for _ in range(3):
        fail(world, TRANSIENT, 1)
    rest = world.catalog.project("p").status().rest_until
    assert rest is not None
    job = world.start()
    answer = job.ask()
    assert (answer.status, answer.project_state) == (Status.NONE_NOW, "open")
    assert "rests" in answer.reason
    job.roll_back("nothing to do", counted=False)
    ripen(world, 1000)
    assert world.catalog.project("p").status().rest_until is None
    fail(world, TRANSIENT, 1)
    longer = world.value("SELECT rest_until - (SELECT max(at) FROM events) FROM projects")
    assert longer == pytest.approx(200, abs=4)
    ripen(world, 1000)
    fail(world, TRANSIENT, 1)
    state, reason = world.project_state()
    assert state == "paused"
    assert reason is not None and reason.startswith("2 rests did not help (transient_io)")
    sound(world)


def test_a_failure_from_before_a_rest_does_not_prolong_it(make: Make) -> None:
    world = make(40, files_per_process=1, policy={"retry": {"transient_io": {**PLAIN, "max_retries": 1}}})
    jobs = [world.start() for _ in range(6)]
    for job in jobs:
        job.take(1)
        job.roll_back("lost the server", evidence=TRANSIENT)
    assert world.value("SELECT rests FROM projects") == 1
    assert world.project_state()[0] == "open"


def test_a_commit_ends_the_row_of_rests(make: Make) -> None:
    world = make(9, files_per_process=1, policy={"retry": {"transient_io": {**PLAIN, "base_delay": 0}}})
    for _ in range(4):
        fail(world, TRANSIENT, 1)
    assert world.value("SELECT rests FROM projects") > 0
    job = world.start()
    job.take(1)
    job.commit()
    assert world.value("SELECT rests FROM projects") == 0


def test_resuming_ends_a_rest_and_every_wait(make: Make) -> None:
    world = make(9, files_per_process=1)
    for _ in range(3):
        fail(world, TRANSIENT, 1)
    assert world.catalog.project("p").resume()
    status = world.catalog.project("p").status()
    assert (status.rest_until, status.delayed) == (None, 0)
    assert world.setbacks("f000") == 0


def test_holding_back_is_for_people_and_plug_ins_too(world: World) -> None:
    from bookkeeper import projects

    assert projects.hold_back(world.database, "p", ["f000", "f001"], 100, "its server reboots") == 2
    assert world.start().take() == ["f002", "f003"]
    assert projects.hold_back(world.database, "p", ["f002"], 100, "held by a process") == 0
    with pytest.raises(UsageError):
        projects.hold_back(world.database, "p", ["f000"], 0, "no time")


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_failure_that_names_a_file_as_corrupted_isolates_it_and_leaves_the_others_in_peace(make: Make) -> None:
    world = make(8)
    fail(world, corrupted("f002"), 4)
    assert [world.attempts(f"f00{n}")[0] for n in range(4)] == [0, 0, 1, 0]
    assert [world.setbacks(f"f00{n}") for n in range(4)] == [0, 0, 0, 0]
    assert decided(world)["suspects"] == ["f002"]
    job = world.start()
    assert "f002" not in job.take()
    assert world.start().take() == ["f002"]


def test_a_failure_that_names_several_files_strikes_all(make: Make) -> None:
    world = make(4)
    fail(world, corrupted("f001 or f002"))
    assert decided(world)["suspects"] == []
    assert [world.attempts(f"f00{n}")[0] for n in range(4)] == [1, 1, 1, 1]


def test_a_file_that_failed_alone_on_two_nodes_is_parked(make: Make) -> None:
    world = make(1)
    fail(world, corrupted("f000"), node="n1")
    assert world.files("parked") == []
    fail(world, corrupted("f000"), node="n2")
    assert world.files("parked") == ["f000"]
    assert "is not a ROOT file" in world.reason("f000")


def test_on_one_node_alone_it_takes_max_attempts(make: Make) -> None:
    world = make(1, policy={"brake": {"identical": 0}})
    for expected in ([], [], ["f000"]):
        fail(world, CRASH, node="n1")
        assert world.files("parked") == expected


def test_a_file_is_left_to_other_nodes_for_a_while_after_it_failed(make: Make) -> None:
    world = make(3, files_per_process=1)
    elsewhere = world.start(node="n2")
    here = fail(world, UNKNOWN, 1, node="n1")
    (failed,) = here.ids
    assert [world.start(node="n1").take(1) for _ in range(3)] == [["f001"], ["f002"], []]
    assert elsewhere.take(1) == [failed]


def test_if_no_other_node_takes_it_in_time_the_same_one_has_it(make: Make) -> None:
    world = make(1)
    elsewhere = world.start(node="n2")
    fail(world, UNKNOWN, node="n1")
    assert world.start(node="n1").take() == []
    world.change("UPDATE processes SET ended_at = ended_at - 100 WHERE ended_at IS NOT NULL")
    assert world.start(node="n1").take() == ["f000"]
    assert elsewhere.take() == []


def test_other_nodes_are_those_that_were_seen_lately_and_are_not_excluded(make: Make) -> None:
    world = make(2, files_per_process=1)
    other = world.start(node="n2")
    other.take(1)
    other.commit()
    fail(world, UNKNOWN, node="n1")
    assert world.start(node="n1").take() == []
    nodes.exclude(world.database, "n2", reason="hot", seconds=60)
    assert world.start(node="n1").take() == ["f001"]


def test_with_one_node_only_a_file_comes_back_at_once(make: Make) -> None:
    world = make(1)
    fail(world, UNKNOWN, node="n1")
    assert world.start(node="n1").take() == ["f000"]


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evidence", [CONFIGURATION, CRASH, UNKNOWN])
def test_identical_failures_of_different_files_pause_the_project(make: Make, evidence: Evidence) -> None:
    world = make(9, files_per_process=1)
    for _ in range(2):
        fail(world, evidence, 1)
    assert world.project_state()[0] == "open"
    fail(world, evidence, 1)
    state, reason = world.project_state()
    assert state == "paused"
    assert reason is not None and evidence.message in reason
    assert "brake" in decided(world)["decisions"]
    assert json.loads(world.value("SELECT body FROM events WHERE kind = 'project.paused'"))["brake"] is True
    with pytest.raises(Paused, match="in a row"):
        world.start()
    assert world.files("parked") == []


def test_files_that_failed_by_a_wrong_command_wait_so_that_others_can_tell(make: Make) -> None:
    world = make(9, files_per_process=1)
    seen = [fail(world, CONFIGURATION).ids for _ in range(3)]
    assert len({file for (file,) in seen}) == 3
    assert world.project_state()[0] == "paused"
    assert world.files("parked") == []


def test_what_passes_is_no_sign_of_a_wrong_command(make: Make) -> None:
    world = make(9, files_per_process=1)
    for evidence in (TRANSIENT, TRANSIENT, CONFIGURATION, CONFIGURATION):
        fail(world, evidence, 1)
    assert world.project_state()[0] == "open"
    fail(world, CONFIGURATION, 1)
    assert world.project_state()[0] == "paused"


def test_what_was_started_before_says_nothing_for_a_command_that_fails_since(make: Make) -> None:
    world = make(9, files_per_process=1)
    old = world.start()
    old.take(1)
    for _ in range(2):
        fail(world, CONFIGURATION, 1)
    old.commit()
    fail(world, CONFIGURATION, 1)
    assert world.project_state()[0] == "paused"


def test_a_process_that_started_later_and_runs_for_longer_speaks_for_the_command(make: Make) -> None:
    world = make(9, files_per_process=1)
    fail(world, CONFIGURATION, 1)
    later = world.start()
    later.take(1)
    world.change("UPDATE processes SET started_at = started_at - 60 WHERE id = ?", [(later.key.id,)])
    for _ in range(2):
        fail(world, CONFIGURATION, 1)
    assert world.project_state()[0] == "open"
    fail(world, CONFIGURATION, 1)
    assert world.project_state()[0] == "paused"


def test_failures_of_the_same_files_do_not_pause_it(make: Make) -> None:
    world = make(1, max_attempts=9)
    for _ in range(5):
        fail(world, CRASH)
    assert world.project_state()[0] == "open"


def test_different_failures_do_not_pause_it(make: Make) -> None:
    world = make(9, files_per_process=1)
    for what in ("one thing", "another", "a third", "a fourth"):
        fail(world, Evidence(message=f"exit code 1: {what}", exit_code=1, step="analysis"), 1)
    assert world.project_state()[0] == "open"


def test_it_takes_more_once_something_was_committed(make: Make) -> None:
    world = make(9, files_per_process=1)
    job = world.start()
    job.take(1)
    job.commit()
    for _ in range(4):
        fail(world, CRASH, 1)
    assert world.project_state()[0] == "open"
    fail(world, CRASH, 1)
    assert world.project_state()[0] == "paused"


def test_the_request_says_how_many_or_never(make: Make) -> None:
    world = make(9, files_per_process=1, policy={"brake": {"identical": 0, "node_failures": 0}})
    for _ in range(7):
        fail(world, CRASH, 1, node="n1")
    assert world.project_state()[0] == "open"
    assert nodes.excluded(world.database) == []


def test_one_node_does_not_stop_a_project_while_others_have_work(make: Make) -> None:
    world = make(9, files_per_process=1, policy={"brake": {"node_failures": 0}})
    other = world.start(node="n2")
    other.take(1)
    other.open()
    for _ in range(4):
        fail(world, CRASH, 1, node="n1")
    assert world.project_state()[0] == "open"
    other.roll_back(CRASH.message, evidence=CRASH)
    assert world.project_state()[0] == "paused"


@pytest.mark.parametrize("policy", [None, {"brake": {"identical": 0}}])
@pytest.mark.parametrize("step", ["analysis", "stage-inputs", "verification", "stage-executable", "output-storage"])
def test_failures_before_a_file_was_opened_come_to_an_end(make: Make, step: str, policy: Any) -> None:
    world = make(3, files_per_process=1, policy=policy)
    for _ in range(60):
        if world.project_state()[0] != "open" or len(world.files("parked")) == 3:
            return
        job = world.start()
        job.take(1)
        job.roll_back("it broke", evidence=Evidence(message="something odd", step=step))
        ripen(world, 1e5)
    raise AssertionError("it never ends")


# -- the node ----------------------------------------------------------------------------------------------------------


def black_hole(world: World) -> Job:
    """A node where three different files fail while another works."""
    good = world.start(node="good")
    good.take(1)
    for _ in range(3):
        fail(world, UNKNOWN, 1, node="bad")
    return good


def test_a_node_where_different_files_fail_while_others_do_well_is_excluded(make: Make) -> None:
    world = make(9, files_per_process=1)
    early = world.start(node="bad", files_per_process=3)
    early.take(1)
    black_hole(world)
    (excluded,) = nodes.excluded(world.database)
    assert (excluded["node"], excluded["by"], excluded["times"]) == ("bad", "bookkeeper", 1)
    assert "3 processes in a row failed there on different files" in excluded["reason"]
    assert world.project_state()[0] == "open"
    with pytest.raises(NodeExcluded, match="node bad is excluded until"):
        world.start(node="bad")
    answer = early.ask(1)
    assert (answer.files, answer.status) == ((), Status.EXCLUDED)
    assert "bad is excluded" in answer.reason
    early.commit()  # what it has it may commit
    assert world.start(node="other").take(1) != []
    sound(world)


def test_a_node_that_committed_before_is_not_excluded_by_what_chance_does_to_any(make: Make) -> None:
    world = make(19, files_per_process=1)
    well = world.start(node="bad")
    well.take(1)
    well.commit()
    black_hole(world)
    fail(world, UNKNOWN, 1, node="bad")
    assert nodes.excluded(world.database) == []
    fail(world, UNKNOWN, 1, node="bad")
    assert [row["node"] for row in nodes.excluded(world.database)] == ["bad"]


def test_what_failed_on_an_excluded_node_does_not_stop_the_project(make: Make) -> None:
    world = make(9, files_per_process=1)
    black_hole(world)
    for _ in range(2):
        fail(world, UNKNOWN, 1, node="other")
    assert world.project_state()[0] == "open"


def test_a_job_that_asks_again_is_answered_though_its_node_is_excluded(world: World) -> None:
    job = world.start(node="bad", nonce="n")
    nodes.exclude(world.database, "bad", reason="its disk is broken", seconds=60)
    assert world.start(node="bad", nonce="n").key == job.key


def test_a_node_is_not_excluded_where_nobody_does_better(make: Make) -> None:
    world = make(9, files_per_process=1, policy={"brake": {"identical": 0}})
    for _ in range(6):
        fail(world, UNKNOWN, 1, node="only")
    assert nodes.excluded(world.database) == []


def test_files_that_failed_alone_elsewhere_too_say_nothing_about_a_node(make: Make) -> None:
    world = make(9, files_per_process=1, policy={"brake": {"identical": 0, "node_failures": 3}})
    for _ in range(2):
        fail(world, UNKNOWN, 1, node="a")
    world.start(node="good").take(1)
    world.change("UPDATE processes SET ended_at = ended_at - 100 WHERE ended_at IS NOT NULL")
    world.change("UPDATE ledger SET not_before = 1e12 WHERE attempts = 0 AND state = 'available'")
    for _ in range(2):
        fail(world, UNKNOWN, 1, node="b")
    world.change("UPDATE ledger SET not_before = 0")
    fail(world, UNKNOWN, 1, node="b")
    assert nodes.excluded(world.database) == []


def test_what_failed_before_a_node_was_admitted_is_forgotten(make: Make) -> None:
    world = make(19, files_per_process=1)
    black_hole(world)
    assert nodes.admit(world.database, "bad")
    assert not nodes.admit(world.database, "bad")
    fail(world, UNKNOWN, 1, node="bad")
    assert nodes.excluded(world.database) == []
    world.start(node="bad")


def test_an_exclusion_ends_by_itself(world: World) -> None:
    nodes.exclude(world.database, "bad", reason="hot", seconds=60, by="ann")
    world.change("UPDATE excluded_nodes SET until = until - 61")
    assert world.start(node="bad").take() != []
    nodes.exclude(world.database, "bad", reason="hot again", seconds=60, by="ann")
    assert nodes.excluded(world.database)[0]["times"] == 2


# -- what is recorded --------------------------------------------------------------------------------------------------


def test_every_failure_is_explained_and_the_explanation_can_be_made_anew(make: Make) -> None:
    world = make(4)
    job = fail(world, UNKNOWN)
    body = json.loads(world.value("SELECT body FROM events WHERE kind = 'failure.classified'"))
    assert (body["category"], body["rule"], body["by"]) == ("unknown", "unknown", "rules")
    assert Evidence.from_mapping(body) == UNKNOWN
    with world.database.transaction() as tx:
        reclassified(tx, job.key.id, explain_failure(None, "Segmentation fault", signal=11), by="reclassify")
    assert world.column("SELECT category FROM failures WHERE process_id = ?", job.key.id) == ["analysis_crash"]


def test_the_rules_of_the_request_come_first(make: Make) -> None:
    rule = {
        "id": "odd",
        "category": "transient_io",
        "confidence": 1.0,
        "text": "something odd",
        "remedy": "wait",
    }
    world = make(4, policy={"rules": [rule]})
    fail(world, UNKNOWN)
    assert (decided(world)["category"], decided(world)["rule"]) == ("transient_io", "odd")
    assert world.attempts("f000") == (0, 0)


def test_an_interruption_is_no_failure(world: World) -> None:
    job = world.start()
    job.take()
    job.open()
    job.roll_back("Ctrl-C", counted=False, evidence=CRASH)
    assert world.value("SELECT count(*) FROM events WHERE kind = 'failure.classified'") == 0


def test_completion_is_told_once_when_the_last_output_is_published(make: Make) -> None:
    world = make(2, files_per_process=1)
    jobs = [world.start(), world.start()]
    for job in jobs:
        job.take(1)
        job.commit()
    assert world.value("SELECT count(*) FROM events WHERE kind = 'project.completed'") == 0
    for job in jobs:
        job.publish()
        job.publish()
    assert world.value("SELECT count(*) FROM events WHERE kind = 'project.completed'") == 1


def test_a_process_whose_worker_is_known_to_be_dead_is_buried_at_once(world: World) -> None:
    job = world.start()
    job.take()
    job.open()
    assert bury(world.database, job.key.id, "its worker ended without a word: killed by signal 9 (SIGKILL)")
    assert not bury(world.database, job.key.id, "again")
    assert decided(world)["category"] == "executor"
    assert (world.attempts("f000"), world.setbacks("f000")) == ((0, 0), 1)
    with pytest.raises(Fenced):
        job.commit()


def test_who_committed_before_it_died_is_not_buried(world: World) -> None:
    job = world.start()
    job.take()
    job.commit()
    assert not bury(world.database, job.key.id, "its worker ended without a word: killed by signal 9 (SIGKILL)")
    assert world.state(job) == "committed"


@pytest.mark.parametrize("said", ["caf\udce9.root: no such file", "a null \x00 in it", "\x1b[31mred", "ж" * 5000])
def test_what_a_job_says_in_odd_characters_is_kept(world: World, said: str) -> None:
    for _ in range(2):
        job = world.start()
        job.take()
        job.open()
        job.roll_back(said, evidence=Evidence(message=said, stderr=said, exceptions=(("OSError", said),)))
        ripen(world, 1e5)
    assert world.value("SELECT count(*) FROM failures") == 2


def test_numbers_that_are_none_do_not_spoil_the_record(world: World) -> None:
    job = world.start()
    world.ledger.record(job.key, [EventRecord("perf.recorded", {"wall_s": float("nan"), "files": [float("inf"), 1.5]})])
    assert world.value("SELECT body FROM events WHERE kind = 'perf.recorded'") == '{"wall_s":null,"files":[null,1.5]}'
    assert world.column("SELECT wall_s FROM performance") == [None]


@pytest.mark.parametrize(
    "policy",
    [
        {"brake": 3},
        {"brake": {"identical": "many"}},
        {"retry": {"transient": {}}},
        {"retry": {"executor": {"max_retries": -1}}},
        {"retry": {"executor": {"delay": 1}}},
        {"rules": [{"id": "x"}]},
        {"rule": []},
        [],
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(make: Make, policy: Any) -> None:
    with pytest.raises(UsageError, match="the policy"):
        make(2, policy=policy)


def test_a_policy_of_another_version_is_passed_over(world: World) -> None:
    world.change("""UPDATE requests SET policy = '{"brake": {"identical": "many"}, "mood": 7}'""")
    fail(world, UNKNOWN)
    assert world.attempts("f000") == (1, 0)


def test_a_node_that_cannot_store_outputs_is_excluded_though_it_gets_the_same_files_again(make: Make) -> None:
    world = make(9, files_per_process=2)
    denied = Evidence(message="out/: permission denied", step="output-storage")
    world.start(node="good").take(2)
    for _ in range(3):
        fail(world, denied, 2, node="bad")
    assert [one["node"] for one in nodes.excluded(world.database)] == ["bad"]


def test_a_file_of_a_partition_holds_back_its_partition_and_no_other(make: Make) -> None:
    from bookkeeper import projects

    world = make(4, partition_by={"files": 2})
    assert projects.hold_back(world.database, "p", ["f000"], 100, "its server reboots") == 1
    assert world.start().take() == ["f002", "f003"]
    assert world.catalog.project("p").resume() is False
    world.catalog.project("p").pause("lunch")
    world.catalog.project("p").resume()
    assert world.start().take() == ["f000", "f001"]


def test_secrets_that_a_job_prints_are_not_kept(world: World) -> None:
    secret = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJlLW9mLWphbmU"
    said = f"GET https://se/f.root?authz=Bearer%20{secret}: 403"
    job = world.start()
    job.take()
    job.open()
    job.roll_back(said, evidence=Evidence(message=said, stderr=said, exceptions=(("OSError", said),)))
    for table in ("events", "processes", "ledger", "deliveries"):
        assert secret not in str(world.catalog.sql(f"SELECT * FROM {table}"))


def test_old_failures_cost_a_roll_back_nothing(tmp_path: Path) -> None:
    """However many failures lie before the last commit, as many rows are read: SQLite counts its steps."""
    world = World.create(tmp_path / "steps.db", 4, files_per_process=1)
    fail(world, UNKNOWN, 1)
    project = world.value("SELECT id FROM projects")
    world.change(
        "INSERT INTO events (at, kind, project_id, process_id, body) SELECT at, kind, project_id, process_id, body"
        " FROM events, (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n)"
        " WHERE kind = 'failure.classified'"
    )
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with world.database.transaction() as tx:
        tx._connection.set_progress_handler(count, 100)
        history.run_of(tx, project, since=1e12)
        tx._connection.set_progress_handler(None, 0)
    assert steps < 400


def test_a_wrong_command_parks_no_file_while_others_fail_alike(make: Make) -> None:
    world = make(2, files_per_process=1, policy={"retry": {"configuration": {"base_delay": 0}}})
    for _ in range(4):
        fail(world, CONFIGURATION, 1)
        world.change(
            "UPDATE ledger SET not_before = CASE file_id WHEN 1 THEN 1e12 ELSE 0 END WHERE state = 'available'"
        )
        fail(world, CONFIGURATION, 1)
        world.change("UPDATE ledger SET not_before = 0 WHERE state = 'available'")
        if world.project_state()[0] == "paused":
            break
        assert world.attempts("f000") == (0, 0)
    assert world.setbacks("f000") >= 3


def test_a_wrong_command_parks_no_file_though_one_that_began_later_committed(make: Make) -> None:
    """It may have read the program before it was changed."""
    world = make(3, files_per_process=1, policy={"retry": {"configuration": {"base_delay": 0}}})
    for _ in range(2):
        fail(world, CONFIGURATION, 1)
        world.change("UPDATE ledger SET not_before = 1e12 WHERE setbacks > 0")
    later = world.start()
    later.take(1)
    later.commit()
    for _ in range(2):
        world.change("UPDATE ledger SET not_before = 0 WHERE file_id = 1")
        assert list(fail(world, CONFIGURATION, 1).ids) == ["f000"]
    assert world.files("parked") == []


def test_a_wrong_command_parks_no_file_while_others_have_yet_to_tell(make: Make) -> None:
    world = make(2, files_per_process=1, policy={"retry": {"configuration": {"base_delay": 0}}})
    slow = world.start()
    slow.take(1)
    for _ in range(2):
        assert list(fail(world, CONFIGURATION, 1).ids) == ["f001"]
    assert world.files("parked") == []
    slow.commit()
    for _ in range(2):
        fail(world, CONFIGURATION, 1)
    assert world.files("parked") == ["f001"]


def test_a_file_that_alone_meets_a_wrong_command_is_parked(make: Make) -> None:
    world = make(1, policy={"retry": {"configuration": {"base_delay": 0}}})
    fail(world, CONFIGURATION)
    fail(world, CONFIGURATION)
    assert world.files("parked") == ["f000"]


@pytest.mark.parametrize(("counted", "evidence"), [(True, TRANSIENT), (False, None)])
def test_a_file_that_the_job_gave_up_is_parked_by_max_attempts_whatever_ended_the_job(
    make: Make, counted: bool, evidence: Evidence | None
) -> None:
    world = make(1, max_attempts=1)
    job = world.start()
    job.take()
    job.mark(Mark.FAILED, reason="unreadable")
    job.roll_back("it ended", counted=counted, evidence=evidence)
    assert world.files("parked") == ["f000"]
