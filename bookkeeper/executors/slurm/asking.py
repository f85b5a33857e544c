"""What Slurm says of jobs: one question for all of a person's jobs, and one to its accounting for those it has forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bookkeeper.errors import ExecutorUnavailable
from bookkeeper.executors.slurm.commands import Refused, run

FIELDS: Final = (
    "ArrayJobID", "ArrayTaskID", "Name", "State", "Reason", "NodeList", "RestartCnt", "exit_code", "SubmitTime",
    "StartTime", "EndTime",
)  # fmt: skip
WIDTH: Final = 250
"""Characters of a field; ``squeue`` cuts off what is longer."""

ACCOUNTED: Final = ("JobID", "JobName", "State", "Reason", "NodeList", "Restarts", "ExitCode", "Submit", "Start", "End")
OLDER: Final = tuple(name for name in ACCOUNTED if name != "Restarts")
SINCE: Final = "now-60days"
"""How far back accounting is searched; without, it is only since midnight."""

_TASKS: Final = re.compile(r"(\d+)_\[([\d,:%-]+)\]")
_RANGE: Final = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


@dataclass(frozen=True, slots=True)
class Standing:
    """A job as Slurm has it: ``state`` is its word, with what follows it (``CANCELLED by 1001``).

    ``code`` is the exit code and ``signal`` the signal that ended it, as Slurm keeps them; times are epoch seconds.
    """

    job: str
    name: str
    state: str
    reason: str = ""
    node: str = ""
    restarts: int = 0
    code: int = 0
    signal: int = 0
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def word(self) -> str:
        """The state alone."""
        return self.state.split(" ", 1)[0].rstrip("+")


def queue(programs: str | None) -> dict[str, Standing]:
    """Return this person's jobs that Slurm remembers: those that wait and run, and those that ended in its ``MinJobAge``."""
    layout = ",".join(f"{name}:{WIDTH}" for name in FIELDS)
    text = run("squeue", ["--me", "--array", "--noheader", "--states=all", f"--Format={layout}"], folder=programs)
    return {one.job: one for line in text.splitlines() if line.strip() for one in _of_queue(line)}


def _of_queue(line: str) -> Iterator[Standing]:
    cut = [line[place : place + WIDTH].strip() for place in range(0, WIDTH * len(FIELDS), WIDTH)]
    said = dict(zip(FIELDS, cut, strict=True))
    code, signal = _ended(said["exit_code"])
    for task in _tasks(said["ArrayTaskID"]):
        yield Standing(
            job=f"{said['ArrayJobID']}_{task}" if task is not None else said["ArrayJobID"],
            name=said["Name"],
            state=said["State"],
            reason="" if said["Reason"] == "None" else said["Reason"],
            node=_node(said["NodeList"]),
            restarts=int(said["RestartCnt"] or 0),
            code=code,
            signal=signal,
            submitted_at=_time(said["SubmitTime"]),
            started_at=_time(said["StartTime"]),
            ended_at=_time(said["EndTime"]),
        )


class Accounting:
    """Slurm's accounting, where it has one: jobs that ended long ago."""

    def __init__(self, programs: str | None) -> None:
        self._programs = programs
        self._fields: tuple[str, ...] = ACCOUNTED
        self.kept = True
        """False as soon as Slurm said that it keeps no accounts."""

    def jobs(self, batch_ids: Iterable[str]) -> dict[str, Standing]:
        """Return what is known of arrays, by the ids of their jobs. Raises `ExecutorUnavailable`."""
        asked = sorted(set(batch_ids))
        return self._ask([f"--jobs={','.join(asked)}"]) if asked else {}

    def named(self, names: Sequence[str]) -> dict[str, Standing]:
        """Return the jobs of these names, by their ids. Raises `ExecutorUnavailable`."""
        return self._ask([f"--name={','.join(names)}"])

    def _ask(self, which: list[str]) -> dict[str, Standing]:
        if not self.kept:
            return {}
        words = ["--allocations", "--parsable2", "--noheader", f"--starttime={SINCE}", *which]
        try:
            text = run("sacct", [*words, f"--format={','.join(self._fields)}"], folder=self._programs)
        except Refused as refused:
            said = str(refused).lower()
            if "restarts" in said and self._fields is ACCOUNTED:
                self._fields = OLDER
                return self._ask(which)
            if "accounting storage is disabled" in said:
                self.kept = False
                return {}
            raise ExecutorUnavailable(f"Slurm's accounting does not answer: {refused}") from refused
        return {one.job: one for line in text.splitlines() if line.strip() for one in self._of_account(line)}

    def _of_account(self, line: str) -> Iterator[Standing]:
        said: Mapping[str, str] = dict(zip(self._fields, line.split("|"), strict=False))
        code, signal = _ended(said["ExitCode"])
        for job in _expanded(said["JobID"]):
            yield Standing(
                job=job,
                name=said["JobName"],
                state=said["State"],
                reason="" if said["Reason"] == "None" else said["Reason"],
                node=_node(said["NodeList"]),
                restarts=int(said.get("Restarts") or 0),
                code=code,
                signal=signal,
                submitted_at=_time(said["Submit"]),
                started_at=_time(said["Start"]),
                ended_at=_time(said["End"]),
            )


def _expanded(job: str) -> Iterator[str]:
    """Return the jobs that an id stands for: ``7_[0-2,5%4]`` is four of them."""
    match = _TASKS.fullmatch(job)
    if match is None:
        yield job
        return
    for task in _tasks(match.group(2)):
        yield f"{match.group(1)}_{task}"


def _tasks(text: str) -> Iterator[int | None]:
    """Return the tasks of a list such as ``0-2,5,8-12:2%4``; None alone where there is no task."""
    found = [_RANGE.fullmatch(part) for part in text.strip("[]").split("%")[0].split(",")]
    if not all(found):
        yield None
        return
    for match in found:
        assert match is not None
        first, last, step = match.group(1), match.group(2) or match.group(1), match.group(3) or "1"
        yield from range(int(first), int(last) + 1, int(step))


def _ended(text: str) -> tuple[int, int]:
    """Return exit code and signal: of ``2:0`` as accounting has it, or of what wait(2) tells, as ``squeue`` prints."""
    code, colon, signal = text.partition(":")
    if colon:
        return int(code or 0), int(signal or 0)
    status = int(code) if code.isdigit() else 0
    return status >> 8, status & 0x7F


def _node(text: str) -> str:
    return "" if text in ("(null)", "None assigned", "n/a") else text


def _time(text: str) -> float | None:
    return float(text) if text.isdigit() and int(text) > 0 else None
