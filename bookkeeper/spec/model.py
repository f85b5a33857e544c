"""The spec as pydantic models: strict, and without a key that is not known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from bookkeeper import stageout
from bookkeeper.errors import UsageError
from bookkeeper.ledger.requests import Rules
from bookkeeper.plugins import Notify, Plugins
from bookkeeper.spec.executor import ExecutorTable
from bookkeeper.spec.extensions import NotifyTable, PluginsTable
from bookkeeper.spec.retrying import RetryTable
from bookkeeper.spec.values import Bytes, Count, Name, Seconds, Table, Word, in_folder
from bookkeeper.worker import Job, OutputSpec, command

if TYPE_CHECKING:
    from bookkeeper.cargo import Loaded

LEVELS: Final = ("deep", "quick")
JUDGES: Final = '"deep", "quick" or { command = ["check", "{path}"] }, or a validator of a plug-in'

_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_FIELD: Final = re.compile(r"\{([^{}]*)\}|[{}]")


def _list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class Application(Table):
    """What runs, for the record."""

    family: Name = "analysis"
    name: Name = "unnamed"
    version: Name = "1"


class ProjectTable(Table):
    """``[project]``: which files, and the rules of the request. Lengths of time are in seconds."""

    name: Name
    dataset: Name | None = None
    files: Annotated[list[Word], Field(min_length=1)] | None = None
    application: Application = Application()
    max_attempts: Count = Rules().max_attempts
    lease: Seconds = Rules().lease
    max_wall: Seconds | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ProjectTable:
        if (self.dataset is None) == (self.files is None):
            raise ValueError('needs exactly one of dataset = "NAME" and files = ["data/*.root"]')
        return self


class PartitionBy(Table):
    """The size of a partition, by one measure."""

    files: Count | None = None
    bytes: Bytes | None = None
    entries: Count | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> PartitionBy:
        if len(self.model_fields_set) != 1:
            raise ValueError('takes exactly one of files = 5, bytes = "30GB", entries = 1_000_000')
        return self


class JobTable(Table):
    """``[job]``: the command of a process, how it gets its files, and what travels with it (``transfer = "files"``).

    ``files`` are paths, globs and folders; ``archives`` tar files that are unpacked on the node.
    """

    command: Annotated[list[Word], Field(min_length=1)]
    files: list[Word] = Field(default_factory=list)
    archives: list[Word] = Field(default_factory=list)
    files_per_process: Count | None = None
    partition_by: PartitionBy | None = None
    stage_inputs: bool = False
    allow_entries_mismatch: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> JobTable:
        if self.files_per_process is not None and self.partition_by is not None:
            raise ValueError("takes files_per_process or partition_by, not both")
        return self


class Expect(Table):
    """What an output must hold."""

    tree: Word | None = None
    entries: Any = None

    @field_validator("entries")
    @classmethod
    def _number_or_consumed(cls, value: Any) -> Any:
        if value is not None and value != "consumed" and (type(value) is not int or value < 0):
            raise ValueError(f'must be a whole number or "consumed", not {value!r}')
        return value


class OutputTable(Table):
    """``[output]`` or ``[[output]]``: one file that every process produces."""

    name: Word
    destination: Word
    key: str | None = None
    validation: Any = Field(default="deep", alias="validate")
    expect: Expect | None = None
    optional: bool = False
    near: Word | None = None

    @field_validator("destination", "near")
    @classmethod
    def _somewhere(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            stageout.final_url(value, "name")
        except UsageError as error:
            raise ValueError(f"{error}; {error.remedy}") from error
        return value

    @field_validator("key")
    @classmethod
    def _plain_key(cls, value: str | None) -> str | None:
        if value is not None and not _KEY.fullmatch(value):
            raise ValueError(f"{value!r} is no key; use letters, digits, _ and -")
        return value

    @field_validator("validation")
    @classmethod
    def _level_or_command(cls, value: Any) -> Any:
        if isinstance(value, str) and _KEY.fullmatch(value):  # a level, or the name of a validator: looked up later
            return value
        if isinstance(value, dict) and value.keys() == {"command"}:
            words = value["command"]
            if isinstance(words, list) and words and all(isinstance(word, str) and word for word in words):
                if not any("{path}" in word for word in words):
                    raise ValueError('its command does not say {path}; write for example ["check", "{path}"]')
                return tuple(words)
        raise ValueError(f"must be {JUDGES}, not {value!r}")


class TransferTable(Table):
    """``[transfer]``: how outputs that are stored ``near`` first get to their destinations.

    From ``near_limit`` bytes there on no more files are delivered; an output that has not arrived after ``deadline``
    seconds is given up, and ``at_once`` of them are under way over one link.
    """

    near_limit: Bytes | None = None
    deadline: Seconds = Rules().transfer_deadline
    at_once: Annotated[int, Field(ge=1, le=1000)] = Rules().link_limit


class Spec(Table):
    """A whole spec. ``folder`` is where its file lies: what its relative paths are relative to."""

    project: ProjectTable
    job: JobTable
    output: Annotated[list[OutputTable], BeforeValidator(_list), Field(min_length=1)]
    executor: ExecutorTable = ExecutorTable()
    transfer: TransferTable = TransferTable()
    retry: RetryTable = RetryTable()
    notify: Annotated[list[NotifyTable], BeforeValidator(_list)] = Field(default_factory=list)
    plugins: PluginsTable = PluginsTable()
    folder: Path = Field(default=Path(), exclude=True)
    _loaded: Plugins | None = PrivateAttr(default=None)

    @property
    def dataset(self) -> str:
        """The dataset; where the spec lists files, the one that is named as the project."""
        return self.project.dataset or self.project.name

    @property
    def application(self) -> tuple[str, str, str]:
        """Family, name, version."""
        return self.project.application.family, self.project.application.name, self.project.application.version

    @property
    def near(self) -> bool:
        """Whether some outputs are stored near first."""
        return any(output.near is not None for output in self.output)

    @property
    def files(self) -> list[str]:
        """What ``project.files`` names, as absolute paths and URLs; empty where a dataset is named."""
        return [self._absolute(place) for place in self.project.files or ()]

    @property
    def loaded(self) -> Plugins:
        """The plug-ins: those installed, and those that the spec names."""
        if self._loaded is None:
            self._loaded = self.plugins.load(self.folder)
        return self._loaded

    def notifications(self) -> list[Notify]:
        """Return who is notified, and when."""
        return [table.as_notify(self.folder) for table in self.notify]

    def policy(self) -> dict[str, Any] | None:
        """Return what is said of failures, as JSON has it; None where nothing is. Raises `SpecError` (the rules' file)."""
        return self.retry.policy(self.folder)

    def rules(self) -> Rules:
        """Return how the request is to be worked on. Raises `SpecError` (the file of rules)."""
        by = self.job.partition_by
        measure, size = (None, None) if by is None else next(iter(by.model_dump(exclude_none=True).items()))
        return Rules(
            max_attempts=self.project.max_attempts,
            files_per_process=self.job.files_per_process or Rules().files_per_process,
            partition_by=measure,
            partition_size=size,
            lease=self.project.lease,
            max_wall=self.project.max_wall,
            output_required=not all(output.optional for output in self.output),
            policy=self.policy(),
            near_limit=self.transfer.near_limit,
            transfer_deadline=self.transfer.deadline,
            link_limit=self.transfer.at_once,
        )

    def process(self, project: str | None = None) -> Job:
        """Return the job that every process of the spec is, for its project or for one that recovers it."""
        return Job(
            project=project or self.project.name,
            command=tuple(self.job.command),
            workdir=str(self.folder.absolute()),
            outputs=tuple(
                OutputSpec(
                    name=output.name,
                    destination=self._absolute(output.destination),
                    key=output.key,
                    validate=output.validation,
                    expect=output.expect.model_dump(exclude_none=True) if output.expect else None,
                    optional=output.optional,
                    near=self._absolute(output.near) if output.near else None,
                )
                for output in self.output
            ),
            files_per_process=self.job.files_per_process,
            stage_inputs=self.job.stage_inputs,
            allow_entries_mismatch=self.job.allow_entries_mismatch,
            executor=self.executor.kind,
            memory_mb=self.executor.memory_mb,
            wall_s=self.executor.run_time,
            plugins=self.plugins.places(self.folder),
        )

    def load(self, job: Job, folder: Path, catalog: str | None) -> Loaded:
        """Make a job of the spec travel (`bookkeeper.cargo.load`); ``folder`` is that of its submission."""
        from bookkeeper import cargo

        return cargo.load(
            job,
            folder,
            catalog=catalog,
            base=self.folder,
            files=self.job.files,
            archives=self.job.archives,
            schemes=cargo.SCHEMES if self.job.stage_inputs else (),
        )

    def _absolute(self, place: str) -> str:
        if "://" in place:
            return place
        return in_folder(self.folder, place)


def cross_checks(
    job: JobTable | None, outputs: list[OutputTable] | None
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (place, problem) of what is wrong between tables: placeholders, names and keys of outputs."""
    partitioned = job is not None and job.partition_by is not None
    if outputs is not None and job is not None:
        for problem in command.problems(job.command, [one.key for one in outputs], partitioned=partitioned):
            yield ("job", "command"), problem
    for number, output in enumerate(outputs or ()):
        if output.near is not None and output.near.rstrip("/") == output.destination.rstrip("/"):
            yield ("output", number, "near"), "is the destination itself: leave it out"
    seen: dict[Any, int] = {}
    for number, output in enumerate(outputs or ()):
        place = ("output", number)
        if job is not None:
            for problem in _name_problems(output.name, partitioned=partitioned):
                yield (*place, "name"), problem
        if output.key is None and len(outputs or ()) > 1:
            yield (*place, "key"), 'is missing: several outputs need a key each, for example key = "hist"'
        for what, value in (("key", output.key), ("name", (output.destination, output.name))):
            if value is not None and seen.setdefault((what, value), number) != number:
                yield (*place, what), "is the same as in another output"


def travel_problems(
    job: JobTable, outputs: list[OutputTable], executor: ExecutorTable
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (place, problem) of what does not fit together where jobs travel, or do not."""
    if executor.transfer != "files":
        if job.archives:
            yield ("job", "archives"), 'needs transfer = "files" in [executor]: nothing travels otherwise'
        return
    for number, output in enumerate(outputs):
        if "://" not in output.destination and not output.destination.startswith("/"):
            yield (
                ("output", number, "destination"),
                f"{output.destination!r} is a folder of this host, which its nodes do not share: write a URL, or a path that is the same there",
            )


def _name_problems(name: str, *, partitioned: bool) -> Iterator[str]:
    allowed = ["process", "partition"] if partitioned else ["process"]
    listed = " or ".join(f"{{{one}}}" for one in allowed)
    found = [match.group(1) for match in _FIELD.finditer(name)]
    if "partition" in found and not partitioned:
        yield "{partition} needs partition_by in [job]; without it the name carries {process}"
    elif unknown := [one for one in found if one not in allowed]:
        what = f"unknown placeholder {{{unknown[0]}}}" if unknown[0] is not None else "a single brace"
        yield f"{what} in {name!r}; allowed: {listed}"
    elif not found:
        yield f"{name!r} is the same for every process; put {listed} into it"
    else:
        try:
            stageout.final_url("/", _FIELD.sub("1", name))
        except UsageError as error:
            yield f"{name!r} is no name for an output; {error.remedy}"
