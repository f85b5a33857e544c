"""Dask as a batch system: each task is one job, and what is known of jobs stands in the scheduler's metadata."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import ExecutorUnavailable
from bookkeeper.executors import credentials
from bookkeeper.executors.batch import Accepted, Asks, Known, Order, Seen
from bookkeeper.executors.dask import task, telling
from bookkeeper.executors.dask.clusters import Cluster, class_of
from bookkeeper.executors.dask.options import DaskOptions, check
from bookkeeper.executors.dask.task import ROOT

if TYPE_CHECKING:
    from distributed import Client

FRESH: Final = 1.0
"""Seconds that what the scheduler told is believed, unless an event says that something happened."""


_REMEDY: Final = "see whether it runs, and whether [executor.dask] scheduler is its address; nothing is lost, and the same command goes on"


class _RunJob:
    """`task.run_job`, and all of it where it arrives: Dask sends of a task's function the name only."""

    def __init__(self) -> None:
        import cloudpickle

        cloudpickle.register_pickle_by_value(task)
        self._becomes = cloudpickle.loads, (cloudpickle.dumps(task.run_job),)

    def __call__(self, *words: Any) -> str:
        return task.run_job(*words)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._becomes


class DaskSystem:
    """See `BatchSystem`."""

    kind = "dask"

    def __init__(self, folder: Path, given: Mapping[str, Any]) -> None:
        self._options = DaskOptions.of(given)
        self._cluster = None if self._options.scheduler else Cluster(folder, self._options)
        self._client: Client | None = None
        self._news = threading.Event()
        self._told: telling.Told | None = None
        self._told_at = float("-inf")

    @property
    def page(self) -> str | None:
        """Return the address of Dask's dashboard, None where it has none."""
        with self._asking() as client:
            return client.dashboard_link or None

    def check(self, asks: Asks) -> None:
        """See `BatchSystem.check`."""
        check(asks)
        credentials.check(asks)
        class_of(self._options.cluster)

    def prepare(self, order: Order) -> Sequence[Path]:
        """See `BatchSystem.prepare`. What a task is given, for people to look at."""
        path = order.folder / "task.json"
        body = {"command": order.command, "count": order.count, "environment": sorted(_environment(order.asks))}
        path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        return [path]

    def submit(self, order: Order) -> Accepted:
        """See `BatchSystem.submit`.

        Tasks wait until the last word of it is written (``accepted``): one that is killed before has submitted nothing.
        """
        self.prepare(order)
        nonce = secrets.token_hex(4)
        jobs = [f"{order.tag}-{nonce}-{number}" for number in range(order.count)]
        given = {
            "nonce": nonce,
            "command": list(order.command),
            "folder": str(order.folder),
            "environment": _environment(order.asks),
            "limit": order.asks.run_time_s,
        }
        with self._asking() as client:
            client.set_metadata([ROOT, order.tag], {"order": given, "accepted": None})
            self._start(client, order.tag, given, dict(enumerate(jobs)))
            client.set_metadata([ROOT, order.tag, "accepted"], nonce)
            page = client.dashboard_link or None
        self._stale()
        return Accepted(f"{order.tag}-{nonce}", tuple(jobs), page)

    def find(self, order: Order) -> Accepted | None:
        """See `BatchSystem.find`."""
        with self._asking() as client:
            found = client.get_metadata([ROOT, order.tag], default=None) or {}
            nonce = found.get("accepted")
            if nonce and nonce == found.get("order", {}).get("nonce"):
                jobs = tuple(f"{order.tag}-{nonce}-{number}" for number in range(order.count))
                return Accepted(f"{order.tag}-{nonce}", jobs, client.dashboard_link or None)
            if found:
                client.set_metadata([ROOT, order.tag, "accepted"], "")  # so that tasks that wait for it end
                begins = f"{order.tag}-"
                self._withdraw(client, [name for name in client.list_datasets() if str(name).startswith(begins)])
        return None

    def follow(self, known: Known) -> tuple[str | None, Sequence[Seen]]:
        """See `BatchSystem.follow`. There is no position: the scheduler tells what is, with the times of it."""
        if not known.open:
            return known.position, []
        told = self._look()
        return None, [seen for number in sorted(known.open) for seen in telling.happened(known, number, told)]

    def reconcile(self, known: Sequence[Known]) -> Mapping[int, Sequence[Seen]]:
        """See `BatchSystem.reconcile`."""
        self._stale()
        return {one.id: seen for one in known if (seen := self.follow(one)[1])}

    def remove(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.remove`."""
        self._unwanted(jobs, "removed", reason)

    def hold(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.hold`. What runs goes on to its end: Dask cannot put it back."""
        self._unwanted(jobs, "held", reason)

    def release(self, jobs: Sequence[str]) -> None:
        """See `BatchSystem.release`."""
        with self._asking() as client:
            for tag, numbers in _by_tag(jobs).items():
                found = client.get_metadata([ROOT, tag], default=None) or {}
                wanted = {
                    number: job
                    for number, job in numbers.items()
                    if (found.get("unwanted", {}).get(str(number)) or {}).get("what") == "held"
                }
                for number in wanted:
                    client.set_metadata([ROOT, tag, "unwanted", str(number)], None)
                if wanted:
                    self._start(client, tag, found["order"], wanted, f".{secrets.token_hex(4)}")
        self._stale()

    def fetch(self, known: Known, number: int) -> None:
        """What jobs print gets into the folder by itself."""

    def forget(self, known: Known) -> None:
        """See `BatchSystem.forget`."""
        with self._asking() as client:
            client.set_metadata([ROOT, known.tag], None)
            begins = f"{known.tag}-"
            self._withdraw(client, [name for name in client.list_datasets() if str(name).startswith(begins)])

    def renew(self, known: Known) -> None:
        """Jobs read the files with credentials where they are; one that has expired is told."""
        credentials.check(known.asks)

    def wait(self, seconds: float) -> None:
        """See `BatchSystem.wait`. Tasks tell when they start and end; what was known before that is believed no more."""
        if self._news.wait(seconds):
            self._news.clear()
            self._stale()

    def close(self) -> None:
        """See `BatchSystem.close`. A cluster that this process made ends with it, and its jobs are told to stop."""
        self._drop()
        if self._cluster is not None:
            self._cluster.close()
        self._news.set()

    def _start(
        self, client: Client, tag: str, given: Mapping[str, Any], jobs: Mapping[int, str], more: str = ""
    ) -> None:
        """Hand tasks over, and let the scheduler keep them when this client is gone."""
        run_job, numbers, keys = _RunJob(), list(jobs), [f"{job}{more}" for job in jobs.values()]
        fixed = (given["command"], given["folder"], given["environment"], given["limit"])
        futures = {
            key: client.submit(
                run_job, tag, number, given["nonce"], jobs[number], *fixed, key=key, pure=False, retries=0
            )
            for number, key in zip(numbers, keys, strict=True)
        }
        client.publish_dataset(**futures, override=True)

    def _unwanted(self, jobs: Sequence[str], what: str, reason: str) -> None:
        with self._asking() as client:
            datasets = [str(name) for name in client.list_datasets()]
            for tag, numbers in _by_tag(jobs).items():
                runs = (client.get_metadata([ROOT, tag], default=None) or {}).get("runs", {})
                for number in numbers:
                    if what == "removed" or str(number) not in runs:
                        mark = {"what": what, "at": time.time(), "reason": reason}
                        client.set_metadata([ROOT, tag, "unwanted", str(number)], mark)
                wanted = {job for number, job in numbers.items() if str(number) not in runs}
                self._withdraw(client, [name for name in datasets if name.partition(".")[0] in wanted])
                if what == "removed" and set(numbers) & {int(number) for number in runs}:
                    client.run(task.stop_jobs, list(numbers.values()), on_error="ignore")
        self._stale()

    def _withdraw(self, client: Client, names: Sequence[str]) -> None:
        """Take tasks away from the scheduler; those that run are not interrupted by that."""
        from distributed import Future

        if not names:
            return
        client.cancel([Future(name, client) for name in names], force=True)
        client.unpublish_dataset(list(names))

    def _look(self) -> telling.Told:
        """Return what the scheduler knows, as it told not long ago."""
        if self._told is None or self._news.is_set() or time.monotonic() - self._told_at >= FRESH:
            with self._asking() as client:
                standing = client.run_on_scheduler(task.standing)
                self._told = telling.Told(**standing, page=client.dashboard_link or None)
            self._told_at = time.monotonic()
        return self._told

    def _stale(self) -> None:
        self._told = None

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Client]:
        """Lend the client; where the scheduler cannot be reached, the next is asked by a new one."""
        try:
            yield self._connected()
        except (OSError, TimeoutError, RuntimeError) as error:
            self._drop()
            said = str(error) or type(error).__name__
            raise ExecutorUnavailable(f"Dask's scheduler does not answer: {said}", remedy=_REMEDY) from error

    def _connected(self) -> Client:
        """Return a client that is connected. Raises what Dask raises where there is no scheduler."""
        import cloudpickle
        from distributed import Client

        if self._client is not None and self._client.status == "running":
            return self._client
        self._drop()
        address = self._options.scheduler or self._address()
        cloudpickle.register_pickle_by_value(task)  # for what `run` sends
        client = Client(address, timeout=self._options.timeout, set_as_default=False, name="bookkeeper")
        client.subscribe_topic(ROOT, lambda _: self._news.set())
        self._client = client
        return client

    def _address(self) -> str:
        assert self._cluster is not None
        return self._cluster.address()

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._stale()
        if client is not None:
            with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                client.close(timeout=1)


def _environment(asks: Asks) -> dict[str, str]:
    variables = dict(asks.environment)
    if asks.proxy:
        variables["X509_USER_PROXY"] = asks.proxy
    if asks.token:
        variables["BEARER_TOKEN_FILE"] = asks.token
    return variables


def _by_tag(jobs: Sequence[str]) -> Mapping[str, dict[int, str]]:
    """Return jobs by the tag of their submission, and by number."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for job in jobs:
        tag, _, number = job.rsplit("-", 2)
        found[tag][int(number)] = job
    return found
