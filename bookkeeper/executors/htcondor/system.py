"""The verbs of `BatchSystem` for HTCondor."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors.batch import Accepted, Asks, Known, Order, Seen
from bookkeeper.executors.htcondor import eventlog
from bookkeeper.executors.htcondor.description import LOG, TAG, description, extra_lines, string
from bookkeeper.executors.htcondor.options import Options
from bookkeeper_schema.states import JobState

SUBMIT_FILE: Final = "jobs.sub"

STATUS: Final = {
    1: JobState.IDLE, 2: JobState.RUNNING, 3: JobState.REMOVED, 4: JobState.COMPLETED, 5: JobState.HELD,
    6: JobState.RUNNING, 7: JobState.SUSPENDED,
}  # fmt: skip
"""JobStatus; 6: it transfers its output.

https://htcondor.readthedocs.io/en/latest/classad-attributes/job-classad-attributes.html
"""

ASKED: Final = [
    "ClusterId", "ProcId", "JobStatus", "HoldReason", "HoldReasonCode", "HoldReasonSubCode", "RemoteHost", "ExitCode",
    "ExitSignal", "ExitBySignal", "RemoveReason", "EnteredCurrentStatus", "JobMaterializeNextProcId", TAG,
]  # fmt: skip

SPOOLING: Final = 16
"""The hold code of a job whose files have not come yet."""

CHUNK: Final = 500
"""Jobs named in one question."""


class HTCondor:
    """One access point."""

    kind = "htcondor"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._found: Any = None
        self._passed_on: dict[str, float] = {}

    # -- handing over ----------------------------------------------------------------------------------------------

    def check(self, asks: Asks) -> None:
        """See `BatchSystem.check`."""
        list(extra_lines(asks))
        for what, path in (("proxy", asks.proxy), ("token", asks.token)):
            if path is not None and not Path(path).is_file():
                raise UsageError(f"[executor] {what}: there is no file {path}", remedy="make it, or name another")
        _bindings()

    def prepare(self, order: Order) -> Sequence[Path]:
        """See `BatchSystem.prepare`."""
        order.folder.mkdir(parents=True, exist_ok=True)
        path = order.folder / SUBMIT_FILE
        path.write_text(f"{description(order, self._options)}queue {order.count}\n", encoding="utf-8")
        return [path]

    def submit(self, order: Order) -> Accepted:
        """See `BatchSystem.submit`: one transaction of the schedd."""
        self.prepare(order)
        htcondor2 = _bindings()
        with _available():
            described = htcondor2.Submit(description(order, self._options))
            made = self._schedd().submit(described, count=order.count, spool=self._options.spool)
            if self._options.spool:
                self._schedd().spool(made)
        return _accepted(made.cluster(), order.count)

    def find(self, order: Order) -> Accepted | None:
        """See `BatchSystem.find`. A spooled cluster whose files did not all come would be held for ever: it is removed."""
        htcondor2 = _bindings()
        question = f"{TAG} == {string(order.tag)}"
        with _available():
            ads = self._schedd().query(question, ASKED, opts=htcondor2.QueryOpt.IncludeClusterAd)
            if self._options.spool and any(ad.get("HoldReasonCode") == SPOOLING for ad in ads):
                self._act("Remove", sorted({str(ad["ClusterId"]) for ad in ads}), "its files did not come")
                return None
            if not ads:
                ads = self._schedd().history(question, ["ClusterId"], match=1)
        return _accepted(int(ads[0]["ClusterId"]), order.count) if ads else None

    # -- looking ---------------------------------------------------------------------------------------------------

    def follow(self, known: Known) -> tuple[str | None, Sequence[Seen]]:
        """See `BatchSystem.follow`: reads the event log."""
        _bindings()
        with _available():
            position, events = eventlog.read(known.folder / LOG, known.position)
            return position, list(eventlog.tell(events, known))

    def reconcile(self, known: Sequence[Known]) -> Mapping[int, Sequence[Seen]]:
        """See `BatchSystem.reconcile`: one question to the queue, and one to the history about those that are not in it."""
        clusters = {int(one.batch_id): one for one in known if one.open and one.batch_id}
        if not clusters:
            return {}
        ads, gone = self._ads(clusters)
        told: dict[int, Sequence[Seen]] = {}
        for cluster, one in clusters.items():
            seen: list[Seen] = []
            for number, (_, state) in one.open.items():
                ad = ads.get((cluster, number))
                if ad is not None:
                    seen += _difference(number, state, ad)
                elif (cluster, number) in gone:
                    why = "neither in the queue nor in the history of its access point"
                    seen.append(Seen(number, "lost", time.time(), JobState.LOST, died=True, reason=why))
            if seen:
                told[one.id] = seen
        return told

    def _ads(self, clusters: Mapping[int, Known]) -> tuple[dict[tuple[int, int], Any], set[tuple[int, int]]]:
        """Return the ads of jobs, in the queue or of those that left it; and which are in neither, and not to come yet."""
        htcondor2 = _bindings()
        with _available():
            queued = self._schedd().query(_among(clusters), ASKED, opts=htcondor2.QueryOpt.IncludeClusterAd)
            made = {ad["ClusterId"]: ad.get("JobMaterializeNextProcId") for ad in queued if ad.get("ProcId") is None}
            ads = {(ad["ClusterId"], ad["ProcId"]): ad for ad in queued if ad.get("ProcId") is not None}
            gone = {
                (cluster, number)
                for cluster, one in clusters.items()
                for number in one.open
                if (cluster, number) not in ads and not _to_come(made.get(cluster), number)
            }
            if gone:
                asked = {cluster for cluster, _ in gone}
                most = sum(clusters[cluster].jobs for cluster in asked)
                past = self._schedd().history(_among(asked), ASKED, match=most)
                ads |= {(ad["ClusterId"], ad["ProcId"]): ad for ad in past}
        return ads, gone

    # -- people's verbs --------------------------------------------------------------------------------------------

    def remove(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.remove`."""
        with _available():
            self._act("Remove", jobs, reason)

    def hold(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.hold`."""
        with _available():
            self._act("Hold", jobs, reason)

    def release(self, jobs: Sequence[str]) -> None:
        """See `BatchSystem.release`."""
        with _available():
            self._act("Release", jobs, "released")

    def fetch(self, known: Known, number: int) -> None:
        """See `BatchSystem.fetch`: what was spooled is brought back."""
        if self._options.spool:
            with _available():
                self._schedd().retrieve([f"{known.batch_id}.{number}"])

    def forget(self, known: Known) -> None:
        """See `BatchSystem.forget`: spooled jobs stay in the queue, completed, until they are removed."""
        if self._options.spool:
            with _available():
                self._act("Remove", [known.batch_id], "its files were retrieved")

    def renew(self, known: Known) -> None:
        """See `BatchSystem.renew`. Where nothing is spooled, the shadow itself sees that the file of a proxy is newer."""
        proxy = known.asks.proxy
        if proxy is None or not self._options.spool:
            return
        try:
            changed = Path(proxy).stat().st_mtime
        except FileNotFoundError:
            return
        if changed == self._passed_on.setdefault(known.tag, changed):
            return
        with _available():
            for job, _ in known.open.values():
                cluster, _, number = job.partition(".")
                self._schedd().refreshGSIProxy(int(cluster), int(number), proxy, -1)
        self._passed_on[known.tag] = changed

    def wait(self, seconds: float) -> None:
        """See `BatchSystem.wait`."""
        threading.Event().wait(seconds)

    def close(self) -> None:
        """See `BatchSystem.close`."""
        self._found = None

    # -- the schedd ------------------------------------------------------------------------------------------------

    def _schedd(self) -> Any:
        """Return the access point, looked up once."""
        if self._found is None:
            htcondor2 = _bindings()
            if self._options.schedd is None and self._options.pool is None:
                self._found = htcondor2.Schedd()
            else:
                collector = htcondor2.Collector(self._options.pool) if self._options.pool else htcondor2.Collector()
                self._found = htcondor2.Schedd(collector.locate(htcondor2.DaemonType.Schedd, self._options.schedd))
        return self._found

    def _act(self, action: str, jobs: Sequence[str], reason: str) -> None:
        """Do something to jobs. A reason goes as (text, code): 25.14 drops a plain string."""
        kind = getattr(_bindings().JobAction, action)
        for begin in range(0, len(jobs), CHUNK):
            self._schedd().act(kind, list(jobs[begin : begin + CHUNK]), reason=(reason, 0))


def _accepted(cluster: int, count: int) -> Accepted:
    return Accepted(str(cluster), tuple(f"{cluster}.{number}" for number in range(count)))


def _among(clusters: Collection[int]) -> str:
    return " || ".join(f"ClusterId == {cluster}" for cluster in sorted(clusters))


def _to_come(next_number: Any, number: int) -> bool:
    """Tell whether a job is to be made yet, of a cluster that is made bit by bit."""
    return next_number is not None and number >= int(next_number)


def _difference(number: int, state: JobState, ad: Mapping[str, Any]) -> Iterator[Seen]:
    """Tell what an ad says other than is known."""
    found = STATUS.get(int(ad.get("JobStatus") or 0))
    if found is None or found is state:
        return
    held, over = found is JobState.HELD, found is JobState.COMPLETED
    signal = ad.get("ExitSignal") if over and ad.get("ExitBySignal") else None
    yield Seen(
        number=number,
        kind="reconciled",
        at=float(ad.get("EnteredCurrentStatus") or time.time()),
        state=found,
        died=found not in (JobState.RUNNING, JobState.SUSPENDED),
        node=str(ad["RemoteHost"]).rpartition("@")[2] if ad.get("RemoteHost") else None,
        hold_code=ad.get("HoldReasonCode") if held else None,
        hold_subcode=ad.get("HoldReasonSubCode") if held else None,
        exit_code=ad.get("ExitCode") if over and signal is None else None,
        signal=signal,
        reason=ad.get("HoldReason") if held else ad.get("RemoveReason"),
    )


def _bindings() -> Any:
    """Return the module. Raises `UsageError` where it is not installed."""
    try:
        import htcondor2
    except ImportError as error:
        raise UsageError(
            "HTCondor's Python bindings are not installed", remedy="pip install 'bookkeeper[htcondor]'"
        ) from error
    return htcondor2


@contextmanager
def _available() -> Iterator[None]:
    """Tell in our words what the bindings raise."""
    import htcondor2

    try:
        yield
    except (htcondor2.HTCondorException, RuntimeError, OSError, ValueError, KeyError, IndexError) as error:
        raise ExecutorUnavailable(f"HTCondor does not answer: {' '.join(str(error).split())[:300]}") from error
