"""The chaos run: everything breaks, several people meddle, and in the end each event is there exactly once.

``python tests/fault/chaos.py --seeds N [--seed FIRST] [--files 200] [--workers 8]``

Real worker processes run a command that crashes, hangs, truncates, stays silent, reports wrongly, and kills or freezes
its own worker. Real operators submit, recover, check, pause, unpark and reopen at the same time; they and the workers are
killed and frozen at random instants. It goes on until the request is complete; then the published outputs are read.
Prints a line for each seed; exits 1 and keeps the folder where anything is wrong. Every choice comes from the seed
(instants are the machine's own, so two runs of a seed differ).
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import chaos_scene
import psutil
from chaos_people import Monkey, operators, workers
from chaos_scene import LEASE, PROJECT, Scene
from chaos_verdict import wrong

import bookkeeper
from bookkeeper.api import Catalog
from bookkeeper.errors import NotFound

TICK = 0.05
PATIENCE = 900.0
"""Seconds after which a run that is not complete counts as stuck."""


class Run:
    """One seed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.catalog = bookkeeper.open_catalog(scene.url)
        self.everybody = operators(scene, self._committed)
        self.monkey = Monkey(scene, self.everybody, strikes=len(scene.events) // 4)
        self.began = time.monotonic()

    def to_the_end(self) -> list[str]:
        """Run it; return what is wrong in the end."""
        try:
            while not self._stuck():
                self._until_complete()
                if self._settle():
                    return [
                        *dict.fromkeys(odd for one in self.everybody for odd in one.odd),
                        *wrong(self.scene, self.catalog),
                    ]
            return [f"not complete after {PATIENCE:.0f} s: {self._status()}"]
        finally:
            self._clear_the_field()
            self.catalog.close()

    def _until_complete(self) -> None:
        while not self._complete() and not self._stuck():
            self._turn(may_type=True)

    def _settle(self) -> bool:
        """Let everything come to rest; tell whether it is complete then, and nothing is left lying about."""
        deadline = time.monotonic() + 15
        while any(one.process for one in self.everybody) or workers(self.scene):
            self._turn(may_type=False)
            if time.monotonic() > deadline and self.catalog.expire() == 0:
                return self._stuck()
        self._retire()
        repair = next(one for one in self.everybody if one.name == "check")
        deadline = time.monotonic() + 5 * LEASE
        while self._complete() and time.monotonic() < deadline:
            repair.due = 0.0
            repair.turn(may_type=True)
            while repair.process:
                self._turn(may_type=False)
            if not self.catalog.check(notes=True):
                return True
            threading.Event().wait(LEASE / 2)
        return self._complete()

    def _retire(self) -> None:
        """Let those who only make trouble type no more."""
        for one in self.everybody:
            if one.name in ("pause", "reopen"):
                one.type = lambda choose: None

    def _turn(self, *, may_type: bool) -> None:
        self.monkey.turn(may_strike=may_type)
        for one in self.everybody:
            one.turn(may_type=may_type)
        threading.Event().wait(TICK)

    def _status(self) -> object:
        try:
            return self.catalog.project(PROJECT).status()
        except NotFound:
            return None

    def _complete(self) -> bool:
        status = self._status()
        return bool(status and status.complete and not status.live)  # type: ignore[attr-defined]

    def _stuck(self) -> bool:
        return time.monotonic() - self.began > PATIENCE

    def _committed(self) -> list[int]:
        return [row["id"] for row in self.catalog.sql("SELECT id FROM processes WHERE state = 'committed'")]

    def _clear_the_field(self) -> None:
        for one in self.everybody:
            if one.process is not None:
                one.process.kill()
                one.process.wait()
        for worker in workers(self.scene):
            with suppress(psutil.Error):
                worker.send_signal(signal.SIGKILL)

    def told(self) -> str:
        """Return the line about this run."""
        with bookkeeper.open_catalog(self.scene.url) as catalog:
            return _numbers(self, catalog)


def _numbers(run: Run, catalog: Catalog) -> str:
    states = {
        row["state"]: row["n"] for row in catalog.sql("SELECT state, count(*) AS n FROM processes GROUP BY state")
    }
    reasons: Counter[str] = Counter()
    for row in catalog.sql("SELECT reason FROM processes WHERE state = 'rolled_back'"):
        reasons[_kind(str(row["reason"]))] += 1
    projects = catalog.sql("SELECT count(*) AS n FROM projects")[0]["n"]
    happened = sum(1 for _ in run.scene.path("plan/happened").iterdir())
    parts = [
        f"{sum(states.values())} processes ({', '.join(f'{count} {state}' for state, count in sorted(states.items()))})",
        f"{happened} faults",
        f"{sum(run.monkey.struck.values())} strikes",
        f"{projects - 1} recoveries",
        f"{sum(one.typed for one in run.everybody)} commands",
        "partitions" if run.scene.partitioned else "pull",
        f"{time.monotonic() - run.began:.0f} s",
    ]
    why = ", ".join(f"{count} {kind}" for kind, count in reasons.most_common())
    return f"{', '.join(parts)}\n    rolled back: {why}"


def _kind(reason: str) -> str:
    """Return what kind of reason it is: without what is particular."""
    for sign, kind in KINDS.items():
        if sign in reason:
            return kind
    return reason[:60]


KINDS = {
    "SIGSEGV": "segfault", "lease expired": "lease expired", "max_wall": "max_wall", "exit code": "exit code",
    "wrote no output": "no output", "report, line": "bad report", "catalogued": "miscounted", "no file was consumed":
    "nothing consumed", "a partition counts whole": "partition not whole", "told to stop": "told to stop",
    "ended with the fence": "fenced by an operator", "guardian": "guardian killed", "the JSON": "truncated",
    "nothing to do": "nothing to do", "is paused": "paused", "SIGKILL": "killed", ".json": "truncated",
}  # fmt: skip


def main(words: list[str]) -> int:
    """Run the seeds; return 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    asked = parser.parse_args(words)
    bad = 0
    for seed in range(asked.seed, asked.seed + asked.seeds):
        bad += not _one(seed, asked.files, asked.workers)
    print(f"{asked.seeds} seeds, {bad} with something wrong" if bad else f"{asked.seeds} seeds, all exactly once")
    return 1 if bad else 0


def _one(seed: int, files: int, people: int) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"bookkeeper-chaos-{seed}-")).resolve()
    run = Run(chaos_scene.make(folder, seed, files, people))
    problems = run.to_the_end()
    verdict = "WRONG" if problems else f"{files} files exactly once"
    print(f"seed {seed}: {verdict}; {run.told()}", flush=True)
    if not problems:
        shutil.rmtree(folder)
        return True
    for problem in problems:
        print(f"    {problem}")
    print(f"    look at it: cd {folder}; bookkeeper --catalog sqlite:///catalog.db status {PROJECT}", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
