"""What the site of the rates run adds to bookkeeper: eight nodes on this host, and a storage that fails at times.

The executor is a plug-in that the spec names. The storage is a driver of fsspec for ``flaky://`` URLs, installed as
drivers are, by an entry point.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem

from bookkeeper.plugins import hookimpl

if TYPE_CHECKING:
    from bookkeeper.executors import Factory

PROTOCOL = "flaky"

DRIVER = f"[fsspec.specs]\n{PROTOCOL} = {__name__}:Flaky\n"
"""The entry points of the storage."""


@hookimpl
def bookkeeper_executors() -> dict[str, Factory]:
    """Offer ``kind = "nodes"``: a node for each slot, ``node0`` and so on; none that is excluded gets a job."""
    from bookkeeper import nodes
    from bookkeeper.executors.local import LocalExecutor
    from bookkeeper.worker import Job

    class Nodes(LocalExecutor):
        """Slots of this host as nodes, which take their turns."""

        closed: frozenset[int] = frozenset()
        last = -1

        def free(self, memory_mb: float | None = None) -> int:
            """Return how many slots of nodes that may have jobs are free."""
            self.closed = self._excluded()
            return super().free(memory_mb)

        def submit(self, job: Job) -> str:
            """Start a job on the next free node."""
            number = self._next()
            self.last, self.closed = number, frozenset(range(self._jobs)) - {number}
            os.environ["RATES_NODE"] = f"node{number}"
            try:
                return super().submit(replace(job, node=f"node{number}"))
            finally:
                self.closed = self._excluded()

        def _next(self) -> int:
            for step in range(1, self._jobs + 1):
                number = (self.last + step) % self._jobs
                slot = self._lock(number)
                if slot is not None:
                    os.close(slot)
                    return number
            raise RuntimeError("submit was called though no slot is free")

        def _excluded(self) -> frozenset[int]:
            return frozenset(int(row["node"].removeprefix("node")) for row in nodes.excluded(self._database))

        def _lock(self, number: int) -> int | None:
            return None if number in self.closed else super()._lock(number)

    return {"nodes": Nodes}


class Flaky(LocalFileSystem):
    """A folder of this host, whose uploads time out for the processes that the plan names; with an atomic rename."""

    protocol = PROTOCOL

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(str(path).removeprefix(f"{PROTOCOL}://")))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" in mode and (folder := failing(path)) is not None:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), folder)
        return super()._open(path, mode, **options)


def failing(path: str) -> str | None:
    """Return the destination of an upload if the plan lets it fail: it keeps so in the journal of its process."""
    destination, hidden, rest = path.partition("/.bookkeeper/")
    process = rest.partition("-")[0]
    if not hidden or not process.isdigit():
        return None
    journal = os.path.join(os.path.dirname(destination), "plan", "journal", f"{process}.json")
    try:
        with open(journal, encoding="utf-8") as stream:
            return destination if '"stage-out"' in stream.read() else None
    except FileNotFoundError:
        return None
