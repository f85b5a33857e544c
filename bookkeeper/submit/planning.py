"""What a spec would do, without doing any of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bookkeeper import datasets, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, UsageError
from bookkeeper.projects import RequestStatus
from bookkeeper.scanning import scan
from bookkeeper.spec import Spec
from bookkeeper.submit.preparing import unreachable
from bookkeeper.worker import command


@dataclass(frozen=True, slots=True)
class Plan:
    """What `submit` would do now.

    ``action`` is start, resume, finished (nothing is left to do) or refused; ``files`` would be processed, by about
    ``processes`` processes, ``jobs`` at once. ``command`` is that of the first process, with its files left as
    ``{inputs}``; ``outputs`` are the addresses of its outputs. ``warnings`` are what would go wrong, in words.
    """

    project: str
    action: str
    files: int
    processes: int | None
    jobs: int
    command: tuple[str, ...]
    workdir: str
    outputs: tuple[str, ...]
    status: RequestStatus | None = None
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return {**asdict(self), "status": self.status.as_dict() if self.status else None}


def plan(spec: Spec, database: Database | None, *, jobs: int | None = None) -> Plan:
    """Return what `submit` would do; changes nothing. ``database`` is None where there is no catalog yet."""
    name = spec.project.name
    one = spec.process()
    warnings = list(program_missing(spec))
    if "{inputs}" not in one.command:
        warnings.append("no word of the command is {inputs}: it has to read its files from the list $BOOKKEEPER_INPUTS")
    warnings += unreachable(spec)
    status = None
    if database is not None and database.one("SELECT 1 FROM projects WHERE name = :name", {"name": name}):
        status = projects.status(database, name)
        action, count = _standing(status)
        if action == "refused":
            warnings.append(_why(status, name))
    else:
        action = "start"
        count = _count(spec, database, warnings)
        if not count:
            action = "refused"
            warnings.append("there is no file to be processed")
    values = {"process": "1", "partition": "0", "inputs": "{inputs}"}
    outputs = [output.name.replace("{process}", "1").replace("{partition}", "0") for output in spec.output]
    for output, final in zip(spec.output, outputs, strict=True):
        values[f"output.{output.key}"] = values["output"] = f"$TMPDIR/{final}"
    return Plan(
        project=(status.open_project if status else None) or name,
        action=action,
        files=count,
        processes=_processes(spec, count),
        jobs=jobs or spec.executor.jobs,
        command=tuple(command.expand(one.command, ["{inputs}"], values)),
        workdir=one.workdir,
        outputs=tuple(f"{to.destination}/{final}" for to, final in zip(one.outputs, outputs, strict=True)),
        status=status,
        warnings=tuple(warnings),
    )


def program_missing(spec: Spec) -> Iterator[str]:
    """Yield what is wrong with the program of a spec as seen from here; a node may have it."""
    one = spec.process()
    try:
        if not spec.job.archives:  # its program may be in one
            command.resolve(one.command[0], one.workdir, os.environ.get("PATH"))
    except UsageError as error:
        yield f"{error}; {error.remedy}"


def _standing(status: RequestStatus) -> tuple[str, int]:
    """Return what would be done for a project that exists, and to how many files."""
    if status.complete:
        return "finished", 0
    if status.open_state != "open":
        return "refused", 0
    return "resume", status.available


def _why(status: RequestStatus, name: str) -> str:
    if status.open_state == "paused":
        return f"project {status.open_project} is paused: {status.pause_reason}"
    return f"project {name} has ended incomplete: `bookkeeper recover {name}` comes first"


def _count(spec: Spec, database: Database | None, warnings: list[str]) -> int:
    """Return how many files a new project would have; what cannot be read is a warning."""
    if not spec.files:
        if database is None:
            warnings.append(f"there is no catalog yet, hence no dataset {spec.dataset}")
            return 0
        return datasets.get(database, spec.dataset).files

    def note(location: str, error: BookkeeperError) -> None:
        warnings.append(str(error))

    return sum(1 for _ in scan(spec.files, checksum=False, on_error=note))


def _processes(spec: Spec, count: int) -> int | None:
    """Return about how many processes there would be; None where partitions are not counted in files."""
    by = spec.job.partition_by
    if by is not None and by.files is None:
        return None
    return -(-count // (by.files if by and by.files else spec.rules().files_per_process))
