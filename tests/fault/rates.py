"""The rates run: failures as often as a real experiment has them, and an operator who mends one bug.

``python tests/fault/rates.py [--seeds N] [--seed FIRST] [--files 400] [--limit 1.25]``

Eight nodes process small files, four at a time. Of the processes that nothing else befalls, 3 % fail at stage-out, and
0.4 % lose their worker; of the deliveries (a file in a process) to all others, 3 % fail by something that passes, and the
process with them: 11 % of the processes (of each kind, there is at least one). 1 % of the files are corrupt; one node is
a black hole, where every process fails at once; and in the middle a version is installed that fails on every file. The
operator types ``submit``, and when that exits because the project paused itself: installs the version that is
mended, ``project resume``, ``submit``. Nothing else. In the end each good file is published exactly once, the corrupt
ones are parked, and every failure is seen as what it is.

**Waste** is the wall time, from start to end as the catalog has it, of all processes that were given files and were
rolled back: the black hole's too, and the time until it is noticed that a worker was killed.

**The unavoidable** part of it is

* the wall time of every process that failed by something that passes, or at stage-out;
* the time from the start of a process to the kill of its worker (what passes until that is noticed is not in it);
* for each corrupt file, the wall time of its first failure while alone on each of the first two nodes (the failure in
  company that finds it is not in it);
* for each node, the wall time of the first process that met the bug (those that met it later are not in it).

Nothing of the black hole is in it. Both are sums of the same clock, on the same machine, in the same run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import rates_scene
from rates_scene import PROJECT, Scene
from rates_verdict import Account, account, wrong

import bookkeeper
from bookkeeper import nodes
from bookkeeper.api import Catalog
from bookkeeper.errors import Incomplete, NotFound, Paused

TICK = 0.05

PATIENCE = 900.0
"""Seconds after which a command counts as stuck."""

SPOILED_AFTER = 0.4
"""The share of files that are committed when the bad version is installed."""


class Run:
    """One seed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.catalog = bookkeeper.open_catalog(scene.url)
        self.seconds = 0.0

    def to_the_end(self) -> list[str]:
        """Do what the operator does; return what is wrong on the way."""
        began = time.monotonic()
        problems = [
            *self._typed("submit", "rates.toml", end=Paused.exit_code, spoil=True),
            *self._mend(),
            *self._typed("project", "resume", PROJECT),
            *self._typed("submit", "rates.toml", end=Incomplete.exit_code),
        ]
        self.seconds = time.monotonic() - began
        return problems

    def _typed(self, *words: str, end: int = 0, spoil: bool = False) -> list[str]:
        """Type a command and wait for its end; ``spoil``: meanwhile, the bad version is installed."""
        command = self.scene.type(*words)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                code = command.wait(TICK)
                return [] if code == end else [f"`{' '.join(words)}` exited {code}, not {end}: see {self.scene.log}"]
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    command.kill()
                    command.wait()
                    return [f"`{' '.join(words)}` did not end in {PATIENCE:.0f} s"]
            if spoil and self._committed() >= SPOILED_AFTER * len(self.scene.files):
                self.scene.install("2")
                spoil = False

    def _mend(self) -> list[str]:
        """Install the version without the bug, as the pause asks for it."""
        self.scene.install("3")
        status = self.catalog.project(PROJECT).status()
        why = status.pause_reason or ""
        return [] if "'NoneType' object has no attribute 'pt'" in why else [f"the pause does not name the bug: {why!r}"]

    def _committed(self) -> int:
        try:
            return self.catalog.project(PROJECT).status().committed
        except NotFound:
            return 0


TABLE = "{:>5} {:>6} {:>9} {:>7} {:>6} {:>8} {:>9} {:>12} {:>6} {:>8}  {}"
HEADINGS = ("seed", "files", "processes", "failed", "parked", "excluded", "waste s", "unavoidable", "ratio", "seconds")


def told(run: Run, found: Account, verdict: str) -> str:
    """Return the lines about a run."""
    scene, catalog = run.scene, run.catalog
    parked = sum(1 for row in catalog.project(PROJECT).uncommitted() if row["state"] == "parked")
    excluded = ",".join(row["node"] for row in nodes.excluded(catalog.database)) or "-"
    line = TABLE.format(
        scene.seed,
        len(scene.files),
        found.processes,
        len(found.failed),
        parked,
        excluded,
        f"{found.waste.total():.1f}",
        f"{found.unavoidable.total():.1f}",
        f"{found.ratio:.2f}",
        f"{run.seconds:.0f}",
        verdict,
    )
    return "\n".join([line, *_by_kind(found), f"      {_by_category(catalog)}"])


def _by_kind(found: Account) -> list[str]:
    happened = Counter(row["kind"] for row in found.failed)
    return [
        f"      {kind:<10} {times:>3} processes, {found.waste[kind]:6.2f} s of waste, "
        f"{found.unavoidable[kind]:6.2f} s of it unavoidable"
        for kind, times in sorted(happened.items())
    ]


def _by_category(catalog: Catalog) -> str:
    rows = catalog.sql("SELECT category, count(*) AS n FROM failures GROUP BY category ORDER BY category")
    return "seen as: " + ", ".join(f"{row['n']} {row['category']}" for row in rows)


def main(words: list[str]) -> int:
    """Run the seeds; return 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--limit", type=float, default=1.25, help="how much waste, in units of the unavoidable")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a run that went well, too")
    asked = parser.parse_args(words)
    print(TABLE.format(*HEADINGS, ""), flush=True)
    bad = sum(not _one(seed, asked) for seed in range(asked.seed, asked.seed + asked.seeds))
    print(f"{asked.seeds} seeds, {bad} with something wrong" if bad else f"{asked.seeds} seeds, all as they must be")
    return 1 if bad else 0


def _one(seed: int, asked: argparse.Namespace) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"bookkeeper-rates-{seed}-")).resolve()
    scene = rates_scene.make(folder, seed, asked.files)
    run = Run(scene)
    with run.catalog as catalog:
        problems = run.to_the_end()
        found = account(scene, catalog)
        problems += wrong(scene, catalog, found, asked.limit)
        print(told(run, found, "WRONG" if problems else "good"), flush=True)
    for problem in problems:
        print(f"      {problem}")
    if problems or asked.keep:
        print(
            f"      look at it: cd {folder}; bookkeeper --catalog sqlite:///catalog.db failures {PROJECT}", flush=True
        )
    else:
        shutil.rmtree(folder)
    return not problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
