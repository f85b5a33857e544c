"""`Heart`: keeps a process's lease alive from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bookkeeper.errors import BookkeeperError, CatalogError
from bookkeeper.protocol import Ledger, ProcessKey


class Heart(threading.Thread):
    """Renews a lease three times in its length until it is stopped or the process is over."""

    def __init__(
        self, ledger: Ledger, key: ProcessKey, lease: float, on_fenced: Callable[[BookkeeperError], None] | None = None
    ) -> None:
        super().__init__(name=f"heart-{key.id}", daemon=True)
        self._ledger, self._key, self._lease, self._on_fenced = ledger, key, lease, on_fenced
        self._halt = threading.Event()

    def run(self) -> None:
        """Beat."""
        while not self._halt.wait(self._lease / 3):
            try:
                self._ledger.heartbeat(self._key)
            except CatalogError:
                continue  # the lease outlives a catalog that is away for a moment
            except BookkeeperError as error:
                if not self._halt.is_set() and self._on_fenced is not None:
                    self._on_fenced(error)
                return

    def stop(self) -> None:
        """Stop, and wait for a beat under way."""
        self._halt.set()
        if threading.current_thread() is not self:
            self.join()
