"""A real HTCondor pool on this host, for as long as a test module runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench import until

SCRIPTS = Path(__file__).parent / "batch"


class Pool:
    """One pool; ``environment`` is what its clients need."""

    def __init__(self, environment: dict[str, str], state: Path) -> None:
        self.environment, self.state = environment, state

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be a client of this pool in a test."""
        import htcondor2

        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        htcondor2.reload_config()

    def schedd(self) -> Any:
        import htcondor2

        return htcondor2.Schedd()

    def kill_dagman(self, batch: str) -> None:
        """Kill -9 the DAGMan of a DAG, and wait until the schedd has started another."""
        first = until(lambda: self._only_dagman(), f"one DAGMan, of {batch}, runs")
        os.kill(first, signal.SIGKILL)
        until(lambda: self._only_dagman() not in (0, first), f"DAGMan {batch} is started again", 600)

    def _only_dagman(self) -> int:
        """The process of the one DAGMan that runs; 0 where there is none, or one has just forked, say, to run a script."""
        found = self.dagmans()
        return found[0] if len(found) == 1 else 0

    def dagmans(self) -> list[int]:
        """The processes of all DAGMans of this pool."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                mine = f"CONDOR_CONFIG={self.environment['CONDOR_CONFIG']}".encode()
                if words[0].endswith(b"condor_dagman") and mine in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return found


@contextlib.contextmanager
def started(name: str) -> Iterator[Pool]:
    """Start a pool of its own, and stop it. It is installed once for all."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("privilege: a pool is installed and started by root on Linux")
    state = Path(tempfile.mkdtemp(prefix=f"condor-{name}-", dir="/var/tmp"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = {**os.environ, "CONDOR_STATE": str(state), "CONDOR_PORT": str(port)}
    try:
        with open("/var/tmp/condor-up.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two that install at once
            up = subprocess.run([SCRIPTS / "condor-up.sh"], env=said, capture_output=True, text=True)
        assert up.returncode == 0, up.stderr
        exported = dict(re.findall(r"^export (\w+)=(.*)$", up.stdout, re.MULTILINE))
        exported["PATH"] = exported["PATH"].replace("$PATH", os.environ["PATH"])
        yield Pool(exported, state)
    finally:
        subprocess.run([SCRIPTS / "condor-down.sh"], env=said, capture_output=True)
        shutil.rmtree(state, ignore_errors=True)
