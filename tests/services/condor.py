"""A real HTCondor pool on this host: one machine with eight slots, started once a session, whose daemons can be killed."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services import AT_END
from workbench import until

SCRIPTS = Path(__file__).parent / "batch"
SLOTS = 8


def require() -> None:
    """Skip the test where no pool can be started."""
    if sys.platform != "linux":
        pytest.skip("platform: the pool is Debian's")
    if os.geteuid() != 0:
        pytest.skip("privilege: only root installs and starts the pool")


class Pool:
    """The pool: ``environment`` is what its clients need."""

    def __init__(self, **settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._settings = {
            "CONDOR_STATE": f"/var/tmp/condor-pool-{os.getpid()}-{port}",
            "CONDOR_PORT": str(port),
            **settings,
        }
        self._run("condor-up.sh", CONDOR_FRESH="1")
        self.config = f"{self._settings['CONDOR_STATE']}/etc/condor_config"
        self.bin = Path(os.environ.get("CONDOR_PREFIX", "/opt/htcondor")) / "usr" / "bin"
        self.environment = {**os.environ, "CONDOR_CONFIG": self.config}

    def _run(self, script: str, **settings: str) -> None:
        done = subprocess.run(
            ["bash", str(SCRIPTS / script)], env={**os.environ, **self._settings, **settings},
            capture_output=True, text=True, timeout=900,  # it may have to be installed, and others may be at that
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def tool(self, name: str, *words: str) -> str:
        """Run one of HTCondor's commands."""
        done = subprocess.run(
            [str(self.bin / name), *words], env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def daemons(self, name: str, *words: str) -> Iterator[psutil.Process]:
        """Yield the processes of this pool that run a daemon (``condor_shadow``, …), with these words in its command."""
        for process in psutil.process_iter():
            try:
                if process.name() != name or process.environ().get("CONDOR_CONFIG") != self.config:
                    continue
                if all(word in process.cmdline() for word in words):
                    yield process
            except psutil.Error:
                continue

    def kill(self, name: str, *words: str) -> None:
        """Kill a daemon at once; whoever looks after it starts it again."""
        found = list(self.daemons(name, *words))
        assert found, f"no {name} {words} runs"
        for process in found:
            process.send_signal(signal.SIGKILL)

    def kill_starter_of(self, pid: int) -> None:
        """Kill the starter that a process runs under."""
        for parent in psutil.Process(pid).parents():
            if parent.name() == "condor_starter":
                parent.send_signal(signal.SIGKILL)
                return
        raise AssertionError(f"process {pid} runs under no starter")

    def clear(self) -> None:
        """Take everything out of the queue: what a test leaves there, where it fails, takes the slots of those behind it."""
        subprocess.run([str(self.bin / "condor_rm"), "-all"], env=self.environment, capture_output=True, check=False)

    @contextlib.contextmanager
    def nobody_starts_daemons(self) -> Iterator[None]:
        """Have killed daemons stay dead for a block: the master, which starts them again, is suspended."""
        masters = list(self.daemons("condor_master"))
        assert masters, "no condor_master runs"
        try:
            for master in masters:
                master.suspend()
                until(lambda: master.status() == psutil.STATUS_STOPPED, "the master is suspended")  # noqa: B023 - at once
            yield
        finally:
            for master in masters:
                master.resume()

    def stop(self) -> None:
        """Stop it, and remove what it wrote."""
        self._run("condor-down.sh")
        subprocess.run(["rm", "-rf", self._settings["CONDOR_STATE"]], check=True)


def shared() -> Pool:
    """Return the pool of this session, started when it is first asked for; this process's bindings speak to it."""
    pool = _shared()
    _speak_to(pool.config)
    return pool


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Pool]:
    """Lend a pool that no other test uses, started with these settings; this process's bindings speak to it meanwhile."""
    require()
    pool, before = Pool(**settings), os.environ.get("CONDOR_CONFIG")
    try:
        _speak_to(pool.config)
        yield pool
    finally:
        pool.stop()
        if before is None:
            del os.environ["CONDOR_CONFIG"]
        else:
            _speak_to(before)


def _speak_to(config: str) -> None:
    os.environ["CONDOR_CONFIG"] = config
    import htcondor2

    htcondor2.reload_config()  # they may have been imported before there was a pool


@functools.cache
def _shared() -> Pool:
    require()
    pool = Pool()
    AT_END.callback(pool.stop)
    return pool
