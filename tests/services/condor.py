"""A real HTCondor pool for tests: one machine that pretends eight cores, on a free port, in a folder of its own.

It needs root and Debian's packages, which the script unpacks. Started once in each process of tests that asks.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

UP, DOWN = (Path(__file__).parent / "batch" / f"condor-{verb}.sh" for verb in ("up", "down"))


@dataclass
class Condor:
    """A pool that runs. Programs and ``htcondor2`` find it by ``environment``."""

    folder: Path
    settings: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)

    def up(self) -> None:
        """Start what does not run of it; wait until it has a slot to give."""
        with (Path(tempfile.gettempdir()) / "bk-condor-install.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one unpacks the packages, the others find them unpacked
            told = self._script(UP)
        found = dict(re.findall(r"^export (\w+)=(.*)$", told, re.MULTILINE))
        path = found["PATH"].replace("$PATH", os.environ["PATH"])
        self.environment = {"CONDOR_CONFIG": found["CONDOR_CONFIG"], "PATH": path}

    def down(self) -> None:
        """Stop it, with all that runs in it."""
        self._script(DOWN)

    def pids(self, role: str) -> list[int]:
        """Return the process ids of a daemon of this pool: schedd, startd, negotiator, shadow, starter, …"""
        master = psutil.Process(int((self.folder / "master.pid").read_text()))
        name = f"condor_{role}"
        return [one.pid for one in master.children(recursive=True) if one.name() == name]

    def kill(self, role: str) -> None:
        """Kill every daemon of this role, and wait until they are dead; the master starts another where it should."""
        found = [psutil.Process(pid) for pid in self.pids(role)]
        assert found, f"no {role} runs"
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(found, timeout=30)

    def run(self, *words: str) -> str:
        """Run one of its commands and return what it prints."""
        done = subprocess.run(words, env={**os.environ, **self.environment}, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def _script(self, script: Path) -> str:
        done = subprocess.run(
            ["bash", str(script)], env={**os.environ, **self.settings}, capture_output=True,
            stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def running() -> Iterator[Condor]:
    """Start a pool for the length of a block."""
    needed()
    folder = Path(tempfile.mkdtemp(prefix="bk-condor-"))
    folder.chmod(0o755)
    condor = Condor(folder, {"CONDOR_STATE": str(folder), "CONDOR_PORT": str(_port())})
    try:
        condor.up()
        yield condor
    finally:
        condor.down()
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared() -> Condor:
    """Return the pool that all tests of this process share; it stops with the process."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running())


def use(condor: Condor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and those it starts, be clients of a pool."""
    for name, value in condor.environment.items():
        monkeypatch.setenv(name, value)
    import htcondor2

    htcondor2.reload_config()  # it is read once, when it is first imported


def needed() -> None:
    """Skip the test where no pool can be started."""
    if os.getuid() != 0:
        pytest.skip("privilege: the pool of the tests is started by root")
    if shutil.which("apt-get") is None:
        pytest.skip("platform: the pool of the tests is made of Debian's packages")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
