"""``[executor.dask]``: which Dask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bookkeeper import durations
from bookkeeper.errors import UsageError
from bookkeeper.executors.batch import Asks

LOCAL: Final = "local"

_TEXTS: Final = ("scheduler", "cluster")
_KNOWN: Final = ("scheduler", "cluster", "workers", "adapt", "options", "timeout")

_ELSEWHERE: Final = {
    "memory": "memory_mb", "disk": "disk_mb", "cpus": "cpus", "queue": "queue", "account": "account",
    "extra": "extra", "container": "container",
}  # fmt: skip
"""Keys of ``[executor]`` that say what a batch job gets: with Dask, that is said of its workers."""


@dataclass(frozen=True, slots=True)
class DaskOptions:
    """Which scheduler, or which cluster to make.

    ``scheduler`` is an address (``tcp://…``, ``tls://…``). Else ``cluster`` is made: ``local``, a class of dask-jobqueue
    (``SLURMCluster``), or ``module:Class``, with ``options`` as its arguments and ``workers`` workers, as many as there
    is work for where ``adapt`` is true. ``timeout`` is how many seconds the scheduler may take to answer.
    """

    scheduler: str | None = None
    cluster: str = LOCAL
    workers: int | None = None
    adapt: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 10.0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> DaskOptions:
        """Return what the table says. Raises `UsageError`."""
        for name in given:
            if name not in _KNOWN:
                raise UsageError(f"[executor.dask] has no key {name!r}", remedy=f"its keys are {', '.join(_KNOWN)}")
        for name in _TEXTS:
            if name in given and (not isinstance(given[name], str) or not given[name]):
                raise UsageError(f"[executor.dask] {name} must be a text, not {given[name]!r}")
        if "scheduler" in given:
            other = sorted(set(given) & {"cluster", "workers", "adapt", "options"})
            if other:
                raise UsageError(f"[executor.dask] has scheduler and {other[0]}: one that runs is not made")
            if "://" not in given["scheduler"]:
                raise UsageError(f"{given['scheduler']!r} is no address", remedy='write for example "tcp://host:8786"')
        workers = given.get("workers")
        if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
            raise UsageError(f"[executor.dask] workers must be a number from 1, not {workers!r}")
        if not isinstance(given.get("adapt", False), bool):
            raise UsageError(f"[executor.dask] adapt must be true or false, not {given['adapt']!r}")
        if not isinstance(given.get("options", {}), Mapping):
            raise UsageError("[executor.dask] options must be a table")
        values = dict(given)
        if "timeout" in values:
            values["timeout"] = durations.seconds(values["timeout"])
        made = cls(**values)
        if made.adapt and made.workers is None:
            raise UsageError("[executor.dask] adapt needs workers: the most that there may be")
        return made


def check(asks: Asks) -> None:
    """Raise `UsageError` for what cannot be asked for a Dask task."""
    for key, name in _ELSEWHERE.items():
        if getattr(asks, name):
            raise UsageError(
                f"[executor] {key} is not for Dask: a task has what its worker has",
                remedy="say it where the workers are started: [executor.dask.options], or whoever starts them",
            )
    if asks.transfer != "shared":
        raise UsageError(
            "Dask does not carry files to its workers",
            remedy='write [executor] transfer = "shared": workers have to see the folder of the catalog',
        )
