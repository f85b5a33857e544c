"""A node that shares no folder with this host, for tests: a folder with what travelled, a bare Python, no environment."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bookkeeper.cargo import Loaded
from workbench import to_its_end

ROOT = Path(__file__).parents[1]
PYTHON = getattr(sys, "_base_executable", sys.executable)
"""The Python that virtual environments are made from: nothing is installed there."""


@functools.cache
def hides() -> tuple[str, ...]:
    """The words before a command by which it sees nothing of this repository, where the system lets us."""
    words = ("unshare", "-rm", "sh", "-c", f'mount -t tmpfs none "{ROOT}" && exec "$0" "$@"')
    try:
        done = subprocess.run([*words, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return words if done.returncode == 0 else ()


class Node:
    """A folder on a node, with the files of a job."""

    def __init__(self, folder: Path, loaded: Loaded, *more: Path) -> None:
        self.folder, self.loaded = folder, loaded
        self.tmp = folder / "tmp"
        self.tmp.mkdir(parents=True)
        self.program = Path(shutil.copy(loaded.program, folder / "condor_exec.exe"))
        for path in (*loaded.files, *more):
            shutil.copy(path, folder / path.name)

    def start(self, words: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Run one job of it: that of the order, or other words."""
        alone = {"TMPDIR": str(self.tmp), "BOOKKEEPER_PYTHON": PYTHON, "HOME": "/nonexistent", **(environment or {})}
        pipe = subprocess.PIPE
        command = [*hides(), str(self.program), *(words or self.loaded.command)[1:]]
        return subprocess.Popen(
            command, cwd=self.folder, env=alone | _path(), stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def run(self, words: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Ran:
        """Run one job of it to its end."""
        return Ran(self.start(words, environment))

    def left(self) -> list[str]:
        """Return what lies in the scratch space of the node."""
        return sorted(path.name for path in self.tmp.iterdir())


class Ran:
    """How a job ended: its exit code, its outcome, and what it said on standard error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        out, self.said = to_its_end(process)
        self.code = process.returncode
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
        self.outcome: dict[str, Any] = self.lines[-1].get("outcome", {}) if self.lines else {}

    def __repr__(self) -> str:
        return f"<exit {self.code}: {self.outcome} {self.said[-2000:]}>"


def _path() -> dict[str, str]:
    return {} if os.path.exists("/usr/bin/env") else {"PATH": os.environ["PATH"]}
