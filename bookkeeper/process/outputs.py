"""What an output is called, and how many entries it must have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bookkeeper.errors import StorageError, UsageError
from bookkeeper.process.files import DeliveredFile

if TYPE_CHECKING:
    from bookkeeper.validation import Validation

Expect = Mapping[str, Any]


def name_of(template: str, process: int, partition: int | None) -> str:
    """Return an output's final name: ``{process}`` and ``{partition}`` filled in.

    Raises `UsageError` where the name could not be unique.
    """
    if "{partition}" in template and partition is None:
        raise UsageError(f"{template!r} names an output by partition, but this process has none")
    if "{process}" not in template and "{partition}" not in template:
        raise UsageError(f"{template!r} is the same for every process", remedy="put {process} or {partition} into it")
    return template.replace("{process}", str(process)).replace("{partition}", str(partition))


def entries_consumed(files: Iterable[DeliveredFile]) -> int:
    """Return the entries of all consumed files: as reported, else as catalogued. Raises `UsageError` if unknown."""
    total = 0
    for file in files:
        if file.state == "consumed":
            entries = file.entries if file.entries_read is None else file.entries_read
            if entries is None:
                raise UsageError(f"the entries of {file.name} are not known", remedy="declare them, or report them")
            total += entries
    return total


def resolved(expect: Expect | None, files: Iterable[DeliveredFile]) -> dict[str, Any] | None:
    """Return what is expected, with ``entries = "consumed"`` as the number that it is."""
    said = dict(expect) if expect else None
    if said and said.get("entries") == "consumed":
        said["entries"] = entries_consumed(files)
    return said


def claim_for(final: str, target: str, catalog_id: str, *, adopt: bool) -> None:
    """Claim the storage that an output is written to; where that is its destination, its final name has to be free."""
    from bookkeeper import stageout

    stageout.claim(target, catalog_id, adopt=adopt)
    if final.startswith(f"{target}/") and stageout.exists(final):
        raise StorageError(
            f"{final} exists already: this process would have to overwrite it",
            remedy="move it away, or name another output",
        )


def entries_of(proof: Validation | None, expect: Expect | None) -> int | None:
    """Return the entries of an output: of the expected tree, else the only one, else the largest."""
    if not proof:
        return None
    tree = str(expect.get("tree")) if expect else ""
    return proof[tree] if tree in proof else max(proof.values(), default=None)


def prove(path: Path, level: str | Sequence[str], expect: Expect | None, plugins: Sequence[str] = ()) -> Validation:
    """Prove a file by a level, by the validator of a plug-in, or by a command.

    ``plugins`` are the modules to look in beside what is installed. Raises `ValidationError`, `UsageError`.
    """
    from bookkeeper.validation import LEVELS, Judge, validate

    if not isinstance(level, str):
        return validate(path, "quick", expect, command=list(level))
    if level in LEVELS:
        return validate(path, level, expect)
    from bookkeeper.plugins import validator

    return validate(path, "quick", expect, judge=Judge(level, validator(level, plugins)))
