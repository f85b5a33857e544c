"""HTCondor: reading event logs, and handing over ten thousand jobs, against its own bindings alone; and the price of a job.

The last two need a pool, as the tests start one; where none can be started there are no such rows.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measure import Row, medians, seconds

JOBS = 10_000
FEW, ROUNDS = 24, 3

LOG = Path(__file__).parents[1] / "data" / "condor-logs" / "4x-kill-schedd.log"
"""The log of one job: submitted, running, sized, disconnected, reconnected, sized, terminated."""

BARE = """\
executable = /bin/sleep
arguments = 60
transfer_executable = false
initialdir = {folder}
output = out.$(Process)
error = err.$(Process)
log = events.log
max_idle = {max_idle}
requirements = false
"""


def rows() -> Iterator[Row]:
    """Yield what was measured; events a second and seconds a submission are printed beside."""
    with tempfile.TemporaryDirectory(prefix="bookkeeper-htcondor-", ignore_cleanup_errors=True) as name:
        yield _ingestion(Path(name))
        if os.getuid() == 0 and shutil.which("apt-get"):
            yield _submission(Path(name))
            yield _overhead(Path(name))


def _ingestion(folder: Path) -> Row:
    """All that jobs did, read, told and taken in by the words of `Seen`; `htcondor2.JobEventLog` only parses them."""
    import htcondor2

    from bookkeeper.executors import htcondor
    from bookkeeper.executors.batch import Asks, Known
    from bookkeeper_schema.states import JobState

    jobs = JOBS // 5
    one = LOG.read_text()
    log = folder / "events.log"
    log.write_text("".join(one.replace("(050.000.000)", f"(050.{number:03}.000)") for number in range(jobs)))
    events = one.count("\n...\n") * jobs
    open_ = {number: (f"50.{number}", JobState.IDLE) for number in range(jobs)}
    known = Known(1, "bench", folder, "50", None, jobs, open_, Asks())
    system = htcondor.make(folder, {})

    def ours() -> float:
        return seconds(lambda: len(system.follow(known)[1]))

    def alone() -> float:
        return seconds(lambda: sum(1 for _ in htcondor2.JobEventLog(str(log)).events(stop_after=0)))

    found = medians({"ours": ours, "alone": alone}, 5)
    for what, took in found.items():
        print(f"  event log, {what}: {events / took:,.0f} events/s", file=sys.stderr)
    return Row("event log, read and told", found["alone"] / found["ours"], "htcondor2.JobEventLog alone", 0.3, "higher")


def _submission(folder: Path) -> Row:
    """Jobs that wait in the queue; the floor is one call of the bindings for as many, made bit by bit as ours are."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import htcondor2

    from bookkeeper.executors import htcondor
    from bookkeeper.executors.batch import Asks, Order
    from bookkeeper.executors.htcondor.options import Options
    from services import condor

    condor.shared()
    htcondor2.reload_config()
    system, count = htcondor.make(folder, {}), iter(range(1 << 20))

    def place() -> Path:
        made = folder / f"submission-{next(count)}"
        made.mkdir()
        return made

    def remove(cluster: str) -> None:
        htcondor2.Schedd().act(htcondor2.JobAction.Remove, [cluster], reason=("measured", 0))

    def ours() -> float:
        where = place()
        order = Order(where.name, JOBS, ("/bin/sleep", "60"), where, Asks(extra=("requirements = false",)))
        took = seconds(lambda: system.submit(order))
        found = system.find(order)
        assert found is not None and len(found.jobs) == JOBS
        remove(found.batch_id)
        return took

    def bare() -> float:
        text = BARE.format(folder=place(), max_idle=Options().max_idle)
        began = time.perf_counter()
        made = htcondor2.Schedd().submit(htcondor2.Submit(text), count=JOBS)
        took = time.perf_counter() - began
        remove(str(made.cluster()))
        return took

    found = medians({"ours": ours, "bare": bare}, 5)
    print(f"  submit of {JOBS:,} jobs: {found['ours']:.3f} s; bare: {found['bare']:.3f} s", file=sys.stderr)
    return Row(f"submit {JOBS} jobs", found["ours"] / found["bare"], "htcondor2.Schedd.submit alone", 1.5, "lower")


def _overhead(folder: Path) -> Row:
    """Jobs that copy one file: as they are, and as processes of a project, proved, stored, committed and published."""
    import bookkeeper
    from bookkeeper.executors import htcondor
    from bookkeeper.executors.batch import Asks, Known, Order
    from bookkeeper.worker import Job, OutputSpec
    from bookkeeper_schema.states import JobState
    from rootfiles import make_small

    catalog = bookkeeper.create_catalog(f"sqlite:///{folder}/overhead.db")
    (folder / "in").mkdir()
    make_small(folder / "in" / "0.root", "zlib")
    for number in range(1, 2 * FEW * ROUNDS):
        shutil.copyfile(folder / "in" / "0.root", folder / "in" / f"{number}.root")
    catalog.declare_files(bookkeeper.scan([folder / "in"]))
    catalog.define_dataset("all", names=["*"])
    catalog.start_project("p", "all", files_per_process=1)
    output = OutputSpec("m-{process}.root", str(folder / "out"))
    job = Job("p", ("cp", "{inputs}", "{output}"), str(folder), (output,), files_per_process=1, wait=False)
    (folder / "job.json").write_text(job.as_json())
    system, count = htcondor.make(folder, {}), iter(range(1 << 20))

    def run(*command: str) -> float:
        place = folder / f"overhead-{next(count)}"
        place.mkdir()
        began = time.perf_counter()
        accepted = system.submit(Order(place.name, FEW, command, place, Asks()))
        open_ = {number: (one, JobState.IDLE) for number, one in enumerate(accepted.jobs)}
        position, ended = None, 0
        while ended < FEW:
            system.wait(0.05)
            known = Known(1, place.name, place, accepted.batch_id, position, FEW, open_, Asks())
            position, seen = system.follow(known)
            over = [one for one in seen if one.state is JobState.COMPLETED]
            assert all(one.exit_code == 0 for one in over), over
            ended += len(over)
        return time.perf_counter() - began

    worker = (sys.executable, "-P", "-m", "bookkeeper.worker", catalog.url, str(folder / "job.json"))
    bare = ("/bin/cp", str(folder / "in" / "0.root"), str(folder / "copy.root"))
    found = medians({"work": lambda: run(*worker), "bare": lambda: run(*bare)}, ROUNDS)
    catalog.close()
    print(f"  work over the bare command: {(found['work'] - found['bare']) / FEW:.2f} s a job", file=sys.stderr)
    return Row(f"{FEW} jobs of work on HTCondor", found["work"] / found["bare"], "the bare command", 4, "lower")


if __name__ == "__main__":
    import measure

    measure.show(rows())
