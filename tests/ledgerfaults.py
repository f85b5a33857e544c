"""Break a ledger at any statement: real SQLite connections that fail, are interrupted, or kill their process at the n-th.

Everything a process at work needs is importable from here, because the processes that are killed are children.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psycopg

from bookkeeper import nodes, projects, retries
from bookkeeper.api import open_catalog
from bookkeeper.errors import CatalogError, Fenced, NotAllowed, NotFound, Paused, RolledBack
from bookkeeper.failures import Evidence
from bookkeeper.ledger import outputs, transfers
from bookkeeper.ledger.door import bury
from bookkeeper.protocol import EventRecord, Mark
from ledgers import WHERE, Job, World, violations

CRASH = Evidence(message="killed by signal 11 (SIGSEGV)", signal=11, exit_code=-11, step="analysis")
TRANSIENT = Evidence(message="exit code 1", exit_code=1, stderr="[ERROR] Operation expired", step="analysis")
TOO_LATE = Evidence(message="it did not arrive", step="output-storage")

How = Literal["fails before", "is interrupted", "fails after", "kills", "is lost before", "is lost after"]


class Fuse:
    """Counts statements, and breaks the one at which it blows; ``blows_at=0`` only counts."""

    def __init__(self, blows_at: int = 0, how: How = "fails before") -> None:
        self.blows_at = blows_at
        self.how = how
        self.passed: list[str] = []

    @property
    def count(self) -> int:
        """How many statements it has seen."""
        return len(self.passed)

    def blows(self, statement: object = "") -> bool:
        """Count a statement; tell whether it is the one."""
        self.passed.append(str(statement))
        return self.count == self.blows_at

    def different(self) -> list[int]:
        """Return the numbers of the statements that it saw for the first or the last time, the last of all among them."""
        first = {text: number for number, text in reversed(list(enumerate(self.passed, 1)))}
        last = {text: number for number, text in enumerate(self.passed, 1)}
        return sorted({*first.values(), *last.values()})


class BreakingConnection(sqlite3.Connection):
    """A real connection whose statements (and each row of ``executemany``) pass a fuse."""

    fuse: Fuse | None = None

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        """Execute, unless the fuse blows."""
        return self._through(lambda: super(BreakingConnection, self).execute(statement, *parameters))

    def executemany(self, statement: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        """Execute for each row, unless the fuse blows at one."""
        return super().executemany(statement, self._each(rows))

    def _each(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            fuse = BreakingConnection.fuse
            if fuse is not None and fuse.blows():
                self._break(fuse)
            yield row

    def _through(self, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        fuse = BreakingConnection.fuse
        if fuse is None or not fuse.blows():
            return run()
        if fuse.how == "fails after":
            run()
            self._break(fuse)
        if fuse.how == "is interrupted":
            self.set_progress_handler(lambda: 1, 1)
            try:
                run()
            finally:
                self.set_progress_handler(None, 1)
        self._break(fuse)
        raise AssertionError("unreachable")

    def _break(self, fuse: Fuse) -> None:
        if fuse.how == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


class BreakingPostgres(psycopg.Connection[Any]):
    """A real connection to PostgreSQL whose statements pass a fuse: it kills its process, or the connection is lost."""

    def execute(self, *statement: Any, **how: Any) -> Any:
        """Execute, unless the fuse blows: before, or after (a fuse that kills: after, half of the times)."""
        fuse = BreakingConnection.fuse
        if fuse is None or not fuse.blows(statement[0]):
            return super().execute(*statement, **how)
        if fuse.how == "is lost after" or (fuse.how == "kills" and fuse.count % 2):
            super().execute(*statement, **how)
        if fuse.how == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        self.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


@contextmanager
def breakable() -> Iterator[None]:
    """Within, every connection that is opened can be broken by `broken`."""
    plain, plain_postgres = sqlite3.connect, psycopg.connect
    sqlite3.connect = functools.partial(plain, factory=BreakingConnection)  # type: ignore[assignment]
    psycopg.connect = BreakingPostgres.connect
    try:
        yield
    finally:
        sqlite3.connect, psycopg.connect = plain, plain_postgres


@contextmanager
def broken(fuse: Fuse) -> Iterator[Fuse]:
    """Within, statements pass the fuse."""
    BreakingConnection.fuse = fuse
    try:
        yield fuse
    finally:
        BreakingConnection.fuse = None


# -- the verbs -----------------------------------------------------------------------------------------------------------

Verb = Callable[[], Any]


class Scene:
    """A world in which every verb of the ledger has something to do; the same each time, but for the clock.

    It can be carried over to a copy of its catalog (`play_on`), so that each verb finds it untouched.
    """

    def __init__(self, folder: Path, backend: str = "sqlite") -> None:
        self.path = folder / "scene.db"
        world = self.world = World.create(self.path, 8, backend=backend)
        self.url = world.database.url
        world.catalog.start_project("q", "all")
        jobs = [world.start(nonce=f"{n}", files_per_process=2) for n in range(5)]
        self.job, self.silent, self.staged, self.committed, self.revoking = jobs
        for one in jobs:
            one.take(1)
            one.open()
        self.staged.stage()
        (self.stored,) = self.committed.commit()
        self.revoking.commit()
        world.revoke(self.revoking)
        self.hungry = world.start("q", nonce="hungry")
        holder = world.start("q", nonce="holder")
        holder.take()
        self.braking = self._third("b", CRASH)
        self.resting = self._third("t", TRANSIENT)
        world.catalog.start_project("x", "all", files_per_process=1)
        world.start("x", nonce="good", node="good").take(1)
        self.excluding = self._third("x", CRASH, node="bad")
        self._transfers()
        world.late(self.silent, holder)
        world.close()

    def _transfers(self) -> None:
        """Outputs at every point of their way; only one waits over its link, so that a claim has nothing after it."""
        world = self.world
        world.catalog.start_project("n", "all", files_per_process=1)
        jobs = [world.start("n", nonce=f"near{number}") for number in range(5)]
        waiting, two, last, dumb, over = jobs
        for one in jobs:
            one.take(1)
        for one in (last, dumb, over):
            one.stage_near()
        two.stage_near(two.near(0), two.near(1, destination="memory://far"))
        self.first = self._claim("first")
        self.claims = {one.process: one for one in [self.first, *(self._claim(f"c{n}") for n in range(3))]}
        over.roll_back()
        waiting.stage_near()
        self.waiting, self.two, self.last, self.over = (one.key.id for one in (waiting, two, last, over))
        dumb_output = self.claims[dumb.key.id].output
        world.change("UPDATE transfers SET claimed_until = 1 WHERE output_id = ?", [(dumb_output,)])
        world.change("UPDATE transfers SET deadline = 1 WHERE process_id = ?", [(self.waiting,)])
        self.waiting_output = world.value("SELECT output_id FROM transfers WHERE process_id = ?", self.waiting)

    def _claim(self, name: str) -> transfers.Claimed | None:
        request = self.world.value("SELECT id FROM requests WHERE name = 'n'")
        return self.world.database.run(lambda tx: transfers.claim(tx, "local->local", request, 10, name, 1e6))

    def _transfer(self, move: Callable[..., Any], process: int, *more: Any) -> Any:
        return self.world.database.run(lambda tx: move(tx, self.claims[process], *more), durable=True)

    def _give_up(self) -> None:
        judge = retries.judge_of(self.world.database, self.waiting, TOO_LATE)
        self.world.database.run(
            lambda tx: transfers.give_up(tx, self.waiting_output, self.waiting, "too late", judge), durable=True
        )

    def _third(self, project: str, evidence: Evidence, node: str | None = None) -> Job:
        """The third job of a project that is about to fail as two before it did."""
        if node is None:
            self.world.catalog.start_project(project, "all", files_per_process=1)
        for number in range(3):
            job = self.world.start(project, nonce=f"{project}{number}", node=node)
            job.take(1)
            job.open()
            if number < 2:
                job.roll_back(evidence.message, evidence=evidence)
        return job

    def play_on(self, path: Path | str) -> None:
        """Go on with another catalog, as if nothing had been said yet."""
        self.job.ids = {"f000": 1}
        self.world.use(open_catalog(path))

    @property
    def verbs(self) -> dict[str, Verb]:
        """Everything that changes the ledger."""
        world, job, staged, committed = self.world, self.job, self.staged, self.committed
        return {
            "start_process": lambda: world.start(nonce="new", node="n1").started,
            "next_files": lambda: job.ask(5, list(job.manifest().files), seq=2),
            "next_files that sweeps": lambda: self.hungry.ask(5, seq=1),
            "mark": lambda: job.mark(Mark.FAILED, reason="bad"),
            "heartbeat": lambda: world.ledger.heartbeat(job.key),
            "stage": job.stage,
            "commit": job.commit,
            "commit of a failed file": lambda: job.commit(f000=Mark.FAILED),
            "commit of a staged process": staged.commit,
            "commit that is refused": self._refused,
            "roll_back": job.roll_back,
            "roll_back of a staged process": staged.roll_back,
            "roll_back that brakes": lambda: self.braking.roll_back(CRASH.message, evidence=CRASH),
            "roll_back that lets rest": lambda: self.resting.roll_back(TRANSIENT.message, evidence=TRANSIENT),
            "roll_back that excludes": lambda: self.excluding.roll_back(CRASH.message, evidence=CRASH),
            "bury": lambda: _done(bury(world.database, job.key.id, "its worker ended without a word")),
            "exclude": lambda: _done(nodes.exclude(world.database, "n1", reason="hot")),
            "hold_back": lambda: projects.hold_back(world.database, "p", ["f006"], 60.0, "its server reboots"),
            "expire": lambda: _done(world.catalog.expire()),
            "published": lambda: world.ledger.published(committed.key, [self.stored.id]),
            "will_write_to": lambda: world.ledger.will_write_to(job.key, "/new"),
            "record": lambda: world.ledger.record(job.key, [EventRecord("job.said", {"n": 1})] * 2),
            "pause": lambda: world.catalog.project("p").pause("look"),
            "end with fence": lambda: _done(world.end(fence=True)),
            "recover": world.recover,
            "recover with fence": lambda: world.recover(fence=True),
            "park": lambda: world.catalog.project("p").park(["f006", "f007"], "bad"),
            "reopen, first phase": lambda: world.revoke(committed),
            "reopen, second phase": self._finish,
            "stage near": job.stage_near,
            "claim": lambda: _done(self._claim("new")),
            "progress": lambda: self._transfer(transfers.progress, self.last, 50, 1e6),
            "arrived": lambda: self._transfer(transfers.arrived, self.two, f"{WHERE}/.bookkeeper/new-0/a"),
            "arrived, the last": lambda: _done(
                self._transfer(transfers.arrived, self.last, f"{WHERE}/.bookkeeper/new-1/a")
            ),
            "failed": lambda: _done(self._transfer(transfers.failed, self.last, "transient_io", "it broke", 5.0)),
            "silent": lambda: _done(world.database.run(transfers.silent)),
            "give up": self._give_up,
            "near copy gone": lambda: _done(
                world.database.run(lambda tx: transfers.near_copy_gone(tx, self.claims[self.over].output))
            ),
        }

    def _refused(self) -> None:
        try:
            self.job.ledger.commit(self.job.key, self.job.manifest())
        except (RolledBack, Fenced):
            return
        raise AssertionError("it was not refused")

    def _finish(self) -> None:
        self.world.database.run(lambda tx: outputs.finish_reopen(tx, self.revoking.key.id), durable=True)


def _done(_: object) -> None:
    """Forget how much was done: nothing is left for the repetition."""


# -- children ------------------------------------------------------------------------------------------------------------


def killed_at(scene: Scene, path: Path, verb: str, n: int) -> None:
    """In a child: say a verb to the catalog at ``path`` and die at its n-th statement."""
    with breakable():
        scene.play_on(path)
        scene.world.value("SELECT 1")
        with broken(Fuse(n, "kills")):
            scene.verbs[verb]()


def work_until_complete(url: str, seed: int, lifetime: int, *, crashes: bool = False) -> None:
    """In a child: process files until the request is complete, or die at a statement before ``lifetime`` (0: never).

    ``crashes``: the server of the catalog may be away for long, and forget which files were given to whom.
    """
    chance = random.Random(seed)
    fuse = Fuse(chance.randrange(1, lifetime) if lifetime else 0, "kills")
    away = (CatalogError,) if crashes else ()
    with breakable(), broken(fuse):
        world: World | None = None
        complete = False
        while not complete:
            with suppress(*away):
                world = world or World(open_catalog(url))
                complete = _complete_or_one_more(world, chance, crashes=crashes)


def _complete_or_one_more(world: World, chance: random.Random, *, crashes: bool) -> bool:
    project = world.catalog.project("p")
    if project.status().complete:
        return True
    try:
        _one_process(world, chance)
    except Paused:
        world.catalog.project(project.status().open_project or "p").resume()
    except (Fenced, NotAllowed, RolledBack, CatalogError):  # it was too late, or the server is away or forgot
        pass
    except NotFound as error:
        if not crashes or "was given no file" not in str(error):
            raise
    return False


def _one_process(world: World, chance: random.Random) -> None:
    """Take some files, then commit, roll back, recover under its own feet, or hang until it is a zombie."""
    world.catalog.expire()
    project = world.catalog.project("p").status().open_project or world.recover()
    if project is None:
        return
    job = world.start(project, nonce=f"{chance.getrandbits(64)}", lease=0.2, files_per_process=chance.randrange(1, 6))
    for output in world.ledger.to_publish(job.key):
        world.ledger.published(job.key, [output.id])
    while names := job.take(chance.randrange(1, 4)):
        job.open(*names)
    if not job.ids:
        job.roll_back("nothing to do", counted=False)
        return
    dice = chance.random()
    if dice < 0.1:
        job.roll_back("unlucky", counted=False)
        return
    if dice < 0.2:
        world.recover(project, fence=dice < 0.13)
    elif dice < 0.3:
        world.late(job)
        _one_process(world, chance)
    elif dice < 0.6:
        job.stage()
    job.commit()
    job.publish()


def forks_inside(path: Path) -> None:
    """In a child: fork with a transaction open; both work, and the transaction is as it was."""
    world = World.create(path, 10)
    job = world.start()
    job.take(3)
    with world.database.transaction(durable=True) as tx:
        tx.run("UPDATE projects SET station = 'changed'")
        grandchild = os.fork()
        if grandchild == 0:
            try:
                assert world.value("SELECT station FROM projects") != "changed"
            except BaseException:  # noqa: BLE001 the parent is told by the exit code
                os._exit(1)
            os._exit(0)
        assert os.waitpid(grandchild, 0)[1] == 0
        assert tx.run("SELECT station FROM projects").fetchone() == ("changed",)
    grandchild = os.fork()
    if grandchild == 0:
        try:
            other = world.start()
            other.take(4)
            other.commit()
        except BaseException:  # noqa: BLE001 the parent is told by the exit code
            os._exit(1)
        os._exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0
    job.commit()
    assert world.value("SELECT station FROM projects") == "changed"
    assert len(world.files("committed")) == 7
    assert violations(world.database) == []
