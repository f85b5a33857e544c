"""A real Slurm for tests: one node that pretends eight cores, on free ports, in a folder of its own, with accounting or without.

It needs root and Debian's packages, which the script installs. Started once in each process of tests that asks.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from services import AT_END

SCRIPT = Path(__file__).parent / "batch" / "slurm-up.sh"


@dataclass
class Slurm:
    """A Slurm that runs. Commands find it by ``environment``."""

    folder: Path
    environment: dict[str, str]
    node: str = ""

    def run(self, *words: str) -> str:
        """Run one of its commands and return what it prints."""
        done = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def pid(self, daemon: str) -> int:
        """Return the process id of a daemon: slurmctld, slurmd, slurmdbd, munged."""
        return int((self.folder / "run" / f"{daemon}.pid").read_text())

    def until_accounted(self, tag: str, jobs: int) -> None:
        """Wait until the ends of a submission's jobs are in the books: Slurm's controller enters them when it has time."""
        words = ("sacct", "--allocations", "--noheader", "--starttime=now-1hour", "--format=JobName%60,End%30")
        while sum(f"-{tag}." in line and "Unknown" not in line for line in self.run(*words).splitlines()) < jobs:
            select.select([], [], [], 0.1)

    def kill(self, daemon: str, number: int = signal.SIGKILL) -> None:
        """Kill a daemon, and wait until it is dead. Told by SIGTERM, the controller notes first what it knows of jobs."""
        pid = self.pid(daemon)
        os.kill(pid, number)
        with contextlib.suppress(psutil.NoSuchProcess):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                select.select([], [], [], 0.01)
        (self.folder / "run" / f"{daemon}.pid").unlink(missing_ok=True)

    @contextlib.contextmanager
    def broken_node(self) -> Iterator[None]:
        """Have a node that takes jobs and cannot start them, for the length of a block or until `mend_node`."""
        self._spool.rename(self._away)
        self._spool.touch()
        try:
            yield
        finally:
            self.mend_node()

    def mend_node(self) -> None:
        """Let the node start jobs again."""
        if self._away.exists():
            self._spool.unlink()
            self._away.rename(self._spool)

    @property
    def _spool(self) -> Path:
        return self.folder / "d"

    @property
    def _away(self) -> Path:
        return self.folder / "d.away"

    def up(self) -> None:
        """Start what does not run of it."""
        told = self._script("up")
        for name, value in re.findall(r"^export (\w+)=(.*)$", told, re.MULTILINE):
            self.environment[name] = value
        self.node = self.run("sinfo", "--noheader", "--format=%n").split()[0]

    def ready(self) -> None:
        """Wait until its node takes jobs; one that Slurm gave up is taken back, and why it was is printed."""
        asked = ("sinfo", "--noheader", f"--nodes={self.node}", "--format=%T|%E")
        for _ in range(600):
            state, _, why = self.run(*asked).splitlines()[0].partition("|")
            if state in ("idle", "mixed", "allocated", "completing"):
                return
            print(f"node {self.node} is {state}: {why}")
            if state.startswith(("down", "drain")):
                self.run("scontrol", "update", f"NodeName={self.node}", "State=RESUME")
            select.select([], [], [], 0.2)
        raise AssertionError(f"node {self.node} takes no jobs: it is {state}, {why}")

    def down(self) -> None:
        """Stop it."""
        self._script("down")

    def _script(self, verb: str) -> str:
        done = subprocess.run(
            ["bash", str(SCRIPT), verb], env={**os.environ, **self.environment}, capture_output=True,
            stdin=subprocess.DEVNULL, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def running(*, accounting: bool = False) -> Iterator[Slurm]:
    """Start a Slurm for the length of a block."""
    needed()
    folder = Path(tempfile.mkdtemp(prefix="bk-slurm-"))
    folder.chmod(0o755)
    settings = {"SLURM_STATE": str(folder), "SLURM_PORT": str(_ports()), "SLURM_DB": str(int(accounting))}
    slurm = Slurm(folder, settings)
    try:
        slurm.up()
        yield slurm
    finally:
        slurm.down()
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared(*, accounting: bool = False) -> Slurm:
    """Return the Slurm that all tests of this process share; it stops with the process."""
    return AT_END.enter_context(running(accounting=accounting))


def needed() -> None:
    """Skip the test where no Slurm can be started."""
    if os.getuid() != 0:
        pytest.skip("privilege: Slurm's daemons are started by root")
    if shutil.which("apt-get") is None and shutil.which("slurmctld") is None:
        pytest.skip("platform: there is neither Slurm nor apt-get here")


def _ports() -> int:
    """Return the first of three free ports that follow each other."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            for more in (1, 2):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port + more))
            return port
