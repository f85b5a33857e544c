"""Look after all requests of a catalog that have jobs in batch systems of this host."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bookkeeper import executors, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, NotAllowed, StorageError
from bookkeeper.ledger.door import forgive, sweep
from bookkeeper.operations import Remote
from bookkeeper.remembering import to_watch
from bookkeeper.transfers import Crew
from bookkeeper.watching import printed
from bookkeeper.watching.babysitter import RECONCILE, Babysitter, Standing
from bookkeeper.watching.locks import locked
from bookkeeper.watching.systems import Systems

if TYPE_CHECKING:
    from bookkeeper.spec import Spec

TICK: Final = 1.0
"""Seconds between two looks at everything."""

LOOK: Final = 5.0
"""Seconds between two looks at which requests there are."""

LEAP: Final = 2.0
"""Seconds from which on a step of the wall clock against the steady one is taken for a sleep of this host."""

OnStep = Callable[[str, Standing], object]
"""Told of each project after each look."""
OnProblem = Callable[[str, str], object]
"""Told what keeps a project from being looked after as it should be: the project ("" for none in particular), and why."""


class Watch:
    """Looks after the requests of a catalog, or those of ``names``. ``served``: inside a server.

    What was submitted on another host is looked after there. A spec is read again when it changes; one that belongs to
    another user is never run.
    """

    def __init__(
        self,
        database: Database,
        names: Sequence[str] = (),
        *,
        on_step: OnStep = lambda project, standing: None,
        on_problem: OnProblem = lambda project, problem: None,
        served: bool = False,
    ) -> None:
        self._database, self._names, self._served = database, tuple(names), served
        self._on_step, self._on_problem = on_step, on_problem
        self._systems = Systems(database)
        self._crew = None if served or isinstance(database, Remote) else Crew(database)
        self._sitters: dict[str, tuple[tuple[str, float, int], Babysitter]] = {}
        self._over: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._look_at = self._forget_at = 0.0
        self._offset = time.time() - time.monotonic()
        requests = {projects.status(database, name).request for name in self._names}
        self._requests = requests
        self.last: list[Standing] = []

    def step(self) -> list[Standing]:
        """Look after everything once; return how each request stands."""
        if not isinstance(self._database, Remote) and not self._served:  # a server does that by itself
            offset = time.time() - time.monotonic()
            if offset - self._offset > LEAP:
                forgive(self._database, f"this host slept for {offset - self._offset:.0f} s")
            self._offset = offset
            sweep(self._database)
        if self._crew is not None:
            self._crew.step()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK
            self._choose()
        if not self._sitters and time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + RECONCILE
            printed.forget_over(self._database, self._systems)
        found = []
        for project, (_, sitter) in list(self._sitters.items()):
            try:
                standing = sitter.step()
            except BookkeeperError as error:
                self._problem(project, str(error))
                continue
            for problem in standing.problems:
                self._problem(project, problem)
            self._on_step(project, standing)
            found.append(standing)
        self.last = found
        return found

    def run(self, stop: threading.Event, *, to_the_end: bool = False, tick: float = TICK) -> None:
        """Look after everything until ``stop`` is set; ``to_the_end``: or nothing is left to look after."""
        while not stop.is_set():
            found = self.step()
            if to_the_end and all(one.over or _stuck(one) for one in found):
                return
            stop.wait(tick)

    def close(self) -> None:
        """Let go; jobs and transfers go on."""
        self._systems.close()
        if self._crew is not None:
            self._crew.close()

    def _choose(self) -> None:
        """Look which requests there are, and read their specs where they are new or have changed."""
        host, chosen = socket.gethostname(), {}
        for said in to_watch(self._database):
            project = said["project"]
            if self._requests and projects.status(self._database, project).request not in self._requests:
                continue
            if not executors.is_batch(said.get("executor", "local")) or (self._served and said.get("via")):
                continue
            if said.get("host") != host:
                if self._requests:
                    self._problem(project, f"it was submitted on {said.get('host')}, and is looked after there")
                continue
            key = self._key(said)
            known = self._sitters.get(project)
            if known is None or known[0] != key:
                most = int(said.get("jobs") or 1)
                sitter = Babysitter(self._database, project, self._spec(project, said), self._systems, most=most)
                chosen[project] = key, sitter
            else:
                chosen[project] = known
        self._sitters = chosen

    def _key(self, said: Mapping[str, Any]) -> tuple[str, float, int]:
        path = str(said.get("spec", ""))
        try:
            return path, _file_of(path).stat().st_mtime, int(said.get("jobs") or 1)
        except OSError:
            return path, 0.0, 0

    def _spec(self, project: str, said: Mapping[str, Any]) -> Spec | None:
        from bookkeeper.spec import load

        path = str(said.get("spec", ""))
        try:
            owner = _file_of(path).stat().st_uid
            if owner not in (os.getuid(), 0):
                raise NotAllowed(f"{path} belongs to another user: what it says is not run here")
            return load(path)
        except (BookkeeperError, OSError) as error:
            self._problem(project, f"nothing new is submitted: {error}")
            return None

    def _problem(self, project: str, problem: str) -> None:
        """Tell a problem, once."""
        if (project, problem) not in self._told:
            if len(self._told) > 1000:
                self._told.clear()
            self._told.add((project, problem))
            self._on_problem(project, problem)


def _stuck(one: Standing) -> bool:
    """Tell whether a request waits for a person."""
    return one.status.open_state == "paused" and not one.jobs.get("running")


def _file_of(path: str) -> Path:
    """Return the file of a spec, which may be followed by ``@DATASET``."""
    whole = Path(path)
    return whole if whole.exists() or "@" not in path else Path(path.rpartition("@")[0])


@contextlib.contextmanager
def sole(database: Database) -> Iterator[bool]:
    """Tell, for a block, whether this is the only one of several server processes that looks after jobs."""
    with contextlib.ExitStack() as held:
        try:
            mine = held.enter_context(locked(database.folder / "batch" / "watch.lock"))
        except StorageError:
            mine = False
        yield mine
