"""The story: data, jobs, everything that goes wrong, recovery, proof."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

from bookkeeper import projects, recovery
from bookkeeper.demo import faults
from bookkeeper.demo.proof import Proof, prove
from bookkeeper.demo.result import DemoResult, Show
from bookkeeper.demo.scene import PROJECT, WORKERS, Scene, build
from bookkeeper.spec import load
from bookkeeper.submit import Progress, submit

ROLLED_BACK: Final = """
SELECT process_id AS process, delivered AS files, reason FROM process_summary
 WHERE state = 'rolled_back' AND delivered > 0 ORDER BY process_id
"""

LAST_STEP: Final = """
SELECT body ->> 'step' AS step, body ->> 'outcome' AS outcome FROM events
 WHERE process_id = :process AND kind = 'step.ended' ORDER BY id DESC LIMIT 1
"""

LINE: Final = 96
REASON: Final = 74
"""Characters that lines and reasons are cut to on the screen; the catalog has them whole."""

PEAK: Final = (82.0, 100.0)
"""What is shown of the histogram, in GeV."""


def run(folder: Path, *, data: Path | None = None, seed: int = 1, keep: bool, show: Show) -> DemoResult:
    """Tell the whole story in an empty folder; return what was found.

    ``data`` is a folder of ROOT files to take instead of toys; they are only read. ``keep`` leaves the folder as it is;
    otherwise it is removed, unless the proof fails. Raises `NotFound` where ``data`` has no ROOT file with events.
    """
    began = time.monotonic()
    show.headline("Data")
    scene = build(folder, data, seed, show)
    with scene.catalog:
        story = _Story(scene, show)
        try:
            story.first_run()
            name = story.recover()
        finally:
            story.thaw()
        proof, rows, problems = story.prove()
        result = story.result(proof, rows, problems, name, time.monotonic() - began)
    kept = keep or not result.proved
    story.close(result, kept=kept)
    if kept:
        return result
    shutil.rmtree(folder)
    return DemoResult(**{**result.as_dict(), "folder": None})


class _Story:
    def __init__(self, scene: Scene, show: Show) -> None:
        self._scene, self._show = scene, show
        self._catalog, self._database = scene.catalog, scene.catalog.database
        self._frozen: faults.Happened | None = None
        self._shown: set[int] = set()

    # -- the first run ---------------------------------------------------------------------------------------------

    def first_run(self) -> None:
        """Submit, and end the project when every fault has struck."""
        spec = load(self._scene.spec)
        self._show.headline("A run in which everything goes wrong")
        self._show.say(f"{WORKERS} workers, {spec.job.files_per_process} files a process; meanwhile:")
        for kind in (*faults.IN_JOBS, faults.DAMAGE):
            if kind != faults.DAMAGE or self._scene.damaged:
                self._show.say(f"  {faults.WORDS[kind]}")
        self._submit()
        rolled_back = self._catalog.sql(ROLLED_BACK)
        self._shown = {row["process"] for row in rolled_back}
        self._table("What was rolled back, and why", rolled_back)
        missing = recovery.top_reasons(self._database, PROJECT, 10)
        self._table(
            "Files that do not count yet",
            [{"files": row["files"], "state": row["state"], "reason": row["why"]} for row in missing],
        )

    def _submit(self) -> None:
        submitted = submit(load(self._scene.spec), self._database, on_update=self._on_update)
        if submitted.interrupted:
            raise KeyboardInterrupt
        status = submitted.status
        parked = f", {status.parked} parked" if status.parked else ""
        self._show.say(f"{status.committed} of {status.files} files are committed{parked}")

    def _table(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show rows with their reasons cut to a line."""
        self._show.say("")
        self._show.table(
            title, [{**row, "reason": shorten(str(row["reason"]), REASON, placeholder=" …")} for row in rows]
        )

    def _on_update(self, progress: Progress) -> None:
        """Show it; end the project when all faults have struck; wake the frozen worker when it is too late."""
        self._show.progress(progress)
        struck = faults.happened(self._scene.faults)
        self._frozen = struck.get(faults.FREEZE)
        if len(struck) == len(faults.IN_JOBS) and progress.status and progress.status.open_project == PROJECT:
            projects.end(self._database, PROJECT)
        if progress.phase == "stopping" or (self._frozen and self._state(self._frozen.process) == "rolled_back"):
            self.thaw()

    def _state(self, process: int) -> str:
        return str(self._catalog.sql("SELECT state FROM processes WHERE id = ?", (process,))[0]["state"])

    def thaw(self) -> None:
        """Let the frozen worker go on, if it is."""
        if self._frozen is not None and _is_stopped(self._frozen.worker):
            with suppress(ProcessLookupError):
                os.kill(self._frozen.worker, signal.SIGCONT)

    # -- recovery --------------------------------------------------------------------------------------------------

    def recover(self) -> str | None:
        """Recover what is missing, and run it; return the name of the recovery project."""
        self._show.headline("Recovery")
        project = self._catalog.project(PROJECT).recover()
        if project is None:
            self._show.say("nothing is missing but what is parked")
            return None
        files = project.status().available
        self._show.say(f"`bookkeeper recover {PROJECT}` starts {project.name} with the {files} files that do not count")
        self._submit()
        since = [row for row in self._catalog.sql(ROLLED_BACK) if row["process"] not in self._shown]
        if since:
            self._table("What was rolled back since", since)
        return project.name

    # -- proof -----------------------------------------------------------------------------------------------------

    def prove(self) -> tuple[Proof, list[dict[str, Any]], list[str]]:
        """Read what was published; return the proof, the rows about faults, and all that is wrong."""
        self._show.headline("Proof, from the published outputs alone")
        parked = {row["file"] for row in self._uncommitted("parked")}
        proof = prove(self._catalog, PROJECT, self._scene.destination, self._scene.entries, parked)
        problems = list(proof.problems)
        left = [row["file"] for row in self._catalog.project(PROJECT).uncommitted() if row["state"] != "parked"]
        problems += [f"{file} is neither committed nor parked" for file in left]
        problems += [f"{file} is parked, and nothing was done to it" for file in parked - {self._damaged}]
        problems += [f"check: {one.message}" for one in self._catalog.check() if one.severity == "violation"]
        rows = [self._row(kind, *consequence) for kind, consequence in self._consequences()]
        problems += [f"{row['fault']}: {row['consequence']}" for row in rows if not row["ok"]]
        if proof.histogram is not None and proof.histogram[0].sum() > 0:
            self._show.say("")
            self._show.table("The mass of two muons, summed over the outputs", list(_bars(*proof.histogram)))
            self._show.say("")
        return proof, rows, problems

    def _row(self, kind: str, process: int | None, consequence: str, ok: bool) -> dict[str, Any]:
        return {"fault": faults.WORDS[kind], "process": process, "consequence": consequence, "ok": ok}

    def _consequences(self) -> Iterator[tuple[str, tuple[int | None, str, bool]]]:
        """Yield what became of every fault: the process it struck, the consequence, and whether it is the right one."""
        struck = faults.happened(self._scene.faults)
        for kind in faults.IN_JOBS:
            if kind not in struck:
                yield kind, (None, "did not happen", False)
                continue
            process = struck[kind].process
            row = self._catalog.sql("SELECT state, reason FROM processes WHERE id = ?", (process,))[0]
            last = next(iter(self._catalog.sql(LAST_STEP, {"process": process})), {})
            sign = {
                faults.CRASH: "SIGSEGV" in str(row["reason"]),
                faults.KILL: "SIGKILL" in str(row["reason"]),
                faults.FREEZE: row["reason"] == "lease expired" and last.get("outcome") == "fenced",
                faults.TRUNCATE: last.get("step") == "verification" and last.get("outcome") == "failed",
            }[kind]
            how = "fenced when it came back" if kind == faults.FREEZE and sign else str(row["reason"])
            what = str(row["state"]).replace("_", " ")
            yield kind, (process, f"{what}: {how}", row["state"] == "rolled_back" and sign)
        if self._scene.damaged:
            found = [row["reason"] for row in self._uncommitted("parked") if row["file"] == self._damaged]
            yield (
                faults.DAMAGE,
                (None, found[0] if found else "was not noticed", bool(found) and "failed: " in found[0]),
            )

    @property
    def _damaged(self) -> str | None:
        return self._scene.damaged.name if self._scene.damaged else None

    def _uncommitted(self, state: str) -> list[dict[str, Any]]:
        return [row for row in self._catalog.project(PROJECT).uncommitted() if row["state"] == state]

    # -- the end ---------------------------------------------------------------------------------------------------

    def result(
        self, proof: Proof, rows: list[dict[str, Any]], problems: list[str], name: str | None, seconds: float
    ) -> DemoResult:
        """Return what was found."""
        count = "SELECT count(*) AS n FROM processes"
        return DemoResult(
            folder=str(self._scene.folder),
            files=len(self._scene.entries),
            events=sum(self._scene.entries.values()),
            published_events=proof.events,
            outputs=proof.outputs,
            processes=self._catalog.sql(count)[0]["n"],
            rolled_back=len(self._catalog.sql(ROLLED_BACK)),
            recovery=name,
            faults=tuple(rows),
            parked=tuple({"file": row["file"], "reason": row["reason"]} for row in self._uncommitted("parked")),
            unreadable=self._scene.unreadable,
            proved=not problems,
            problems=tuple(problems),
            seconds=round(seconds, 1),
        )

    def close(self, result: DemoResult, *, kept: bool) -> None:
        """Tell the outcome, and what to type next."""
        show = self._show
        for row in result.faults:
            show.verdict(row["ok"], shorten(f"{row['fault']} → {row['consequence']}", LINE, placeholder=" …"))
        for problem in result.problems:
            show.verdict(False, problem)
        if result.proved:
            good = result.files - len(result.parked)
            show.verdict(True, f"nothing is to be seen in the destination but the {result.outputs} published outputs")
            show.verdict(
                True, f"each of the {result.published_events:,} events of {good} files is in them exactly once"
            )
        show.say("")
        for row in result.unreadable:
            show.say(f"not declared: {row['file']}: {row['reason']}")
        for row in result.parked:
            events = self._scene.entries[row["file"]]
            show.say(f"{row['file']} ({events:,} events) is parked: {row['reason'].removeprefix('parked ')}")
        if not kept:
            show.say(f"{result.seconds:.0f} s; {self._scene.folder} is removed (--keep leaves it to look around)")
            return
        show.say(f"{result.seconds:.0f} s; everything is in {self._scene.folder}, to look around and to go on:")
        show.say(f"→ cd {shlex.quote(str(self._scene.folder))}")
        show.say(f"→ bookkeeper status {PROJECT}   (or: recover {PROJECT} --dry-run, outputs {PROJECT}, logs 2)")
        if result.proved and self._scene.damaged is not None:
            name, place = self._scene.damaged.name, self._scene.damaged.parent.name
            show.say(f"→ cp spare/{name} {place}/ && bookkeeper project unpark {PROJECT} {name}")
            show.say(f"→ bookkeeper recover {PROJECT} && bookkeeper submit {self._scene.spec.name}")


def _is_stopped(pid: int) -> bool:
    """Tell whether a process is there and does not go on."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _bars(counts: Any, edges: Any) -> Iterator[dict[str, Any]]:
    """Yield rows of a histogram drawn with characters, two bins each."""
    low, high = PEAK
    chosen = [
        (edges[place], edges[place + 2], int(counts[place] + counts[place + 1]))
        for place in range(0, len(counts) - 1, 2)
        if low <= edges[place] and edges[place + 2] <= high
    ]
    most = max((count for _, _, count in chosen), default=0) or 1
    for left, right, count in chosen:
        yield {"GeV": f"{left:.0f}–{right:.0f}", "events": count, "": "█" * round(40 * count / most)}
