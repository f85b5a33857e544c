"""What Slurm is asked for, and what its words mean. The real one is in tests/acceptance/test_slurm.py."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors import slurm
from bookkeeper.executors.batch import HELD_ITSELF, Asks
from bookkeeper.executors.slurm import asking, commands, options, script, states
from bookkeeper.executors.slurm.asking import Standing
from bookkeeper_schema.states import JobState
from following import order

NOTHING = options.SlurmOptions()


@pytest.mark.parametrize(("seconds", "minutes"), [(0.5, 1), (60, 1), (60.1, 2), (3600, 60), (172_800, 2880)])
def test_times_are_whole_minutes_and_never_less_than_asked(seconds: float, minutes: int) -> None:
    assert options.minutes(seconds) == minutes


def test_what_is_asked_for() -> None:
    asks = Asks(memory_mb=1999.1, disk_mb=10, run_time_s=90, cpus=2, queue="long", account="atlas", extra=("-C cvmfs",))
    asked = options.words(asks, options.SlurmOptions.of({"qos": "high", "requeue": False, "poll": "1m"}))
    assert " ".join(asked) == (
        "--nodes=1 --ntasks=1 --open-mode=append --no-requeue --cpus-per-task=2 --mem=2000M --tmp=10M --time=2"
        " --partition=long --account=atlas --qos=high -C cvmfs"
    )
    assert "--mem" not in " ".join(options.words(Asks(), NOTHING))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--constraint=cvmfs", ["--constraint=cvmfs"]),
        ("#SBATCH --constraint='a&b'", ["--constraint=a&b"]),
        ("--gres gpu:1", ["--gres=gpu:1"]),
        ("--exclusive", ["--exclusive"]),
        ("-Cfast", ["-Cfast"]),
    ],
)
def test_further_options(line: str, words: list[str]) -> None:
    assert list(options.extra([line])) == words


@pytest.mark.parametrize(
    "line",
    [
        "--array=0-5", "--arr=0-5", "--output=x", "--wrap=rm", "--job-name=x", "--parsable", "--wait", "-a 1", "-o x",
        "--time=5", "-p long", "--mem=3G", "--export=NONE", "job.sh", "", "--constraint=a --array=1", "-C a -a 1",
        "--exclusive --wait", "--constraint='a", "--nice\0",
    ],
)  # fmt: skip
def test_further_options_that_are_refused(line: str) -> None:
    """What bookkeeper sets itself, what a key of its own is for, abbreviations of either, and two in one line."""
    with pytest.raises(UsageError) as refused:
        slurm.make(Path(), {}).check(Asks(extra=(line,)))
    assert "extra" in str(refused.value)


@pytest.mark.parametrize(
    "table", [{"pol": 1}, {"poll": 0}, {"poll": "soon"}, {"qos": 3}, {"requeue": "no"}, {"programs": ""}]
)
def test_tables_that_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        slurm.make(Path(), table)


@pytest.mark.parametrize("asks", [Asks(transfer="files"), Asks(container="image.sif")])
def test_what_slurm_does_not_do_is_said_at_once(asks: Asks) -> None:
    with pytest.raises(UsageError) as refused:
        slurm.make(Path(), {}).check(asks)
    assert refused.value.remedy


def test_a_dry_run_shows_what_would_be_run(tmp_path: Path) -> None:
    """Also where there is no Slurm; the script holds the environment, and is for its owner only."""
    given = order(
        tmp_path, "tag", "python", "a b.py", count=1002, run_time_s=60, environment={"A": "it's"}, proxy="/p q"
    )
    files = slurm.make(tmp_path, {"programs": "/no/such/folder"}).prepare(given)
    assert [path.name for path in files] == ["job.sh", "1.job.sh", "submit.sh"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    first, second = (shlex.split(line) for line in files[2].read_text().splitlines()[2:])
    assert {"--array=0-999", "--output=out.%a", "--job-name=bookkeeper-tag.0", "--time=1"} <= set(first)
    assert {"--array=0-1", "--output=out.1%3a", "--job-name=bookkeeper-tag.1"} <= set(second)
    body = files[0].read_text()
    assert "python 'a b.py'\n" in body and "X509_USER_PROXY='/p q'" in body
    with pytest.raises(ExecutorUnavailable, match="sbatch cannot be run") as away:
        slurm.make(tmp_path, {"programs": "/no/such/folder"}).submit(given)
    assert "login node" in away.value.remedy


def test_numbers_of_jobs_are_the_same_in_arrays_and_in_names() -> None:
    for number in (0, 7, 999, 1000, 2017, 9999):
        chunk, task = divmod(number, script.ARRAY)
        pattern = script.output_of(chunk, "out")
        assert pattern.replace("%3a", f"{task:03}").replace("%a", str(task)) == f"out.{number}"
        assert script.number_of(chunk, task) == number


def test_habits_of_the_shell_do_not_reach_slurm() -> None:
    shell = {"SQUEUE_FORMAT": "%i", "SLURM_JOB_ID": "7", "SBATCH_ARRAY_INX": "0-9", "SLURM_CONF": "/c", "HOME": "/h"}
    found = commands.environment({**shell, "SBATCH_ACCOUNT": "atlas", "BOOKKEEPER_PROCESS": "3:secret"})
    assert set(found) == {"SLURM_CONF", "HOME", "SBATCH_ACCOUNT", "LC_ALL", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN"}


def test_jobs_of_an_array_that_never_began_stand_in_one_line() -> None:
    assert list(asking._expanded("7_[0-2,5,8-12:2%4]")) == [f"7_{task}" for task in (0, 1, 2, 5, 8, 10, 12)]
    assert list(asking._expanded("7_3")) == ["7_3"] and list(asking._expanded("7")) == ["7"]


@pytest.mark.parametrize(
    ("text", "ended"), [("0:9", (0, 9)), ("3:0", (3, 0)), ("768", (3, 0)), ("9", (0, 9)), ("", (0, 0))]
)
def test_exit_codes(text: str, ended: tuple[int, int]) -> None:
    assert asking._ended(text) == ended


@pytest.mark.parametrize(
    ("word", "was", "kinds", "state"),
    [
        ("PENDING", JobState.INTENDED, ["PENDING"], JobState.IDLE),
        ("RUNNING", JobState.IDLE, ["RUNNING"], JobState.RUNNING),
        ("SUSPENDED", JobState.RUNNING, ["SUSPENDED"], JobState.SUSPENDED),
        ("COMPLETING", JobState.RUNNING, [], None),
        ("PENDING", JobState.RUNNING, ["REQUEUED"], JobState.IDLE),
        ("COMPLETED", JobState.IDLE, ["RUNNING", "COMPLETED"], JobState.COMPLETED),
        ("CANCELLED by 0", JobState.RUNNING, ["CANCELLED"], JobState.REMOVED),
        ("BOOT_FAIL", JobState.RUNNING, ["BOOT_FAIL"], JobState.REMOVED),
        ("DEADLINE", JobState.RUNNING, ["DEADLINE"], JobState.REMOVED),
        ("a word of tomorrow", JobState.RUNNING, [], None),
    ],
)
def test_states(word: str, was: JobState, kinds: list[str], state: JobState | None) -> None:
    now = Standing("7_0", "n", word, node="c12", started_at=5.0, ended_at=9.0, submitted_at=1.0)
    seen = list(states.happened(0, was, 0, now, Path("/no/such/err.0")))
    assert [one.kind for one in seen] == kinds
    assert (seen[-1].state if seen else None) is state
    if state in (JobState.COMPLETED, JobState.REMOVED):
        assert seen[-1].died and seen[-1].at == 9.0


def test_a_job_that_ran_twice_between_two_looks_died_once() -> None:
    now = Standing("7_0", "n", "RUNNING", node="c12", restarts=1, started_at=5.0, submitted_at=1.0)
    seen = list(states.happened(0, JobState.RUNNING, 0, now, Path("err.0")))
    assert [(one.kind, one.died) for one in seen] == [("REQUEUED", True), ("RUNNING", False)]
    assert not list(states.happened(0, JobState.RUNNING, 1, now, Path("err.0")))


def test_a_job_that_no_node_can_run() -> None:
    """Slurm says that it failed by signal 1, which it never had."""
    (end,) = states.happened(
        0, JobState.IDLE, 0, Standing("7_0", "n", "FAILED", "BadConstraints", signal=1), Path("err.0")
    )
    assert (end.kind, end.state, end.signal, end.exit_code) == ("LAUNCH_FAILED", JobState.REMOVED, None, None)
    assert "BadConstraints: no node is such as it asks for" in (end.reason or "")


def test_a_folder_that_nodes_do_not_see() -> None:
    now = Standing("7_0", "n", "FAILED", signal=53, node="c12", started_at=5.0)
    (*_, end) = states.happened(0, JobState.IDLE, 0, now, Path("/away/err.0"))
    assert end.kind == "LAUNCH_FAILED" and "do nodes see that folder" in (end.reason or "")


def test_why_a_job_waits_is_told_once() -> None:
    assert states.stuck(Standing("7_0", "n", "PENDING", "Priority")) == ""
    assert states.stuck(Standing("7_0", "n", "PENDING", "InvalidQOS")) == "InvalidQOS"
    assert states.state_of(Standing("7_0", "n", "PENDING", "JobHeldUser")) is JobState.HELD
    assert states.state_of(Standing("7_0", "n", "PENDING", "launch failed requeued held")) is JobState.HELD


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("JobHeldUser", None),
        ("JobHeldAdmin", None),
        ("job requeued in held state", None),
        ("launch failed requeued held", HELD_ITSELF),
        ("launch_failed_requeued_held", HELD_ITSELF),
        ("JobHoldMaxRequeue", HELD_ITSELF),
    ],
)
def test_who_holds_a_job(reason: str, code: int | None) -> None:
    (held,) = states.happened(0, JobState.IDLE, 0, Standing("7_0", "n", "PENDING", reason), Path("err.0"))
    assert (held.state, held.hold_code, held.reason) == (JobState.HELD, code, reason)


@pytest.mark.parametrize(("code", "signal"), [(0, 9), (137, 0)])
def test_memory_is_named_whoever_of_the_job_was_killed_first(tmp_path: Path, code: int, signal: int) -> None:
    """Slurm kills a job's processes one after the other: its script may still tell of the end of its command."""
    err = tmp_path / "err.0"
    standing = Standing("7_0", "n", "FAILED", node="wn1", code=code, signal=signal, started_at=1.0, ended_at=2.0)
    err.write_text("slurmstepd: error: Exceeded job memory limit\n")
    (end,) = states.happened(0, JobState.RUNNING, 0, standing, err)
    assert (end.kind, end.signal, end.exit_code) == ("OUT_OF_MEMORY", 9, None)
    err.write_text("Killed\n")
    (end,) = states.happened(0, JobState.RUNNING, 0, standing, err)
    assert (end.kind, end.signal, end.exit_code) == ("FAILED", signal or None, code or None)
