"""What a worker is told to do, and what it says became of it. Both go through JSON, from one process to another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from bookkeeper.errors import Fenced, NodeExcluded, NothingToDo, Paused, RolledBack, UsageError


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One output of a job.

    ``name`` is the final name with ``{process}`` or ``{partition}`` in it; ``destination`` a folder or URL;
    ``validate`` a level (``deep``, ``quick``) or a command with ``{path}``; ``expect`` is
    ``{"tree": …, "entries": number | "consumed"}``; ``optional`` allows that the command writes none. ``near`` is where it
    is stored first, to be transferred when the job is gone.
    """

    name: str
    destination: str
    key: str | None = None
    validate: str | tuple[str, ...] = "deep"
    expect: Mapping[str, Any] | None = None
    optional: bool = False
    near: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An archive that travels with a job: its name there, its size in bytes, its checksum (``sha256:…``)."""

    name: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Job:
    """One process to run: which project, which command, and how.

    ``command`` has placeholders (``bookkeeper.worker.command``); ``workdir`` is its working folder, an absolute path.
    ``lease`` is in seconds; None takes the project's, as does ``files_per_process``. ``wait``: wait while others hold
    the files that are left. ``grace`` is how many seconds the command has between being told to stop and being killed.
    ``memory_mb`` (of 2^20 bytes) and ``wall_s`` are what the batch system is asked for, None where it is asked for
    nothing, and ``because`` tells why; ``plugins`` are modules, or paths of such, to load. ``freight`` are archives that
    travelled with the job into the folder that its worker is started in: unpacked in this order, they are its working
    folder (`bookkeeper.worker.freight`), and ``workdir`` is nowhere.
    """

    project: str
    command: tuple[str, ...]
    workdir: str
    outputs: tuple[OutputSpec, ...] = ()
    files_per_process: int | None = None
    partition: int | None = None
    lease: float | None = None
    stage_inputs: bool = False
    allow_entries_mismatch: bool = False
    adopt: bool = False
    node: str | None = None
    executor: str | None = None
    job_id: str | None = None
    wait: bool = True
    grace: float = 10.0
    log_cap: int = 1 << 20
    memory_mb: float | None = None
    wall_s: float | None = None
    because: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    freight: tuple[Item, ...] = ()

    def as_json(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that a line of JSON describes. Raises `UsageError`."""
        try:
            given = json.loads(text)
            outputs = [OutputSpec(**{**one, "validate": _hashable(one["validate"])}) for one in given.pop("outputs")]
            words = {"command": tuple(given["command"]), "plugins": tuple(given.get("plugins", ()))}
            words["freight"] = tuple(Item(**one) for one in given.get("freight", ()))
            return cls(**{**given, **words, "outputs": tuple(outputs)})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"this is no job: {error}", remedy="a job is what `bookkeeper submit` writes") from error


COMMITTED: Final = "committed"
RECORDED: Final = "recorded"
STAGED: Final = "staged"
ROLLED_BACK: Final = "rolled_back"
NOTHING: Final = "nothing"
FENCED: Final = "fenced"
PAUSED: Final = "paused"
EXCLUDED: Final = "excluded"

_EXIT_CODES: Final = {
    COMMITTED: 0,
    RECORDED: 0,
    STAGED: 0,
    ROLLED_BACK: RolledBack.exit_code,
    NOTHING: NothingToDo.exit_code,
    FENCED: Fenced.exit_code,
    PAUSED: Paused.exit_code,
    EXCLUDED: NodeExcluded.exit_code,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a process.

    ``fate`` is committed, staged (its outputs are on their way), recorded (in a journal, which is to be ingested),
    rolled_back, nothing (no file was left), fenced (rolled back from outside), paused or excluded (its node is given nothing for a while).
    ``files`` were given to it, ``consumed`` of them count, with ``entries`` in all where these are known. ``outputs``
    are final addresses. ``code`` is the payload's exit code, negative the signal that ended it, None if it never ran.
    ``step`` is the step that failed.
    """

    fate: str
    process_id: int | None = None
    reason: str = ""
    files: int = 0
    consumed: int = 0
    entries: int = 0
    outputs: tuple[str, ...] = ()
    code: int | None = None
    step: str | None = None

    @property
    def exit_code(self) -> int:
        """The exit code: 0 committed, staged or recorded, 7 fenced, 11 paused, 12 nothing to do, 13 rolled back, 15 node excluded."""
        return _EXIT_CODES[self.fate]

    def as_json(self) -> str:
        """Return the outcome as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Outcome:
        """Return the outcome that a mapping describes."""
        known = {field.name for field in fields(cls)}
        chosen = {name: value for name, value in given.items() if name in known}
        return cls(**{**chosen, "outputs": tuple(chosen.get("outputs", ()))})


def _hashable(validate: str | Sequence[str]) -> str | tuple[str, ...]:
    return validate if isinstance(validate, str) else tuple(validate)
