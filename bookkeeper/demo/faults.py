"""What goes wrong on purpose. A plan says which file brings which fault; each happens once, in whichever job meets it.

The plan is a folder: ``plan.json`` with ``{"<file name>": ["<kind>"]}``, and for each fault that happened a file
``<kind>.json`` with ``{"process": number, "worker": process id}``, created exclusively. Only light modules are imported:
the jobs use this.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CRASH: Final = "crash"
KILL: Final = "kill"
FREEZE: Final = "freeze"
TRUNCATE: Final = "truncate"
DAMAGE: Final = "damage"

WORDS: Final = {
    CRASH: "the analysis crashes (SIGSEGV)",
    KILL: "a whole worker is killed (kill -9)",
    FREEZE: "a worker falls silent, and returns after its lease",
    TRUNCATE: "an output is cut short, with exit code 0",
    DAMAGE: "an input file is damaged",
}
"""Every fault, in the words of the story."""

IN_JOBS: Final = (CRASH, FREEZE, KILL, TRUNCATE)
"""Those that a job suffers; the damaged input is there from the start."""

FOREVER: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that happened: to which process, and the process id of its worker on this host."""

    kind: str
    process: int
    worker: int


def write_plan(folder: Path, plan: Mapping[str, Sequence[str]]) -> None:
    """Write which file (by its name) brings which faults."""
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


def happened(folder: Path) -> dict[str, Happened]:
    """Return the faults that happened so far, by kind."""
    found = {}
    for kind in IN_JOBS:
        try:
            told = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # it did not, or is just being written
            continue
        found[kind] = Happened(kind, told["process"], told["worker"])
    return found


def claim(folder: Path | None, inputs: Sequence[str]) -> str | None:
    """Return the fault that a job over these inputs is to suffer now, if any."""
    if folder is None:
        return None
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    for path in inputs:
        for kind in plan.get(Path(path).name, ()):
            if _is_first(folder / f"{kind}.json"):
                return str(kind)
    return None


def suffer(fault: str | None, output: Path) -> None:
    """Suffer a fault, when the output is written."""
    if fault == CRASH:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == KILL:
        os.killpg(_worker(), signal.SIGKILL)  # the worker has a session of its own
        time.sleep(FOREVER)  # until its guardian ends us
    elif fault == FREEZE:
        os.kill(_worker(), signal.SIGSTOP)
    elif fault == TRUNCATE:
        os.truncate(output, output.stat().st_size * 2 // 3)


def _is_first(mark: Path) -> bool:
    try:
        with mark.open("x", encoding="utf-8") as stream:
            json.dump({"process": int(os.environ.get("BOOKKEEPER_PROCESS_ID", "0")), "worker": _worker()}, stream)
    except FileExistsError:
        return False
    return True


def _worker() -> int:
    """Return the process id of the worker: the parent of our guardian."""
    import psutil

    return int(psutil.Process(os.getppid()).ppid())
