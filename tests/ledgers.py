"""Catalogs, requests and quick jobs for the tests of the ledger: files that exist in the catalog only."""

from __future__ import annotations

import contextlib
import functools
import itertools
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bookkeeper import projects, recovery
from bookkeeper.api import Catalog, create_catalog, open_catalog
from bookkeeper.catalog import Tx
from bookkeeper.errors import BookkeeperError
from bookkeeper.ledger import SqlLedger, outputs, requests
from bookkeeper.protocol import (
    Delivered,
    Fate,
    FileMark,
    Ledger,
    Manifest,
    Mark,
    OutputRecord,
    ProcessKey,
    StartProcess,
    StoredOutput,
)
from bookkeeper_schema import invariants
from services import postgres

INVARIANTS = invariants.load()
WHERE = "/results"
NEAR = "/near"
NAMES = "f{:03d}"
_numbers = itertools.count(1)


class World:
    """A catalog with files ``f000``, ``f001``, …, all in the dataset ``all``, and a ledger to speak to."""

    def __init__(self, catalog: Catalog) -> None:
        self.use(catalog)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the catalog, which is opened there."""
        return {}

    def use(self, catalog: Catalog) -> None:
        """Go on with this catalog."""
        self.catalog = catalog
        self.database = catalog.database
        self.ledger: Ledger = SqlLedger(catalog.database)
        self.services = contextlib.ExitStack()

    def served(self) -> World:
        """Speak to the ledger through a real server from now on."""
        from services.servers import http_ledger

        self.ledger = self.services.enter_context(http_ledger(self.database))
        return self

    def offline(self) -> World:
        """Speak through tickets and journals from now on."""
        from services.journals import IngestedLedger

        self.ledger = self.services.enter_context(IngestedLedger(self.catalog))
        return self

    @classmethod
    def create(cls, path: Path, files: int = 4, *, backend: str = "sqlite", **rules: Any) -> World:
        """Make a catalog of so many files, and the project ``p`` over them."""
        world = BACKENDS[backend](cls, path)
        world.fill(files, **rules)
        return world

    def fill(self, files: int, **rules: Any) -> None:
        """Declare so many files, and start the project ``p`` over them."""
        world = self
        world.catalog.declare_files(
            {
                "name": NAMES.format(number),
                "size": 10 * (number + 1),
                "entries": number + 1,
                "locations": [f"/in/{number}"],
            }
            for number in range(files)
        )
        world.catalog.define_dataset("all", names=["*"])
        try:
            world.catalog.start_project("p", "all", **rules)
        except BookkeeperError:
            world.close()
            raise

    def close(self) -> None:
        """Let go of the catalog."""
        self.ledger.close()
        self.services.close()
        self.catalog.close()

    # -- operators -------------------------------------------------------------------------------------------------

    def start(self, project: str = "p", **introduction: Any) -> Job:
        """Start a job of its own."""
        nonce = introduction.pop("nonce", None) or f"nonce-{next(_numbers)}"
        return Job(self, StartProcess(project=project, nonce=nonce, **introduction))

    def recover(self, project: str = "p", *, fence: bool = False) -> str | None:
        """Recover; the name of the project, or None."""
        return recovery.recover(self.database, project, fence=fence)

    def end(self, project: str = "p", *, fence: bool = False) -> int:
        """End; how many processes were fenced."""
        return projects.end(self.database, project, fence=fence)

    def reopen(self, job: Job) -> int:
        """Reopen a process whose outputs were never really written; how many files are free again."""
        self.revoke(job)
        with self.database.transaction(durable=True) as tx:
            return outputs.finish_reopen(tx, job.key.id)

    def revoke(self, job: Job, project: str | None = None) -> tuple[StoredOutput, ...]:
        """The first phase of reopen; the outputs to delete."""

        def move(tx: Tx) -> tuple[StoredOutput, ...]:
            request = requests.find(tx, project or job.project).request
            return outputs.begin_reopen(tx, job.key.id, request, "its output was lost")

        return self.database.run(move, durable=True)

    # -- time ------------------------------------------------------------------------------------------------------

    def late(self, *jobs: Job) -> None:
        """Let the lease of these jobs have run out a second ago: a job that fell silent, or a clock that jumped."""
        self.change(
            "UPDATE processes SET lease_until = lease_until - lease - 1e6 WHERE id = ?", [(j.key.id,) for j in jobs]
        )

    def change(self, statement: str, rows: Sequence[Any] = ((),)) -> None:
        """Tamper with the catalog, as time and clocks do."""
        with self.database.transaction() as tx:
            tx.many(statement, rows)

    def change_file(self, name: str) -> None:
        """Declare other content under a known name."""
        self.catalog.declare_files([{"name": name, "size": 1, "entries": 1, "locations": ["/in/new"]}], update=True)

    # -- looking ---------------------------------------------------------------------------------------------------

    def value(self, query: str, *parameters: Any) -> Any:
        """The first column of the first row."""
        _, rows = self.database.table(query, parameters)
        return rows[0][0] if rows else None

    def column(self, query: str, *parameters: Any) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in self.database.table(query, parameters)[1]]

    def id_of(self, name: str) -> int:
        """The file's number."""
        return int(self.value("SELECT id FROM files WHERE name = ?", name))

    def files(self, state: str) -> list[str]:
        """The names of the files in a state of the ledger."""
        return self.column(
            "SELECT f.name FROM ledger l JOIN files f ON f.id = l.file_id WHERE l.state = ? ORDER BY f.name", state
        )

    def attempts(self, name: str) -> tuple[int, int]:
        """The charged failures of a file: in all, and alone."""
        _, rows = self.database.table(
            "SELECT l.attempts, l.alone FROM ledger l JOIN files f ON f.id = l.file_id WHERE f.name = ?", (name,)
        )
        return rows[0]

    def setbacks(self, name: str) -> int:
        """The failures of a file that said nothing about it."""
        return int(
            self.value("SELECT l.setbacks FROM ledger l JOIN files f ON f.id = l.file_id WHERE f.name = ?", name)
        )

    def reason(self, name: str) -> str:
        """Why a file does not count."""
        return str(self.value("SELECT reason FROM uncommitted WHERE file = ?", name))

    def state(self, job: Job) -> str:
        """The state of a job's process in the catalog."""
        return str(self.value("SELECT state FROM processes WHERE id = ?", job.key.id))

    def project_state(self, name: str = "p") -> tuple[str, str | None]:
        """The state of a project, and why."""
        return self.database.table("SELECT state, reason FROM projects WHERE name = ?", (name,))[1][0]

    def dump(self, *, clocks: bool = False) -> dict[str, list[tuple[Any, ...]]]:
        """Everything the catalog says, but for times and events."""
        tables = (
            "requests",
            "projects",
            "ledger",
            "processes",
            "deliveries",
            "outputs",
            "destinations",
            "excluded_nodes",
            "transfers",
        )
        return {
            table: [self._row(names, row, clocks) for row in rows]
            for table in tables
            for names, rows in [self._all(table)]
        }

    def _all(self, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        return self.database.table(f"SELECT * FROM {table} ORDER BY 1, 2")

    def _row(self, names: list[str], row: tuple[Any, ...], clocks: bool) -> tuple[Any, ...]:
        timed = ("_at", "_until", "since", "until", "not_before", "deadline")
        return tuple(
            (value is not None if name.endswith(timed) and not clocks else value)
            for name, value in zip(names, row, strict=True)
        )


class Job:
    """A job that speaks the protocol by itself, file by file name, and remembers its answers."""

    def __init__(self, world: World, introduction: StartProcess) -> None:
        self.world = world
        self.introduction = introduction
        self.project = introduction.project
        self.started = self.ledger.start_process(introduction)
        self.key: ProcessKey = self.started.key
        self.ids: dict[str, int] = {}
        self.seq = 0

    @property
    def ledger(self) -> Ledger:
        """What it speaks to."""
        return self.world.ledger

    def ask(self, limit: int = 100, done: Sequence[FileMark] = (), *, seq: int | None = None) -> Delivered:
        """Say next_files, with the next number unless told."""
        if seq is None:
            self.seq += 1
        answer = self.ledger.next_files(self.key, seq or self.seq, limit, done)
        self.ids.update({info.name: info.id for info in answer.files})
        return answer

    def take(self, limit: int = 100) -> list[str]:
        """Ask for files; their names."""
        return [info.name for info in self.ask(limit).files]

    def mark(self, mark: Mark, *names: str, **more: Any) -> None:
        """Mark files, all that it has unless told."""
        self.ledger.mark(self.key, [FileMark(self.ids[name], mark, **more) for name in names or self.ids])

    def open(self, *names: str) -> None:
        """Open files, all that it has unless told."""
        self.mark(Mark.OPENED, *names)

    def manifest(self, *outputs: OutputRecord, no_output: bool = False, **marks: Mark) -> Manifest:
        """Every file consumed but those named otherwise."""
        decided = [
            FileMark(id, marks.get(name, Mark.CONSUMED), reason=f"{name} is odd") for name, id in self.ids.items()
        ]
        return Manifest(decided, outputs, no_output)

    def output(self, name: str | None = None, *, n: int = 0, size: int = 100) -> OutputRecord:
        """An output as if it had been staged."""
        name = name or f"out-{self.key.id}-{n}.root"
        temporary = f"{WHERE}/.bookkeeper/{self.key.id}-{self.started.tag}-{n}/{name}"
        return OutputRecord(f"k{n}", WHERE, temporary, f"{WHERE}/{name}", size, "adler32:0000000a", 5)

    def commit(self, **marks: Mark) -> tuple[StoredOutput, ...]:
        """Commit what it has with one output."""
        return self.ledger.commit(self.key, self.manifest(self.output(), **marks))

    def stage(self) -> None:
        """Record one output that waits for its transfer."""
        self.ledger.stage(self.key, self.manifest(self.output()))

    def near(self, n: int = 0, *, size: int = 100, destination: str = WHERE) -> OutputRecord:
        """An output as if it had been stored near."""
        name = f"out-{self.key.id}-{n}.root"
        temporary = f"{NEAR}/.bookkeeper/{self.key.id}-{self.started.tag}-{n}/{name}"
        return OutputRecord(
            f"k{n}", destination, temporary, f"{destination}/{name}", size, "adler32:0000000a", 5, None, NEAR
        )

    def stage_near(self, *outputs: OutputRecord, **marks: Mark) -> None:
        """Leave one output, or these, to be transferred."""
        self.ledger.stage(self.key, self.manifest(*(outputs or (self.near(),)), **marks))

    def roll_back(self, reason: str = "it crashed", **how: Any) -> Fate:
        """Give everything back."""
        return self.ledger.roll_back(self.key, reason, **how)

    def crash(self, limit: int = 100) -> list[str]:
        """Take files, open them, fail; their names."""
        names = self.take(limit)
        if names:
            self.open()
        self.roll_back()
        return names

    def publish(self) -> None:
        """Record every output as seen under its final name."""
        self.ledger.published(self.key, [one.id for one in self.ledger.outputs_of(self.key)])


def new_catalog(path: Path) -> Catalog:
    """Make an empty catalog, which is no other's copy; quickly, from one made before."""
    shutil.copyfile(Path(_template().name) / "empty.db", path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE catalog SET uuid = ?", (str(uuid.uuid4()),))
    return open_catalog(f"sqlite:///{path}")


def new_postgres_catalog() -> Catalog:
    """Make an empty catalog on the server of the tests."""
    return open_catalog(postgres.shared().new())


BACKENDS: dict[str, Callable[[type[World], Path], World]] = {
    "sqlite": lambda world, path: world(new_catalog(path)),
    "postgresql": lambda world, _: world(new_postgres_catalog()),
    "http-sqlite": lambda world, path: world(new_catalog(path)).served(),
    "http-postgresql": lambda world, _: world(new_postgres_catalog()).served(),
    "journal": lambda world, path: world(new_catalog(path)).offline(),
}
"""What the contract suite runs over: an implementation of the protocol over a database."""


@functools.cache
def _template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="bookkeeper-")
    create_catalog(f"sqlite:///{folder.name}/empty.db").close()
    return folder


def violations(database: Any) -> list[str]:
    """Everything that must hold and does not."""
    return [f"{one.code}: {row['thing']}" for one in INVARIANTS for row in database.rows(one.query)]


def sound(world: World) -> None:
    """Fail unless every invariant holds."""
    assert violations(world.database) == []


def marks(job: Job, mark: Mark, names: Iterable[str]) -> list[FileMark]:
    """The same mark for several files."""
    return [FileMark(job.ids[name], mark) for name in names]
