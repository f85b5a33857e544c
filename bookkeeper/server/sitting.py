"""Look after jobs in batch systems, inside the server: those that were submitted on its host, by whoever runs it.

What somebody submitted through the server is not looked after here: a server runs nothing because a client says so.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from bookkeeper.errors import BookkeeperError

if TYPE_CHECKING:
    from bookkeeper.catalog import Database

log: Final = logging.getLogger("bookkeeper.server")

PATIENCE: Final = 20.0
"""Seconds that the end waits for a step."""

OTHERS: Final = 30.0
"""Seconds until another process of the server is asked again whether it still looks after jobs."""


class Sitter:
    """A thread that looks after jobs every ``seconds``; of several processes of a server, one does."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database, self._seconds = database, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sitter", daemon=True)

    def begin(self) -> None:
        """Begin to look after jobs."""
        self._thread.start()

    def end(self) -> None:
        """Stop, after what is being done: killed in the middle, another goes on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        from bookkeeper import executors
        from bookkeeper.remembering import to_watch

        while not self._stop.wait(self._seconds):
            try:
                if any(executors.is_batch(one.get("executor", "local")) for one in to_watch(self._database)):
                    self._watch()
            except BookkeeperError as error:
                log.error("jobs are not looked after", extra={"error": str(error)})
            except Exception:
                log.exception("jobs are not looked after")

    def _watch(self) -> None:
        """Look after jobs until the end, if nobody else of this server does."""
        from bookkeeper.watching import Watch, sole

        with sole(self._database) as mine:
            if not mine:
                self._stop.wait(OTHERS)
                return
            watched = Watch(self._database, served=True, on_problem=_tell)
            try:
                watched.run(self._stop, tick=self._seconds)
            finally:
                watched.close()


def _tell(project: str, problem: str) -> None:
    log.warning("job trouble", extra={"project": project, "problem": problem})
