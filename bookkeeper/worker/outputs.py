"""What a command is to leave as its outputs: whether it could be stored, what it left, and how to speak of it."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bookkeeper.errors import NotAllowed, StorageError, ValidationError
from bookkeeper.process import Process
from bookkeeper.process.outputs import claim_for
from bookkeeper.worker.evidence import evidence_of
from bookkeeper.worker.job import OutputSpec
from bookkeeper_schema.states import Step

if TYPE_CHECKING:
    from bookkeeper.validation import Validation

_UPLOAD: Final = re.compile(r"/\.bookkeeper/\d+-[0-9a-f]+-\d+(?=/)")


@dataclass(frozen=True, slots=True)
class Made:
    """An output as the command left it, proved."""

    spec: OutputSpec
    path: Path
    checksum: str
    proof: Validation | None


def in_general(problem: str, spec: OutputSpec, path: Path) -> str:
    """Return a problem of one process's output in words that are the same for every process it happens to."""
    told = problem.replace(str(path), f"output {spec.name}")
    return _UPLOAD.sub("", told).replace(path.name, spec.name)


def require_destination(process: Process, spec: OutputSpec, path: Path, *, adopt: bool) -> None:
    """Refuse a destination that no output could be stored at unless a person changes something: before the command runs.

    `StorageError` for one that cannot be written or where the final name is taken, `NotAllowed` for another catalog's.
    A storage that is only away is no reason: it may be back when the output is made.
    """
    from bookkeeper import failures, stageout

    place = stageout.resolve(spec.destination)
    final = stageout.final_url(place, process.name_of(spec.name))
    try:
        with _in_general(spec, path):
            claim_for(final, stageout.resolve(spec.near or place), process.started.catalog_id, adopt=adopt)
    except (StorageError, NotAllowed) as error:
        evidence = evidence_of(error, Step.OUTPUT_STORAGE, None, ())
        if failures.explain(evidence).category is failures.FailureCategory.CONFIGURATION:
            raise


def store(process: Process, made: Made, *, adopt: bool, on_progress: Callable[[int, int], None]) -> None:
    """Store an output at its destination, or near, under a temporary name. Raises what `Process.stage_out` raises."""
    spec = made.spec
    with _in_general(spec, made.path):
        process.stage_out(
            made.path,
            spec.destination,
            spec.name,
            key=spec.key,
            validate=None,
            expect=spec.expect,
            adopt=adopt,
            checksum=made.checksum,
            proof=made.proof,
            on_progress=on_progress,
            near=spec.near,
        )


@contextmanager
def _in_general(spec: OutputSpec, path: Path) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise StorageError(in_general(str(error), spec, path), remedy=error.remedy) from error


def is_there(spec: OutputSpec, path: Path) -> bool:
    """Tell whether the command wrote an output. Raises `ValidationError` where it had to, or wrote something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if spec.optional:
            return False
        beside = ", ".join(sorted(entry.name for entry in path.parent.iterdir())[:3]) if path.parent.is_dir() else ""
        also = f"; beside it lies {beside}" if beside else ""
        raise ValidationError(
            f"the command exited 0 and wrote no output {path.name} (its path is {{output}}){also}"
        ) from None
    if not stat.S_ISREG(mode):
        raise ValidationError(f"the output {path.name} is no regular file")
    return True
