"""A Dask cluster whose scheduler lives in a process of ours. One process has it, the others find its address."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors.dask.options import LOCAL, DaskOptions

PLACE: Final = "dask.json"
LOCK: Final = "dask.lock"


class Cluster:
    """The cluster that a table describes, made by the first process that asks, for as long as it lives.

    Whoever has it holds a lock, which the kernel lets go of when that process ends, however it ends. Two would not know
    of each other's jobs, and each would take those of the other for lost.
    """

    def __init__(self, folder: Path, options: DaskOptions) -> None:
        self._folder, self._options = folder, options
        self._made: Any = None
        self._lock: int | None = None

    def address(self) -> str:
        """Return the address of its scheduler, and make it where nobody has. Raises `ExecutorUnavailable`."""
        if self._made is None and self._claim():
            self._make()
        if self._made is not None:
            return str(self._made.scheduler_address)
        try:
            return str(json.loads((self._folder / PLACE).read_text())["scheduler"])
        except (OSError, ValueError, KeyError) as error:
            raise ExecutorUnavailable(
                "another process makes the Dask cluster of this catalog just now", remedy="try again in a moment"
            ) from error

    def close(self) -> None:
        """End it, and all that runs in it, where it is ours."""
        if self._made is not None:
            (self._folder / PLACE).unlink(missing_ok=True)
            with contextlib.suppress(OSError, TimeoutError):
                self._made.close()
            self._made = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _claim(self) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        (self._folder / PLACE).unlink(missing_ok=True)  # of one that is gone
        return True

    def _make(self) -> None:
        try:
            self._made = _started(self._options)
        except BaseException:
            self.close()
            raise
        place = self._folder / PLACE
        made = place.with_name(place.name + ".new")
        made.write_text(json.dumps({"scheduler": self._made.scheduler_address}))
        made.replace(place)


def class_of(name: str) -> Any:
    """Return the class of a cluster. Raises `UsageError` where there is none."""
    module, _, found = name.rpartition(":")
    module = module or ("distributed" if name == LOCAL else "dask_jobqueue")
    found = "LocalCluster" if name == LOCAL else found
    try:
        return getattr(importlib.import_module(module), found)
    except ImportError as error:
        raise UsageError(
            f"[executor.dask] cluster = {name!r}: {error}", remedy=f"`pip install {module.replace('_', '-')}`"
        ) from error
    except AttributeError as error:
        raise UsageError(
            f"[executor.dask] cluster = {name!r}: {module} has no {found}",
            remedy='write "local", a class of dask-jobqueue such as "SLURMCluster", or "module:Class"',
        ) from error


def _started(options: DaskOptions) -> Any:
    """Start a cluster. Raises `UsageError` for options that it does not take, `ExecutorUnavailable` where it does not start."""
    kind = class_of(options.cluster)
    words = dict(options.options)
    if options.cluster == LOCAL:
        words = {"threads_per_worker": 1, **words}  # each task is a process of its own
        if options.workers is not None and not options.adapt:
            words["n_workers"] = options.workers
    try:
        cluster = kind(**words)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{kind.__name__} does not take these options: {error}", remedy="see [executor.dask.options]"
        ) from error
    except (OSError, RuntimeError, TimeoutError) as error:
        raise ExecutorUnavailable(f"{kind.__name__} does not start: {error}") from error
    if options.workers is not None:
        if options.adapt:
            cluster.adapt(minimum=0, maximum=options.workers)
        elif options.cluster != LOCAL:
            cluster.scale(options.workers)
    return cluster
