"""``[executor]``: where the processes of a spec run, how many at once, and what each asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from bookkeeper.executors.batch import Asks
from bookkeeper.spec.values import Bytes, Count, Seconds, Table, Word, in_folder

MB: Final = 1 << 20
"""Bytes: what schedulers mean by it."""


class ExecutorTable(Table):
    """``[executor]``: the kind, how many jobs at once (running or waiting), and what each asks for.

    ``memory`` and ``disk`` are bytes, ``run_time`` seconds. ``queue`` is a Slurm partition or a job flavour of CERN,
    ``account`` who pays. ``extra`` are lines of an HTCondor submit description or options of ``sbatch``. ``catalog`` is
    the address by which jobs reach the catalog, where it is another one than that of `submit`. ``transfer``:
    ``shared`` where nodes see the folders of this host, ``files`` where all that a job needs travels with it. The
    tables ``htcondor``, ``slurm`` and ``dask`` are for the executor of that name.
    """

    kind: str = "local"
    jobs: Annotated[int, Field(ge=1, le=10_000)] = 1
    memory: Bytes | None = None
    max_memory: Bytes | None = None
    disk: Bytes | None = None
    cpus: Count | None = None
    run_time: Seconds | None = None
    queue: Word | None = None
    account: Word | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    extra: list[Word] = Field(default_factory=list)
    catalog: Word | None = None
    transfer: Literal["shared", "files"] = "shared"
    proxy: Word | None = None
    token: Word | None = None
    container: Word | None = None
    htcondor: dict[str, Any] = Field(default_factory=dict)
    slurm: dict[str, Any] = Field(default_factory=dict)
    dask: dict[str, Any] = Field(default_factory=dict)

    @field_validator("environment")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not name.isidentifier() or not name.isascii():
                raise ValueError(f"{name!r} is no name of a variable")
            if "\0" in text or "\n" in text:
                raise ValueError(f"{name} has a line break in it: batch systems do not carry that")
        return value

    @model_validator(mode="after")
    def _fits(self) -> ExecutorTable:
        if self.memory and self.max_memory and self.max_memory < self.memory:
            raise ValueError("max_memory is less than memory: it is the most that a job asks for after memory kills")
        for name in ("htcondor", "slurm", "dask"):
            if getattr(self, name) and self.kind != name:
                raise ValueError(f'has a table {name}, and kind = "{self.kind}"')
        return self

    @property
    def memory_mb(self) -> float | None:
        """``memory`` in MB."""
        return self.memory / MB if self.memory else None

    @property
    def max_memory_mb(self) -> float | None:
        """``max_memory`` in MB."""
        return self.max_memory / MB if self.max_memory else None

    def asks(self, folder: Path) -> Asks:
        """Return what a batch system is asked for; paths are relative to the folder of the spec."""
        return Asks(
            memory_mb=self.memory_mb,
            disk_mb=self.disk / MB if self.disk else None,
            run_time_s=self.run_time,
            cpus=self.cpus,
            queue=self.queue,
            account=self.account,
            environment=dict(self.environment),
            extra=tuple(self.extra),
            transfer=self.transfer,
            proxy=in_folder(folder, self.proxy) if self.proxy else None,
            token=in_folder(folder, self.token) if self.token else None,
            container=self.container,
            options=getattr(self, self.kind, {}) if self.kind in ("htcondor", "slurm", "dask") else {},
        )
