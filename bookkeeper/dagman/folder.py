"""The folder of a DAG, and in it one of each node.

::

    dag.json            what the DAG is of: the scripts and the commands read it
    all.dag             the DAG, for `condor_submit_dag`; `again-001.dag`, … are of nodes that were resubmitted
    node.sub, job.json  the submit description of every node, and what its job runs
    script              what DAGMan starts before and after each job
    submitted.json      the batch ids of the DAGs
    nodes/NODE/         ticket, journals/, what the job printed, state.json (what the scripts saw last)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from bookkeeper.errors import NotFound, UsageError

FORMAT: Final = 1
MAIN: Final = "all"
DAG_FILE: Final = "dag.json"


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node: its name, and the partition that it is; None in pull mode, where it takes what is left."""

    name: str
    partition: int | None = None


class Dag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a DAG is of. ``id`` is its name in the queue; ``wall``, ``grace``, ``later`` and ``late`` are in seconds.

    ``later`` is when a script that has to wait is started again, ``late`` how long a journal is waited for whose job
    ended well.
    """

    format: int
    id: str
    catalog: str
    project: str
    wall: float
    grace: float
    later: float
    late: float
    files_per_process: int | None
    destination: str | None
    validate: str
    adopt: bool
    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node:
        """Return the node of that name. Raises `NotFound`."""
        for one in self.nodes:
            if one.name == name:
                return one
        raise NotFound(f"there is no node {name!r} in this DAG", remedy="`bookkeeper dag status FOLDER` lists them")


def read(folder: Path) -> Dag:
    """Return what the DAG in a folder is of. Raises `NotFound`, `UsageError`."""
    try:
        dag = msgspec.json.decode((folder / DAG_FILE).read_bytes(), type=Dag)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{folder} holds no DAG", remedy="`bookkeeper dag make SPEC --out FOLDER` makes one") from None
    except (msgspec.MsgspecError, OSError) as error:
        raise UsageError(f"{folder / DAG_FILE} cannot be read: {error}", remedy="make the DAG again") from error
    if dag.format != FORMAT:
        raise UsageError(
            f"{folder} was made by another version of bookkeeper", remedy="use that version, or make it again"
        )
    return dag


class Place:
    """The folder of one node."""

    def __init__(self, folder: Path, node: str) -> None:
        self.path = folder / "nodes" / node
        self.ticket = self.path / "ticket"
        self.next = self.path / "next.ticket"
        self.killed = self.path / "killed.json"
        self._state = self.path / "state.json"

    def journals(self) -> list[Path]:
        """Return all journals that came home, of every try; those first that say that their job did its work.

        The first of a ticket's to be taken in decides: a job that was evicted says that it failed, and ran once more.
        """
        return sorted(sorted((self.path / "journals").glob("*.journal")), key=lambda path: not _finished(path))

    def finished(self) -> bool:
        """Tell whether some journal says that its job did its work."""
        return any(map(_finished, self.journals()))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one script of the node do something at a time: an orphan of a killed DAGMan may still be at it."""
        with (self.path / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def state(self) -> dict[str, Any]:
        """Return what was written last: for people, and which DAG has the ticket; empty where nothing was."""
        return read_json(self._state)

    def write(self, **said: Any) -> None:
        """Write down what a script saw: what is not said anew stays."""
        write_json(self._state, {**self.state(), **said})


def _finished(journal: Path) -> bool:
    return b'"verb":"commit"' in journal.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file, empty where there is none, or none that is whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, said: dict[str, Any]) -> None:
    """Write an object into a file, whole or not at all."""
    write_text(path, json.dumps(said, indent=1) + "\n")


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a text into a file, whole or not at all."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
