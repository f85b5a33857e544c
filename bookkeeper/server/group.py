"""Group commit: the moves of many callers in one transaction of the database, each guarded on its own.

A database has one writer at a time, and what costs is the transaction around a move, above all its way to the disk.
So one thread writes: it takes whatever waits, makes it all in one transaction, and answers everybody after the commit.
A move that is refused has changed nothing, as a rule; if it has, the group is made again with a savepoint around every
move. Anything unexpected undoes the whole transaction, and each of its jobs is done again in one of its own, so that the
culprit alone suffers.

Killed before the commit, nothing of the group was made and nobody was answered; killed after it, all of it was made,
and whoever was not answered asks again: every verb is repeatable.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from bookkeeper.database import Auditor, Database, Parameters, Tx
from bookkeeper.errors import BookkeeperError, CatalogBusy, Fenced

T = TypeVar("T")

MOST_AT_ONCE: Final = 256
"""Jobs of one transaction: enough to share its cost, few enough that nobody waits for long."""

MOST_WAITING: Final = 4096
"""Jobs that wait before callers are asked to come later."""


class _Durable(Exception):
    """A job of a group needs to be on disk, and the group is not written so."""


class _Careful(Exception):
    """A move of a group was refused after it had changed something, and there is no savepoint to go back to."""


class Job:
    """Something to do in the writer's thread, and where its answer goes."""

    __slots__ = ("answer", "durable", "failed", "future", "work")

    def __init__(self, work: Callable[[], Any], durable: bool, future: Any) -> None:
        self.work = work
        self.durable = durable
        self.future = future
        self.answer: Any = None
        self.failed: BaseException | None = None


class GroupCommit(Database):
    """The one writer of a database, which otherwise is the database itself.

    `run` has the meaning of `Database.run` from any thread; `submit` is for the event loop. Work that is done in the
    writer's thread may call `run` as often as it likes: it is part of the group.
    """

    def __init__(
        self,
        database: Database,
        *,
        most_waiting: int = MOST_WAITING,
        most_at_once: int = MOST_AT_ONCE,
        on_group: Callable[[int, bool], object] = lambda jobs, durable: None,
    ) -> None:
        super().__init__(
            id=database.id, epoch=database.epoch, stamped=database.stamped, folder=database.folder, name=database.name
        )
        self.dialect = database.dialect  # type: ignore[misc]  # as that of what it writes to
        self._database = database
        self.most_waiting, self._most_at_once = most_waiting, most_at_once
        self._on_group = on_group
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._guard = threading.Lock()
        self._tx: Tx | None = None
        self._tx_durable = self._tx_careful = False
        self._doing: Job | None = None
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:  # what only one kind of database has
        return getattr(self._database, name)

    # -- what it leaves to the database ----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """See `Database.url`."""
        return self._database.url

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[Tx]:
        """See `Database.transaction`: one that is not shared."""
        return self._database.transaction(durable=durable)

    def sole_publisher(self) -> AbstractContextManager[bool]:
        """See `Database.sole_publisher`."""
        return self._database.sole_publisher()

    def table(
        self, query: str, parameters: Parameters = (), *, most: int | None = None, seconds: float | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """See `Database.table`."""
        return self._database.table(query, parameters, most=most, seconds=seconds)

    def rows(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """See `Database.rows`."""
        return self._database.rows(query, parameters)

    def auditor(self) -> AbstractContextManager[Auditor]:
        """See `Database.auditor`."""
        return self._database.auditor()

    def begin_time_line(self) -> None:
        """See `Database.begin_time_line`."""
        self._database.begin_time_line()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return self._waiting.qsize()

    # -- callers ---------------------------------------------------------------------------------------------------

    def run(self, move: Callable[[Tx], T], *, durable: bool = False) -> T:
        """Make one move, in a transaction that it may share; return its answer after the commit."""
        if threading.current_thread() is self._thread:
            return self._in_group(move, durable)
        future: Future[T] = Future()
        self._enqueue(Job(lambda: self._in_group(move, durable), durable, future))
        return future.result()

    def submit(self, work: Callable[[], T], *, durable: bool = False) -> asyncio.Future[T]:
        """Have work done in the writer's thread; the future of this event loop has its answer after the commit.

        Raises `CatalogBusy` where too many wait: nothing was done.
        """
        if self._waiting.qsize() >= self.most_waiting:
            raise CatalogBusy("too many calls wait for the catalog", remedy="come again in a second")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._enqueue(Job(work, durable, future))
        return future

    def close(self) -> None:
        """Do what waits, answer it, and end the writer. The database stays open: it is its opener's."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _enqueue(self, job: Job) -> None:
        with self._guard:  # nothing comes after the end
            if self._closed:
                raise CatalogBusy("the server is going down", remedy="come again when it is back")
            self._waiting.put(job)

    # -- the writer ------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        ended = False
        while not ended:
            group, ended = self._next_group()
            if not group:
                return
            try:
                self._make(group)
            except BaseException as error:  # noqa: BLE001 - the writer must not end, and everybody must be answered
                _fail(group, error)
            _answer(group)

    def _next_group(self) -> tuple[list[Job], bool]:
        """Wait for a job; return it with those that wait behind it, and whether they are the last."""
        job = self._waiting.get()
        group: list[Job] = []
        try:
            while job is not None:
                group.append(job)
                if len(group) == self._most_at_once:
                    return group, False
                job = self._waiting.get_nowait()
        except Empty:
            return group, False
        return group, True

    def _make(self, group: list[Job]) -> None:
        """Do the jobs in one transaction; failing that, each in its own."""
        durable, careful = any(job.durable for job in group), False
        while True:
            try:
                return self._transaction(group, durable, careful)
            except _Durable:
                durable = True
            except _Careful:
                careful = True
            except Exception as error:  # noqa: BLE001 - whatever a job raised, the others have nothing to do with it
                if self._doing is None:  # the transaction could not be begun or committed: nothing was made
                    return _fail(group, error)
                return self._one_by_one(group)

    def _one_by_one(self, group: list[Job]) -> None:
        for job in group:
            try:
                self._transaction([job], True, True)
            except Exception as error:  # noqa: BLE001 - it is answered, whatever it is
                _fail([job], error)

    def _transaction(self, group: list[Job], durable: bool, careful: bool) -> None:
        def together(tx: Tx) -> None:
            self._tx, self._tx_durable, self._tx_careful = tx, durable, careful
            for job in group:
                self._doing, job.answer, job.failed = job, None, None
                try:
                    job.answer = job.work()
                except BookkeeperError as error:
                    if isinstance(error, Fenced) and not durable:
                        raise _Durable from error  # what a job is told must not be forgotten
                    job.failed = error
            self._doing = None

        self._doing = None
        try:
            self._database.run(together, durable=durable)
        finally:
            self._tx = None
        self._on_group(len(group), durable)

    def _in_group(self, move: Callable[[Tx], T], durable: bool) -> T:
        """Make a move in the group's transaction. A savepoint costs as much as a statement, so the first try has none."""
        tx = self._tx
        if tx is None:
            raise RuntimeError("the writer runs moves in its own transaction only")
        if durable and not self._tx_durable:
            raise _Durable
        if self._tx_careful:
            return _with_savepoint(tx, move)
        before = getattr(tx, "changes", None)
        try:
            return move(tx)
        except BookkeeperError as error:
            if before is None or getattr(tx, "changes", None) != before:
                raise _Careful from error
            raise


def _with_savepoint(tx: Tx, move: Callable[[Tx], T]) -> T:
    tx.run("SAVEPOINT job")
    try:
        answer = move(tx)
    except BookkeeperError:
        tx.run("ROLLBACK TO SAVEPOINT job")
        tx.run("RELEASE SAVEPOINT job")
        raise
    tx.run("RELEASE SAVEPOINT job")
    return answer


def _fail(group: list[Job], error: BaseException) -> None:
    for job in group:
        job.failed = error


def _answer(group: list[Job]) -> None:
    """Tell everybody; the futures of an event loop in one call of that loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in group:
        if isinstance(job.future, Future):
            if job.failed is not None:
                job.future.set_exception(job.failed)
            else:
                job.future.set_result(job.answer)
        else:
            loops.setdefault(job.future.get_loop(), []).append(job)
    for loop, jobs in loops.items():
        with contextlib.suppress(RuntimeError):  # a loop that ended: nobody waits there any more
            loop.call_soon_threadsafe(_settle, jobs)


def _settle(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.failed is not None:
            job.future.set_exception(job.failed)
        else:
            job.future.set_result(job.answer)
