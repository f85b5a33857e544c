"""A DAG on a real HTCondor pool: jobs fail, are killed, held, removed; DAGMan is killed; every file counts once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bookkeeper import dagman, projects
from bookkeeper.catalog import create, open_existing
from bookkeeper.spec import load
from commandline import ok
from services import dagpool
from workbench import until

pytestmark = [pytest.mark.acceptance, pytest.mark.fault]

SPEC = """
[project]
name = "p"
files = ["data/*.txt"]
max_attempts = 2
[job]
command = ["/bin/sh", "run.sh", "{output}", "{inputs}"]
partition_by = { files = 1 }
[output]
name = "out-{partition}.txt"
destination = "out/"
[executor]
jobs = 20
extra = ["on_exit_hold = ExitBySignal && BookkeeperNode == \\"part-0009\\""]
[retry]
identical = 0
node_failures = 0
[retry.unknown]
base_delay = 0
[retry.executor]
base_delay = 0
[retry.analysis_crash]
base_delay = 0
"""

# What goes wrong is in the name of the file: once, or until somebody mends it.
RUN = """
out=$1
name=$(basename "$2" .txt)
tell() { echo $$ > "at/$name"; }
first() { mkdir "seen/$name" 2>/dev/null; }
case $name in
*-fails) first && { echo "segmentation violation" >&2; exit 3; } ;;
*-broken) [ -e mended ] || { echo "no such branch" >&2; exit 5; } ;;
*-dies | *-held) first && kill -9 "$(cut -d " " -f 4 /proc/$PPID/stat)" ;;
*-removed | *-killed) first && { tell; exec sleep 600; } ;;
*-runs) tell; while [ ! -e go ]; do sleep 0.1; done ;;
esac
cat "$2" > "$out"
"""

NAMES = (
    *(f"{number:02d}-good" for number in range(5)),
    "05-fails",
    "06-broken",
    "07-dies",
    "08-removed",
    "09-held",
    "10-killed",
    "11-runs",
)


@pytest.fixture(scope="module")
def pool() -> Iterator[dagpool.Pool]:
    with dagpool.started("dag") as one:
        yield one


@pytest.fixture
def here(tmp_path: Path, pool: dagpool.Pool, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "at", "seen", "out"):
        (tmp_path / name).mkdir()
    for name in NAMES:
        (tmp_path / "data" / f"{name}.txt").write_text(f"{name}\n")
    (tmp_path / "spec.toml").write_text(SPEC)
    (tmp_path / "run.sh").write_text(RUN)
    pool.use(monkeypatch)
    create("sqlite:///bookkeeper.db").close()
    return tmp_path


def at_work(here: Path, *names: str) -> None:
    """Wait until these jobs are in the middle of their work."""
    until(lambda: all((here / "at" / name).exists() for name in names), f"{names} did not run", 180)


def node_of(name: str) -> str:
    return f"part-{NAMES.index(name):04d}"


def states(here: Path) -> dict[str, str]:
    return {one.node: one.state for one in dagman.look(here / "dag").nodes}


def job_of(pool: dagpool.Pool, name: str) -> str:
    (ad,) = pool.schedd().query(f'BookkeeperNode == "{node_of(name)}"', ["ClusterId"])
    return f"{ad['ClusterId']}.0"


def test_a_dag_in_which_everything_goes_wrong_ends_with_every_file_once(here: Path, pool: dagpool.Pool) -> None:
    import htcondor2

    with closing(open_existing("sqlite:///bookkeeper.db")) as database:
        made = dagman.make(load(here / "spec.toml"), database, here / "dag", later=1, held_for=1)
    assert len(made.nodes) == len(NAMES)
    batch, fresh = dagman.submit(here / "dag")
    assert (dagman.submit(here / "dag"), fresh) == ((batch, False), True)

    at_work(here, "08-removed", "10-killed", "11-runs")
    pool.kill_dagman(batch)  # while jobs run, and scripts
    twice = job_of(pool, "11-runs")
    pool.schedd().act(htcondor2.JobAction.Hold, [twice], reason=("somebody else first", 1))
    pool.schedd().act(htcondor2.JobAction.Remove, [job_of(pool, "08-removed")], reason=("not this one", 1))
    killed = ok("dag", "kill", "dag", node_of("10-killed"), "--reason", "its turn comes later", "--json").json
    assert killed["removed"] == {node_of("10-killed"): 1}

    until(lambda: states(here)[node_of("11-runs")] == "held", "a job was not held", 180)
    pool.schedd().act(htcondor2.JobAction.Release, [twice], reason=("now", 1))
    until(lambda: states(here)[node_of("06-broken")] == "failed", "a broken file was not given up", 180)
    until(lambda: states(here)[node_of("10-killed")] == "failed", "a killed node went on", 180)
    told = ok("dag", "status", "dag").out
    assert "its turn comes later" in told and "parked" in told
    (here / "mended").touch()
    ok("project", "unpark", "p", "--all")
    again = ok("dag", "resubmit", "dag", "--json").json
    assert again["nodes"] == [node_of("06-broken"), node_of("10-killed")]
    until(lambda: states(here)[node_of("10-killed")] == "finished", "a resubmitted node did not run", 180)
    until(lambda: states(here)[node_of("11-runs")] == "running", "a job that was released did not run again", 180)
    (here / "go").touch()
    until(lambda: dagman.look(here / "dag").state in ("finished", "failed"), "the DAG did not end", 180)

    view = ok("dag", "status", "dag", "--json").json
    assert (view["state"], view["counts"]) == ("finished", {"finished": len(NAMES)}), story(here)
    published = sorted(path.read_text().strip() for path in (here / "out").glob("*.txt"))
    assert published == sorted(NAMES)
    with closing(open_existing("sqlite:///bookkeeper.db")) as database:
        assert projects.status(database, "p").complete
        reasons = " | ".join(row["reason"] or "" for row in database.rows("SELECT reason FROM processes"))
    for said in ("killed by signal 9", "signal 15", "after it was held", "its turn comes later", "exit code 3"):
        assert said in reasons, reasons
    ok("check")


def story(here: Path) -> str:
    return (here / "dag" / "scripts.log").read_text() + json.dumps(dagman.look(here / "dag").as_dict(), indent=1)


def test_a_dag_that_ended_incomplete_goes_on_with_its_recovery(here: Path, pool: dagpool.Pool) -> None:
    for name in NAMES:
        if not name.endswith(("00-good", "-broken")):
            (here / "data" / f"{name}.txt").unlink()
    (here / "spec.toml").write_text(SPEC.replace("max_attempts = 2", "max_attempts = 1"))
    batch = ok("dag", "make", "spec.toml", "--out", "dag", "--ask-again", "1s", "--submit", "--json").json["batch"]
    until(lambda: dagman.look(here / "dag").state == "failed", "the DAG did not end", 180)
    missing = json.loads((here / "dag" / "missing.json").read_text())
    assert [one["file"] for one in missing["files"]] == ["06-broken.txt"], story(here)
    until(
        lambda: not pool.schedd().query(f"ClusterId == {batch}", ["ClusterId"]), "DAGMan did not leave the queue", 180
    )
    (here / "mended").touch()
    ok("project", "unpark", "p", "--all")
    ok("dag", "submit", "dag")
    until(lambda: dagman.look(here / "dag").state == "finished", "the rescue DAG did not end well", 180)
    assert sorted(path.read_text() for path in (here / "out").glob("*.txt")) == [
        "00-good\n",
        "06-broken\n",
    ]
    ok("check")
