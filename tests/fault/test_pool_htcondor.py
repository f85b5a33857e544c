"""The demonstration's analysis on a real HTCondor pool where everything happens that happens to jobs, and nobody helps."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from poolscene import Scene, build, name_of
from services import condor
from workbench import until

pytestmark = [pytest.mark.fault, pytest.mark.slow]

EXECUTOR = 'kind = "htcondor"\njobs = 24\nmemory = "100MiB"\nmax_memory = "600MiB"'

PLAN = {2: "held", 5: "removed", 8: "evicted", 11: "memory", 14: "shadow", 17: "starter", 32: "startd", 50: "schedd"}
"""A startd that dies takes all that runs with it: nothing else is to be seen of those jobs."""
AWAY = 26
"""The file that cannot be reached at first."""

AGAIN = "was started again"
"""All that is known where a job ran again before anybody looked."""
AWAY_TOO_LONG = "Job disconnected too long"
"""What HTCondor says of a starter, too, where the startd is gone before the starter's death was noticed."""

FULL_FROM = 30
"""So many files are committed when the destination is full."""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of its own, which can be full."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def hit(pool: condor.Pool, scene: Scene, number: int) -> None:
    """Do to the job that reads a file what the plan says."""
    word, name = PLAN[number], name_of(number)
    payload, _, job = scene.reached(name)
    if word == "held":
        pool.tool("condor_hold", "-reason", "a person's", job)
    elif word == "removed":
        pool.tool("condor_rm", job)
    elif word == "evicted":
        pool.tool("condor_vacate_job", "-fast", job)
    elif word == "shadow":
        pool.kill("condor_shadow", job)
    elif word == "starter":
        pool.kill_starter_of(payload)
    elif word in ("startd", "schedd"):
        pool.kill(f"condor_{word}")
        if word == "schedd":  # its job goes on: it is the payload that waits to be hit
            psutil.Process(payload).kill()


def fill(scene: Scene) -> None:
    """Fill the destination when half of the files are committed; make room when somebody noticed."""
    committed = "SELECT committed AS n FROM requests"
    until(
        lambda: any(row["n"] >= FULL_FROM for row in scene.rows(committed)) or scene.fail_if_over(),
        "half of the files",
        600,
    )
    ballast = scene.out / ".ballast"
    with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(1 << 12))
    noticed = "SELECT count(*) AS n FROM processes WHERE reason LIKE '%disk is full%'"
    until(lambda: scene.rows(noticed)[0]["n"] or scene.fail_if_over(), "a process that finds the destination full", 600)
    ballast.unlink()


def test_sixty_jobs_end_without_a_human_command_whatever_happens_to_them(tmp_path: Path) -> None:
    pool = condor.shared()
    with small_disk(tmp_path / "out") as out:
        scene = build(tmp_path, PLAN, EXECUTOR, pool.environment, lease=600, out=out)
        away, there = tmp_path / "away.root", tmp_path / "data" / name_of(AWAY)
        there.rename(away)
        failures: list[BaseException] = []

        def aside(action: object, *words: object) -> threading.Thread:
            def run() -> None:
                try:
                    action(*words)  # type: ignore[operator]
                except BaseException as error:  # noqa: BLE001 - it is raised below, in the test's own thread
                    failures.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        def bring_back() -> None:
            until(lambda: scene.reasons(name_of(AWAY)) or scene.fail_if_over(), "a job that misses its input", 600)
            away.rename(there)

        scene.submit()
        threads: list[threading.Thread] = []
        try:
            threads += [aside(fill, scene), aside(bring_back)]
            for number in PLAN:
                hit(pool, scene, number)
            for thread in threads:
                thread.join()
            assert not failures, failures
            scene.finished()
        finally:
            scene.stop()
            for thread in threads:
                thread.join()
            pool.clear()
            print(scene.log[-6000:])
        told = {word: scene.reasons(name_of(number)) for number, word in PLAN.items()}
        print(told)
        expected = {
            "held": ["was held: a person's"], "removed": ["was removed: via condor_rm"], "evicted": ["was evicted"],
            "memory": ["memory usage exceeded"], "shadow": [AGAIN],
            "starter": ["was evicted: job not found at execution machine", AWAY_TOO_LONG, AGAIN],
            "startd": [AWAY_TOO_LONG], "schedd": ["killed by signal 9"],
        }  # fmt: skip
        wrong = {
            word: said for word, said in told.items() if not any(one.lower() in said.lower() for one in expected[word])
        }
        assert wrong == {}
