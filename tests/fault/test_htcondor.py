"""HTCondor: the real one, with what happens to jobs in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors import htcondor as executor
from bookkeeper.executors.batch import BatchSystem, Known, Order
from bookkeeper.failures import Evidence, explain_failure
from bookkeeper_schema.states import JobState
from following import Followed, order
from services import condor as service
from services.condor import Pool
from workbench import alive, until

pytestmark = pytest.mark.fault

SLEEP = ("/bin/sleep", "600")


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    running = service.shared()
    monkeypatch.setenv("CONDOR_CONFIG", running.config)
    import htcondor2

    htcondor2.reload_config()  # it is read once, when it is first imported
    yield running
    running.clear()


@pytest.fixture
def system(pool: Pool, tmp_path: Path) -> Iterator[BatchSystem]:
    made = executor.make(tmp_path, {})
    yield made
    made.close()


def queued(pool: Pool, batch: str) -> list[str]:
    """The numbers of the jobs of a submission that are in the queue."""
    return pool.tool("condor_q", batch, "-af", "ProcId").split()


def clean(followed: Followed) -> None:
    """Take what is left of a submission out of the queue: others want its slots."""
    followed.system.remove(followed.jobs, "the test is over")


def test_jobs_run_and_are_found_again(system: BatchSystem, tmp_path: Path) -> None:
    """Each job knows its id and its environment; the tag finds them, in the queue and in the history."""
    words = (
        'echo $BOOKKEEPER_JOB_ID "$WORDS" "$1"; test -n "$PATH"; echo oops >&2; exit $((${BOOKKEEPER_JOB_ID#*.} * 3))'
    )
    odd = 'it\'s $(HOME); "x" %d\\'
    given = order(tmp_path, "tag-1", "/bin/bash", "-c", words, "-", odd, count=3, environment={"WORDS": odd, "A": ""})
    assert system.find(given) is None
    accepted = system.submit(given)
    assert accepted.jobs == tuple(f"{accepted.batch_id}.{number}" for number in range(3))
    assert executor.make(tmp_path, {}).find(given) == accepted
    followed = Followed.of(system, given, accepted).until_over()
    assert [followed.last(number).exit_code for number in range(3)] == [0, 3, 6]
    assert followed.kinds(1) == ["submitted", "running", "terminated"]
    assert (given.folder / "out.2").read_text() == f"{accepted.jobs[2]} {odd} {odd}\n"
    assert (given.folder / "err.2").read_text() == "oops\n"
    assert system.find(given) == accepted  # also when all of it is over
    assert system.reconcile([followed.known]) == {}


def test_what_is_asked_for_is_in_the_ad(system: BatchSystem, pool: Pool, tmp_path: Path) -> None:
    given = order(
        tmp_path, "asks", *SLEEP, memory_mb=200.0, disk_mb=3.0, cpus=2, run_time_s=3600.0, queue="longlunch",
        account="group_cms", extra=("+Colour = \"red\"", "priority = 5", "requirements = false"),
    )  # fmt: skip
    followed = Followed.of(system, given)
    names = [
        "RequestMemory",
        "RequestDisk",
        "RequestCpus",
        "MaxRuntime",
        "JobFlavour",
        "AcctGroup",
        "Colour",
        "JobPrio",
    ]
    said = pool.tool("condor_q", followed.known.batch_id, "-af", *names).split()
    assert said == ["200", "3072", "2", "3600", "longlunch", "group_cms", "red", "5"]
    clean(followed)
    followed.until_over()
    assert (followed.last().state, followed.last().reason) == (JobState.REMOVED, "the test is over (by user hepuser)")


@pytest.mark.parametrize("extra", ["requirements = (((", "priority = high", "+Foo = ("])
def test_what_htcondor_refuses_is_told_and_not_asked_again(system: BatchSystem, tmp_path: Path, extra: str) -> None:
    given = order(tmp_path, "refused", *SLEEP, extra=(extra,))
    with pytest.raises(UsageError, match="HTCondor refuses these jobs"):
        system.submit(given)
    assert system.find(given) is None


def test_held_released_and_removed_with_reasons(system: BatchSystem, tmp_path: Path) -> None:
    followed = Followed.of(system, order(tmp_path, "people", *SLEEP, count=2)).until_running()
    system.hold(followed.jobs[:1], "somebody looks at it")
    followed.until(lambda one: one.last().kind == "held")
    held = followed.last()
    assert (held.state, held.died, held.hold_code) == (JobState.HELD, True, 1)
    assert "somebody looks at it" in str(held.reason)
    system.release(followed.jobs[:1])
    followed.until(lambda one: one.last().kind == "running")
    assert not followed.last().died  # it was told dead when it was held
    system.remove([*followed.jobs, "999999.0"], "enough")  # one that never was is none
    followed.until_over()
    assert all(
        followed.last(one).state is JobState.REMOVED and "enough" in str(followed.last(one).reason) for one in (0, 1)
    )


def test_over_its_memory_evicted_and_killed(system: BatchSystem, pool: Pool, tmp_path: Path) -> None:
    """Three jobs at once: one uses more than it asked for, one has to leave its slot, one is killed by a signal."""
    hog = "import time; hog = bytearray(400 << 20); hog[::4096] = b'x' * len(hog[::4096]); time.sleep(600)"
    words = 'case ${BOOKKEEPER_JOB_ID#*.} in 0) exec python3 -c "$1";; 1) exec sleep 600;; 2) kill -9 $BASHPID;; esac'
    followed = Followed.of(
        system, order(tmp_path, "three", "/bin/bash", "-c", words, "-", hog, count=3, memory_mb=64.0)
    )
    followed.until(lambda one: "running" in one.kinds(1))
    pool.tool("condor_vacate_job", "-fast", followed.known.open[1][0])
    followed.until(lambda one: "evicted" in one.kinds(1) and "held" in one.kinds(0) and 2 not in one.known.open)
    assert (followed.last(2).kind, followed.last(2).signal, followed.last(2).exit_code) == ("terminated", 9, None)
    evicted = next(one for one in followed.seen if one.number == 1 and one.kind == "evicted")
    assert evicted.died and evicted.state is JobState.IDLE and evicted.reason
    held = next(one for one in followed.seen if one.number == 0 and one.kind == "held")
    said = Evidence(message=str(held.reason), hold_code=held.hold_code, hold_subcode=held.hold_subcode, state="HELD")
    assert explain_failure(said).category == "executor" and "memory" in str(held.reason)
    clean(followed)


def test_daemons_are_killed(system: BatchSystem, pool: Pool, tmp_path: Path) -> None:
    """A killed shadow is told at the next start, a killed starter as an eviction; a killed schedd costs nothing."""
    followed = Followed.of(system, order(tmp_path, "daemons", *SLEEP, count=3)).until_running()
    shadow, starter, schedd = (followed.known.open[number][0] for number in range(3))
    pool.kill("condor_shadow", shadow)
    pool.kill_starter_of(_payload(pool, starter).pid)
    followed.until(lambda one: one.kinds(0).count("running") == 2 and one.kinds(1).count("running") == 2)
    assert [one.died for one in followed.seen if one.number == 0 and one.kind == "running"] == [False, True]
    assert "evicted" in followed.kinds(1)
    before = list(pool.daemons("condor_schedd"))
    with pool.nobody_starts_daemons():
        pool.kill("condor_schedd")
        until(lambda: not any(alive(one.pid) for one in before), "the schedd is dead")
        with pytest.raises(ExecutorUnavailable):
            system.hold([schedd], "nobody hears that")
    followed.until(lambda one: one.kinds(2)[-1:] == ["reconnected"])
    assert not any(one.died for one in followed.seen if one.number == 2)
    clean(followed)  # the same object: it finds the schedd where it is now
    followed.until_over()


def _payload(pool: Pool, job: str) -> psutil.Process:
    """The process that a job of this pool runs."""
    (startd,) = pool.daemons("condor_startd")
    (found,) = (
        one
        for one in startd.children(recursive=True)
        if one.name() == "sleep" and one.environ().get("BOOKKEEPER_JOB_ID") == job
    )
    return found


# -- submitted once -----------------------------------------------------------------------------------------------------

SUBMITTER = """
    import os, sys
    from pathlib import Path
    from bookkeeper.executors import htcondor
    from bookkeeper.executors.htcondor.access import AccessPoint
    from following import order
    folder, where = Path(sys.argv[1]), sys.argv[2]
    given = order(folder, "once", "/bin/sleep", "600", count=20)
    if where == "before":
        AccessPoint.submit = lambda *_: os.kill(os.getpid(), 9)
    htcondor.make(folder, {}).submit(given)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_between_submitting_and_telling_it_is_submitted_once(
    system: BatchSystem, pool: Pool, tmp_path: Path, where: str
) -> None:
    """A real process is killed when it is about to submit, and when it has: whoever comes next finds what there is."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SUBMITTER), str(tmp_path), where],
        env={**pool.environment, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    given = order(tmp_path, "once", *SLEEP, count=20)
    found = system.find(given)
    assert (found is None) is (where == "before")
    accepted = found or system.submit(given)
    assert system.find(given) == accepted
    queued = pool.tool(
        "condor_q", "-constraint", f'BookkeeperTag == "once" && ClusterId >= {accepted.batch_id}', "-af", "ProcId"
    )
    assert sorted(map(int, queued.split())) == list(range(20))
    everything = pool.tool("condor_q", "-constraint", f'Iwd == "{given.folder}"', "-af", "ClusterId").split()
    assert set(everything) == {accepted.batch_id} and len(everything) == 20
    system.remove(accepted.jobs, "the test is over")


# -- many, and far away -------------------------------------------------------------------------------------------------


def test_many_jobs_are_made_as_others_start_and_removed_before(pool: Pool, tmp_path: Path) -> None:
    """Jobs that are not made yet are not lost; removed with all others, they are told removed."""
    system = executor.make(tmp_path, {"max_idle": 2})
    followed = Followed.of(system, order(tmp_path, "many", *SLEEP, count=60, extra=("requirements = false",)))
    followed.until(lambda one: sum(state is JobState.IDLE for _, state in one.known.open.values()) >= 2)
    assert system.reconcile([followed.known]) == {}
    system.remove(followed.jobs, "nothing is left to do")
    followed.until_over()
    assert all(followed.last(number).state is JobState.REMOVED for number in range(60))


def test_a_job_that_is_released_at_once_runs_again(system: BatchSystem, tmp_path: Path) -> None:
    """Its shadow has not ended yet: released before that, it would wait for something else to happen in the queue."""
    followed = Followed.of(system, order(tmp_path, "at once", *SLEEP))
    try:
        followed.until(lambda it: "running" in it.kinds())
        system.hold(followed.jobs, "a moment")
        system.release(followed.jobs)
        followed.until(lambda it: it.kinds().count("running") == 2, 180)
    finally:
        clean(followed)


def test_what_only_the_schedd_knows_is_reconciled(system: BatchSystem, pool: Pool, tmp_path: Path) -> None:
    """The log is gone: the queue and the history tell, once; a job that they never had is lost."""
    given = order(tmp_path, "lost log", "/bin/bash", "-c", "exit 4")
    followed = Followed.of(system, given)
    log = given.folder / "events.log"
    followed.until_over()
    until(lambda: queued(pool, followed.known.batch_id) == [], "the job is in the history")
    fresh = Followed.of(system, given, system.find(given))
    log.unlink()
    fresh.look(thorough=True)
    assert (fresh.last().state, fresh.last().exit_code, fresh.last().died) == (JobState.COMPLETED, 4, True)
    never = Known(7, "x", given.folder, "999999", None, 1, {0: ("999999.0", JobState.IDLE)}, given.asks)
    (lost,) = system.reconcile([never])[7]
    assert (lost.state, lost.died) == (JobState.LOST, True)


def spooled(folder: Path, tag: str, *command: str, **more: object) -> Order:
    return order(folder, tag, *command, transfer="files", **more)


def test_spooled_jobs_are_followed_fetched_and_forgotten(pool: Pool, tmp_path: Path) -> None:
    """Their files and logs are on the access point: it is asked about them, and gives them back."""
    system = executor.make(tmp_path, {"spool": True, "poll": 0.2, "schedd": "schedd@condor.test"})
    given = spooled(tmp_path, "spooled", "/bin/bash", "-c", "echo said; exit 3", count=2)
    followed = Followed.of(system, given).until_over()
    accepted = system.find(given)
    assert accepted is not None and accepted.batch_id == followed.known.batch_id
    assert all((one.exit_code, one.state) == (3, JobState.COMPLETED) for one in map(followed.last, (0, 1)))
    for number in (0, 1):
        system.fetch(followed.known, number)
        assert (given.folder / f"out.{number}").read_text() == "said\n"
    assert len(queued(pool, accepted.batch_id)) == 2
    system.forget(followed.known)
    until(lambda: queued(pool, accepted.batch_id) == [], "the access point forgets them")


def test_a_spooled_submission_whose_files_did_not_come_is_withdrawn(pool: Pool, tmp_path: Path) -> None:
    import htcondor2

    from bookkeeper.executors.htcondor.description import description
    from bookkeeper.executors.htcondor.options import Options

    options = Options(spool=True)
    given = spooled(tmp_path, "half", *SLEEP)
    htcondor2.Schedd().submit(htcondor2.Submit(description(given, options)), count=1, spool=True)  # and killed here
    system = executor.make(tmp_path, {"spool": True})
    assert system.find(given) is None
    assert system.find(given) is None  # now it is in the history
    assert (
        pool.tool("condor_q", "-constraint", 'BookkeeperTag == "half" && JobStatus != 3', "-af", "ProcId").split() == []
    )
