"""Slurm: the real one, with what happens to jobs in it."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchdesk import WAITS, BatchDesk
from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors import slurm as executor
from bookkeeper.executors.batch import BatchSystem, Order
from bookkeeper.executors.slurm import script
from bookkeeper.failures import Evidence, explain_failure
from bookkeeper_schema.states import JobState
from following import Followed, order
from services import slurm as service
from services.slurm import Slurm
from workbench import alive, until

SLEEP = ("sleep", "600")


def prepared(running: Slurm) -> Slurm:
    """A Slurm that other tests use, too: all of it runs, and nothing is left of them, also where one failed."""
    running.up()
    running.run("scancel", "--me")
    running.ready()
    return running


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    running = prepared(service.shared())
    monkeypatch.setenv("SLURM_CONF", running.environment["SLURM_CONF"])
    return running


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A Slurm that no other test uses."""
    with service.running() as running:
        monkeypatch.setenv("SLURM_CONF", running.environment["SLURM_CONF"])
        yield running


@pytest.fixture
def accounted(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    running = prepared(service.shared(accounting=True))
    monkeypatch.setenv("SLURM_CONF", running.environment["SLURM_CONF"])
    return running


@pytest.fixture
def system(tmp_path: Path) -> Iterator[BatchSystem]:
    made = executor.make(tmp_path, {"poll": 0.1})
    yield made
    made.close()


def explained(followed: Followed, number: int = 0) -> tuple[str, str | None]:
    """The category and the rule of how a job ended."""
    end = followed.last(number)
    stderr = (followed.known.folder / f"err.{number}").read_text(errors="replace")
    told = explain_failure(
        Evidence(state=end.kind, message=end.reason or "", signal=end.signal, exit_code=end.exit_code, stderr=stderr)
    )
    return told.category, told.rule


def test_jobs_run_and_are_found_again(slurm: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """Each job knows its id and its environment; the tag finds them in the queue, whoever submitted them."""
    words = 'echo $BOOKKEEPER_JOB_ID "$WORDS"; echo oops >&2; exit $((SLURM_ARRAY_TASK_ID * 3))'
    given = order(tmp_path, "tag-1", "bash", "-c", words, count=3, environment={"WORDS": 'it\'s $HOME; "x"'})
    assert system.find(given) is None
    accepted = system.submit(given)
    assert accepted.jobs == tuple(f"{accepted.batch_id}_{number}" for number in range(3))
    assert executor.make(tmp_path, {}).find(given) == accepted
    followed = Followed.of(system, given, accepted).until_over()
    assert [followed.last(number).exit_code for number in range(3)] == [0, 3, 6]
    assert [followed.last(number).kind for number in range(3)] == ["COMPLETED", "FAILED", "FAILED"]
    assert followed.kinds(1) == ["RUNNING", "FAILED"] or followed.kinds(1) == ["PENDING", "RUNNING", "FAILED"]
    assert all(followed.last(number).died and followed.last(number).node == slurm.node for number in range(3))
    assert (given.folder / "out.2").read_text() == f'{accepted.jobs[2]} it\'s $HOME; "x"\n'
    assert (given.folder / "err.2").read_text() == "oops\n"
    assert system.find(given) == accepted  # also when all of it is over
    assert system.reconcile([followed.known]) == {}


def test_more_jobs_than_an_array_has(
    slurm: Slurm, system: BatchSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further arrays follow, and each job prints into the files of its number."""
    monkeypatch.setattr(script, "ARRAY", 10)
    given = order(tmp_path, "many", "bash", "-c", "echo $BOOKKEEPER_JOB_ID", count=12)
    followed = Followed.of(system, given).until_over()
    for number in range(12):
        assert (given.folder / f"out.{number}").read_text().strip().endswith(f"_{number % 10}")
    accepted = system.find(given)
    assert accepted is not None and len(accepted.jobs) == 12 and accepted.jobs[11].endswith("_1")
    assert all(followed.last(number).exit_code == 0 for number in range(12))


def test_a_submission_that_was_cut_off_is_withdrawn(
    slurm: Slurm, system: BatchSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two arrays, the jobs of the first are removed: nothing of it took place."""
    monkeypatch.setattr(script, "ARRAY", 10)
    given = order(tmp_path, "cut-off", *SLEEP, count=12)
    system.prepare(given)
    first = slurm.run("sbatch", *script.command_line(given, [], 0)).strip()
    assert system.find(given) is None
    states = slurm.run("squeue", "--noheader", "--states=all", "--array", f"--jobs={first}", "--format=%T").split()
    assert set(states) <= {"CANCELLED", "COMPLETING"} and len(states) == 10
    Followed.of(system, given).system.remove(list(system.find(given).jobs), "enough")  # type: ignore[union-attr]


def test_a_job_that_a_person_cancels(slurm: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """It is removed, running or not, and nothing else of its array is touched."""
    followed = Followed.of(system, order(tmp_path, "cancelled", *SLEEP, count=2)).until_running()
    slurm.run("scancel", followed.jobs[0])
    followed.until(lambda one: len(one.known.open) == 1)
    assert (followed.last().kind, followed.last().state, followed.last().died) == ("CANCELLED", JobState.REMOVED, True)
    assert explained(followed) == ("executor", "slurm-cancelled")
    system.remove([*followed.jobs, "99999_7"], "enough")  # one that never was
    followed.until_over()
    assert followed.last(1).kind == "CANCELLED"


def test_jobs_that_are_cancelled_before_they_begin(slurm: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """One after the other, to the last of the array, which Slurm lists without its number."""
    given = order(tmp_path, "early", *SLEEP, count=3, extra=("--begin=now+1hour",))
    followed = Followed.of(system, given).until(lambda one: len(one.seen) == 3)
    for job in followed.jobs:
        slurm.run("scancel", job)
    followed.until_over()
    assert [followed.kinds(number) for number in range(3)] == [["PENDING", "CANCELLED"]] * 3
    single = Followed.of(system, order(tmp_path, "single", *SLEEP, extra=("--begin=now+1hour",)))
    system.remove(single.jobs, "enough")
    single.look(thorough=True)
    assert single.kinds() == ["CANCELLED"]


def test_a_job_over_its_memory(slurm: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """Without cgroups Slurm calls it FAILED by signal 9; what it printed says why, and so do we."""
    hog = ("python3", "-c", "import time; hog = b'x' * 300_000_000; time.sleep(600)")
    followed = Followed.of(system, order(tmp_path, "memory", *hog, memory_mb=32)).until_over()
    assert (followed.last().kind, followed.last().signal) == ("OUT_OF_MEMORY", 9)
    assert followed.last().detail["state"] == "FAILED"
    assert explained(followed) == ("executor", "memory-limit")


def test_what_slurm_refuses(slurm: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """Its own words reach the user, and nothing is in the queue."""
    given = order(tmp_path, "refused", *SLEEP, queue="no-such-queue")
    with pytest.raises(UsageError, match="nvalid partition"):
        system.submit(given)
    assert system.find(given) is None


def forget(slurm: Slurm) -> None:
    """Slurm's controller forgets all jobs: as it does some minutes after their end, and where its state is lost."""
    for daemon in ("slurmd", "slurmctld"):
        slurm.kill(daemon)
    for folder in ("d", "ctld"):
        shutil.rmtree(slurm.folder / folder)
    slurm.up()


def unknown_end(system: BatchSystem, given: Order) -> Followed:
    """A submission whose jobs are over, and nobody looked."""
    accepted = system.submit(given)
    Followed.of(system, given, accepted).until_over()
    return Followed.of(system, given, accepted)


def test_accounting_knows_what_slurm_forgot(accounted: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """Exit codes, who cancelled, and submissions of which nobody knows the id."""
    given = order(tmp_path, "books", "bash", "-c", "kill -9 $PPID", count=2)
    followed = unknown_end(system, given)
    gone_order = order(tmp_path, "gone", *SLEEP, count=3)
    gone = Followed.of(system, gone_order).until_running()
    accounted.run("scancel", gone.jobs[1])
    gone.until(lambda one: len(one.known.open) == 2)
    system.remove(gone.jobs, "enough")
    gone.until_over()
    fresh = Followed.of(system, gone_order, system.find(gone_order))
    accounted.until_accounted("books", 2)
    accounted.until_accounted("gone", 3)
    forget(accounted)
    followed.until_over()
    assert [(followed.last(number).kind, followed.last(number).signal) for number in (0, 1)] == [("FAILED", 9)] * 2
    fresh.until_over()
    assert fresh.last(1).kind == "CANCELLED" and fresh.last(1).reason == "cancelled by root"
    assert system.find(given) is not None


def test_a_node_that_fails(own: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """What ran there is over; Slurm runs the job again, unless it was told not to."""
    words = ("bash", "-c", f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 600")
    followed = Followed.of(system, order(tmp_path, "again", *words)).until_running()
    first = int(until((tmp_path / "pid").exists, "the first run") and (tmp_path / "pid").read_text())
    once = executor.make(tmp_path, {"poll": 0.1, "requeue": False})
    only = Followed.of(once, order(tmp_path, "once", *SLEEP)).until_running()
    own.run("scontrol", "update", f"NodeName={own.node}", "State=DOWN", "Reason=test")
    only.until_over()
    assert (only.last().kind, only.last().state, only.last().died) == ("NODE_FAIL", JobState.REMOVED, True)
    assert explained(only) == ("executor", "slurm-node")
    followed.until(lambda one: "REQUEUED" in one.kinds())
    assert followed.last().died and followed.known.open[0][1] is JobState.IDLE
    own.up()
    until(lambda: not alive(first), "the end of what ran there")  # else Slurm ends the second run for the first
    own.run("scontrol", "update", f"JobId={followed.jobs[0]}", "StartTime=now")  # Slurm waits two minutes
    followed.until(lambda one: one.kinds().count("RUNNING") == 2)
    again = followed.kinds().index("REQUEUED")
    assert followed.kinds()[again - 1 : again + 2] == [
        "RUNNING",
        "REQUEUED",
        "RUNNING",
    ]  # late words for the first may end it
    system.remove(followed.jobs, "enough")
    followed.until_over()


def test_a_node_that_is_drained(own: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """What runs goes on to its end, and what waits is not lost."""
    gate = tmp_path / "gate"
    waits = ("bash", "-c", f"until [ -e {gate} ]; do sleep 0.1; done")
    runs = Followed.of(system, order(tmp_path, "drained", *waits)).until_running()
    own.run("scontrol", "update", f"NodeName={own.node}", "State=DRAIN", "Reason=test")
    later = Followed.of(system, order(tmp_path, "later", *waits)).until(lambda one: one.kinds() == ["PENDING"])
    gate.touch()
    runs.until_over()
    assert runs.last().exit_code == 0
    later.look(thorough=True)
    assert later.known.open[0][1] is JobState.IDLE
    own.run("scontrol", "update", f"NodeName={own.node}", "State=RESUME")
    later.until_over()
    assert later.last().exit_code == 0


def test_jobs_that_a_node_cannot_start(own: Slurm, tmp_path: Path, zmumu_folder: Path) -> None:
    """Slurm holds them by itself; nobody would ever release them, so others take their place."""
    with contextlib.closing(BatchDesk("slurm", tmp_path, zmumu_folder)) as desk, own.broken_node():
        sitter = desk.begin(WAITS, jobs=1, executor="[executor.slurm]\npoll = 0.2")
        (given_up,) = until(lambda: (sitter.step(), desk.events("job.given_up"))[1], "a job that is given up", 180)
        assert (given_up["category"], given_up["reason"]) == ("executor", "launch failed requeued held")
        own.mend_node()
        (tmp_path / "go").touch()
        end = desk.to_the_end(sitter, 180)
        assert end.status.complete and end.status.rollbacks == 0
        desk.exactly_once()


def test_a_job_that_makes_room(slurm: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    spare = Followed.of(system, order(tmp_path, "spare", *SLEEP, queue="spare", cpus=8)).until_running()
    urgent = Followed.of(system, order(tmp_path, "urgent", "true", queue="urgent", cpus=8))
    spare.until_over()
    assert (spare.last().kind, spare.last().died) == ("PREEMPTED", True)
    assert explained(spare) == ("executor", "preempted")
    urgent.until_over()


def test_jobs_are_held_and_released(own: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """One that waits and one that runs: that is stopped, and what ran of it runs no more."""
    gate = tmp_path / "gate"
    waits = ("bash", "-c", f"until [ -e {gate} ]; do sleep 0.1; done")
    followed = Followed.of(system, order(tmp_path, "held", *waits, count=2, cpus=8))
    followed.until(lambda one: sorted(state for _, state in one.known.open.values()) == ["idle", "running"])
    running = next(number for number, (_, state) in followed.known.open.items() if state is JobState.RUNNING)
    system.hold([followed.known.open[1 - running][0]], "wait")
    followed.until(lambda one: one.known.open[1 - running][1] is JobState.HELD)
    assert not followed.last(1 - running).died
    system.hold(followed.jobs, "wait")
    followed.until(lambda one: {state for _, state in one.known.open.values()} == {JobState.HELD})
    assert "REQUEUED" in followed.kinds(running)
    assert any(one.died for one in followed.seen if one.number == running)
    gate.touch()
    again = followed.known.open[running][0]
    own.run("scontrol", "update", f"JobId={again}", "StartTime=now")  # Slurm waits two minutes
    system.release(followed.jobs)
    followed.until_over()
    assert followed.last(1 - running).exit_code == 0
    assert followed.last(running).state is JobState.COMPLETED  # Slurm may still have been taking away its first run


def test_a_controller_that_is_away(slurm: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """Nothing is told of jobs then; they go on, and are followed when it is back."""
    gate = tmp_path / "gate"
    waits = ("bash", "-c", f"until [ -e {gate} ]; do sleep 0.1; done")
    followed = Followed.of(system, order(tmp_path, "away", *waits)).until_running()
    slurm.kill("slurmctld", signal.SIGTERM)
    given = order(tmp_path, "not-now", "true")
    with pytest.raises(ExecutorUnavailable):
        system.reconcile([followed.known])
    with pytest.raises(ExecutorUnavailable):
        system.submit(given)
    gate.touch()
    slurm.up()
    assert system.find(given) is None
    followed.until_over()
    assert followed.last().exit_code == 0


def test_jobs_that_slurm_forgot(own: Slurm, system: BatchSystem, tmp_path: Path) -> None:
    """Without accounting, a job that ended left word of it; of another it is not known, and it is lost."""
    ended, killed = (
        unknown_end(system, order(tmp_path, "ended", "bash", "-c", "exit 4")),
        unknown_end(system, order(tmp_path, "killed", "bash", "-c", "kill -9 $PPID")),
    )
    forget(own)
    again = executor.make(tmp_path, {"poll": 0.1})
    other = again.submit(order(tmp_path, "other", "true", extra=("--hold",)))
    assert set(other.jobs) & {*ended.jobs, *killed.jobs}, "it has an id that one of them had"
    ended.look()
    assert (ended.last().kind, ended.last().exit_code) == ("FAILED", 4)
    killed.look()
    queue = ("squeue", "--states=all", "--format=%A %j %T %r %V %e")
    assert killed.known.open, f"what is lost is found by reconciling only, and Slurm has: {own.run(*queue)}"
    killed.look(thorough=True)
    assert (killed.last().kind, killed.last().state, killed.last().died) == ("LOST", JobState.LOST, True)
    assert system.find(order(tmp_path, "ended", "true")) is not None


def test_an_analysis_that_much_befalls_is_processed_once(own: Slurm, tmp_path: Path, zmumu_folder: Path) -> None:
    """A job over its time, one cancelled, one over its memory, a node drained and failed: nobody has to do anything."""
    with contextlib.closing(BatchDesk("slurm", tmp_path, zmumu_folder)) as desk:
        sitter = desk.begin(WAITS, jobs=4, executor='memory = "500MB"\n[executor.slurm]\npoll = 0.2\nrequeue = false')
        until(lambda: (sitter.step(), len(desk.running()) == 4)[1], "four jobs run", 180)
        until(lambda: len(desk.rows("SELECT 1 FROM processes WHERE delivered > 0")) == 4, "four processes have files")
        late, cancelled, hungry, left = desk.running()
        own.run("scontrol", "update", f"NodeName={own.node}", "State=DRAIN", "Reason=test")
        own.run("scontrol", "update", f"JobId={late}", "TimeLimit=0")
        own.run("scancel", cancelled)
        (tmp_path / f"hog-{hungry}").touch()
        until(lambda: (sitter.step(), len(desk.rows(ROLLED_BACK)) == 3)[1], "three processes are rolled back", 180)
        own.run("scontrol", "update", f"NodeName={own.node}", "State=DOWN", "Reason=test")
        until(lambda: (sitter.step(), len(desk.rows(ROLLED_BACK)) == 4)[1], "the fourth, too")
        own.run("scontrol", "update", f"NodeName={own.node}", "State=RESUME")
        (tmp_path / "go").touch()
        end = desk.to_the_end(sitter, 180)
        assert end.status.complete and not end.problems
        desk.exactly_once()
        jobs = {row["batch_id"]: (row["state"], row["reason"]) for row in desk.rows(ENDS)}
        assert jobs[late] == ("completed", "it ran longer than its time limit")
        assert jobs[cancelled] == ("removed", "cancelled")
        assert jobs[hungry] == ("completed", "it used more memory than it asked for")
        assert jobs[left][0] == "removed" and str(jobs[left][1]).startswith("its node failed")
        assert "lost" not in {state for state, _ in jobs.values()}
        reasons = [row["reason"] for row in desk.rows(ROLLED_BACK)]
        assert f"its job {hungry} ended by signal 9: it used more memory than it asked for" in reasons


ROLLED_BACK = "SELECT reason FROM processes WHERE state = 'rolled_back' AND reason <> 'nothing to do'"
ENDS = "SELECT batch_id, state, reason FROM jobs"
