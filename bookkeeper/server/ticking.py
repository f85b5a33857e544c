"""What the server does by itself: expire whoever fell silent, transfer what lies near, and publish what workers cannot.

A store without atomic rename needs one publisher at a time (see `bookkeeper.publishing`). A worker that speaks over HTTP
is never that one; the server is.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from bookkeeper.errors import BookkeeperError
from bookkeeper.ledger.door import forgive, sweep
from bookkeeper.transfers import Crew

if TYPE_CHECKING:
    from bookkeeper.catalog import Database
    from bookkeeper.server.metrics import Metrics

log: Final = logging.getLogger("bookkeeper.server")

ANY_LIVE: Final = "SELECT 1 FROM processes WHERE state IN ('active', 'staged') LIMIT 1"

PATIENCE: Final = 20.0
"""Seconds that the end waits for a tick."""

LONGEST: Final = 300.0
"""Seconds between two tries to publish while the storage fails."""


class Ticker:
    """A thread that looks after the catalog every ``seconds``."""

    def __init__(self, database: Database, seconds: float, metrics: Metrics) -> None:
        self._database, self._seconds, self._metrics = database, seconds, metrics
        self._stop = threading.Event()
        self._told: set[str] = set()
        self._pause, self._rest = 0.0, 0.0
        self._crew = Crew(database)
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def begin(self) -> None:
        """Give every live process one lease, since nobody could renew it while no server ran; then tick."""
        if self._database.rows(ANY_LIVE):
            forgive(self._database, "the server was started")
        self._thread.start()

    def end(self) -> None:
        """Stop, after what is being done; a publication that takes longer is left as one that was killed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        self._crew.close()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._metrics.expired(sweep(self._database))
                self._crew.step()
                self._publish()
            except BookkeeperError as error:
                log.error("tick failed", extra={"error": str(error)})
            except Exception:
                log.exception("tick failed")

    def _publish(self) -> None:
        from bookkeeper.publishing import publish_behind_urls

        self._rest -= self._seconds
        if self._rest > 0:
            return
        failed = [one for one in publish_behind_urls(self._database) if one.problem]
        self._pause = min(LONGEST, max(self._seconds, self._pause * 2)) if failed else 0.0
        self._rest = self._pause
        for one in failed:
            if one.url not in self._told:
                log.error("publication failed", extra={"url": one.url, "error": one.problem})
        self._told = {one.url for one in failed}
