"""What a job asks for, as words for ``sbatch``; and which further words a spec may add."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bookkeeper import durations
from bookkeeper.errors import UsageError
from bookkeeper.executors.batch import Asks

POLL: Final = 15.0
"""Seconds between two questions about all jobs. Sites ask that ``squeue`` be run no more often."""

MAY: Final = frozenset((
    "acctg-freq", "batch", "bb", "bbf", "begin", "comment", "constraint", "container-id", "contiguous",
    "core-spec", "cores-per-socket", "cpu-freq", "cpus-per-gpu", "deadline", "delay-boot", "dependency", "distribution",
    "exclude", "exclusive", "extra", "extra-node-info", "get-user-env", "gpu-bind", "gpu-freq", "gpus",
    "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres", "gres-flags", "hint", "hold", "ignore-pbs", "licenses",
    "mail-type", "mail-user", "mcs-label", "mem-bind", "mem-per-gpu", "mincpus", "network", "nice", "no-kill",
    "no-requeue", "nodefile", "nodelist", "overcommit", "oversubscribe", "power", "prefer", "priority", "profile",
    "propagate", "qos", "quiet", "reboot", "requeue", "reservation", "resv-ports", "segment", "signal",
    "sockets-per-node", "spread-job", "switches", "thread-spec", "threads-per-core", "time-min", "tres-bind",
    "tres-per-task", "use-min-nodes", "verbose", "wait-all-nodes", "wckey",
))  # fmt: skip
"""Long options of ``sbatch`` (22.05 to 25.05) that a spec may add."""

INSTEAD: Final = {
    "account": "account", "partition": "queue", "time": "run_time", "mem": "memory", "mem-per-cpu": "memory",
    "cpus-per-task": "cpus", "export": "environment", "export-file": "environment", "container": "container",
    "tmp": "disk",
}  # fmt: skip
"""Options that a key of ``[executor]`` is for."""

SHORT: Final = {
    "A": "account", "p": "partition", "t": "time", "c": "cpus-per-task", "C": "constraint", "d": "dependency",
    "G": "gpus", "L": "licenses", "q": "qos", "w": "nodelist", "x": "exclude", "S": "core-spec",
    "b": "begin", "F": "nodefile", "O": "overcommit", "s": "oversubscribe", "H": "hold", "Q": "quiet", "v": "verbose",
    "k": "no-kill", "m": "distribution", "B": "extra-node-info",
}  # fmt: skip

_LONG: Final = re.compile(r"--([a-z0-9][a-z0-9-]*)(=.*)?", re.DOTALL)
_BRIEF: Final = re.compile(r"-([A-Za-z])(.*)", re.DOTALL)
_KNOWN: Final = ("poll", "programs", "qos", "constraint", "requeue")


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """``[executor.slurm]``.

    ``poll`` is how many seconds lie between two questions, ``programs`` the folder of Slurm's commands where it is not in
    ``$PATH``; ``qos`` and ``constraint`` are Slurm's; ``requeue``: Slurm runs a job again whose node failed or that was
    preempted (default), else the babysitter submits another.
    """

    poll: float = POLL
    programs: str | None = None
    qos: str | None = None
    constraint: str | None = None
    requeue: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SlurmOptions:
        """Return what the table says. Raises `UsageError`."""
        for name in given:
            if name not in _KNOWN:
                raise UsageError(f"[executor.slurm] has no key {name!r}", remedy=f"its keys are {', '.join(_KNOWN)}")
        for name in ("programs", "qos", "constraint"):
            if name in given and (not isinstance(given[name], str) or not given[name]):
                raise UsageError(f"[executor.slurm] {name} must be a text, not {given[name]!r}")
        if not isinstance(given.get("requeue", True), bool):
            raise UsageError(f"[executor.slurm] requeue must be true or false, not {given['requeue']!r}")
        values = dict(given)
        if "poll" in values:
            values["poll"] = durations.seconds(values["poll"])
            if values["poll"] <= 0:
                raise UsageError(f"[executor.slurm] poll must be longer than {values['poll']} s")
        return cls(**values)


def minutes(seconds: float) -> int:
    """Return a run time as Slurm keeps it: whole minutes, never less than asked, at least one."""
    return max(1, math.ceil(seconds / 60))


def words(asks: Asks, options: SlurmOptions) -> list[str]:
    """Return what a job asks for as words for ``sbatch``; those of the spec's ``extra`` come last. Raises `UsageError`."""
    asked = ["--nodes=1", "--ntasks=1", "--open-mode=append"]
    asked += ["--requeue"] if options.requeue else ["--no-requeue"]
    if asks.cpus is not None:
        asked.append(f"--cpus-per-task={asks.cpus}")
    if asks.memory_mb is not None:
        asked.append(f"--mem={math.ceil(asks.memory_mb)}M")
    if asks.disk_mb is not None:
        asked.append(f"--tmp={math.ceil(asks.disk_mb)}M")
    if asks.run_time_s is not None:
        asked.append(f"--time={minutes(asks.run_time_s)}")
    for name, value in (
        ("partition", asks.queue), ("account", asks.account), ("qos", options.qos), ("constraint", options.constraint),
    ):  # fmt: skip
        if value is not None:
            asked.append(f"--{name}={value}")
    return [*asked, *extra(asks.extra)]


def extra(lines: Sequence[str]) -> Iterator[str]:
    """Return the words of further options; one option a line, with or without ``#SBATCH``. Raises `UsageError`."""
    for line in lines:
        try:
            parts = shlex.split(line.strip().removeprefix("#SBATCH"), comments=False)
        except ValueError as error:
            raise UsageError(f"extra {line!r} cannot be read: {error}") from error
        yield from _checked(line, parts)


def _checked(line: str, parts: list[str]) -> list[str]:
    """Return the words of one line, which is one option and its value. Raises `UsageError`."""
    first = parts[0] if parts else ""
    long, brief = _LONG.fullmatch(first), _BRIEF.fullmatch(first)
    if long:
        name, value = long.group(1), long.group(2)
    elif brief:
        name, value = SHORT.get(brief.group(1), f"-{brief.group(1)}"), brief.group(2) or None
    else:
        raise UsageError(f"extra {line!r} is no option of sbatch", remedy='write for example "--constraint=cvmfs"')
    if name in INSTEAD:
        raise UsageError(f"extra {line!r} is given by a key of its own", remedy=f"write [executor] {INSTEAD[name]} = …")
    if name not in MAY:
        remedy = "see `man sbatch`; what bookkeeper sets itself (array, output, job-name, …) cannot be given"
        raise UsageError(f"extra {line!r} is no option of sbatch that can be added", remedy=remedy)
    if len(parts) > 2 or (len(parts) == 2 and value):
        raise UsageError(f"extra {line!r} is more than one option", remedy="write one option a line of `extra`")
    if len(parts) == 2 and parts[1].startswith("-"):
        raise UsageError(f"extra {line!r} is more than one option", remedy="write one option a line of `extra`")
    if long and len(parts) == 2:
        return [f"{first}={parts[1]}"]  # so that a flag's word is never taken for the script
    return parts
