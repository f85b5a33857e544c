"""Run Slurm's commands: words, never a shell; and what their errors mean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bookkeeper.errors import ExecutorUnavailable, UsageError

PATIENCE: Final = 120.0
"""Seconds that a command may take; Slurm's own wait is a tenth of that (``MessageTimeout``)."""

_AWAY: Final = (
    "unable to contact slurm controller", "socket timed out", "connection refused", "connect failure",
    "standby mode", "zero bytes were transmitted", "resource temporarily unavailable", "temporarily unable to accept",
    "communication connection failure", "problem talking to", "no route to host", "connection timed out",
    "unable to establish", "could not establish a configuration source", "slurmdbd: connection", "sending persistconninit", "unable to resolve",
    "protocol authentication error", "munge", "connection reset", "network is unreachable", "unable to connect",
)  # fmt: skip
"""What is said, in lower case, where Slurm cannot be reached now: the same will work later."""

_OURS: Final = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
"""Variables that say which Slurm; all others of an enclosing job or of somebody's habits change what commands print."""

_HABITS: Final = ("SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SBATCH_", "SINFO_", "BOOKKEEPER_PROCESS")

_DEFAULTS: Final = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_CONSTRAINT", "SBATCH_RESERVATION")
"""Defaults for ``sbatch`` that a site or a person sets on purpose."""


class Refused(UsageError):
    """Slurm does not do what it was told; the message is its own."""


def run(program: str, words: Sequence[str], *, folder: str | None = None) -> str:
    """Run a command of Slurm and return what it prints.

    ``folder`` is where the programs are, None for ``$PATH``. Raises `ExecutorUnavailable` where Slurm cannot be reached
    or takes too long, and `Refused` with its words where it says no.
    """
    path = str(Path(folder) / program) if folder else program
    try:
        done = subprocess.run(
            [path, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(os.environ),
            timeout=PATIENCE,
            check=False,
        )
    except OSError as error:
        raise ExecutorUnavailable(
            f"{path} cannot be run: {error.strerror}",
            remedy="run this where Slurm's commands are (a login node), or name their folder: [executor.slurm] programs",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ExecutorUnavailable(f"{program} did not answer in {PATIENCE:.0f} s") from error
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    said = _words(program, done.stderr.decode("utf-8", "replace")) or f"{program}: exit code {done.returncode}"
    if away(said):
        raise ExecutorUnavailable(
            f"Slurm does not answer: {said}",
            remedy="see `scontrol ping`; nothing is lost, and the same command goes on when Slurm does",
        )
    raise Refused(said)


def away(said: str) -> bool:
    """Tell whether words of a command mean that Slurm cannot be reached now."""
    lower = said.lower()
    return any(one in lower for one in _AWAY)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Slurm's commands: what they print does not depend on habits, and times are epoch seconds.

    A job inherits it (``sbatch --export=ALL``, Slurm's default), without what an enclosing job would leave in it.
    """
    kept = {
        name: value
        for name, value in given.items()
        if name in _OURS or name in _DEFAULTS or not name.startswith(_HABITS)
    }
    return kept | {"LC_ALL": kept.get("LC_ALL", "C.UTF-8"), "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}


def _words(program: str, stderr: str) -> str:
    """Return what a command said, in one line, without its own name before each."""
    lines = [line.strip().removeprefix(f"{program}: ").removeprefix("error: ") for line in stderr.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
