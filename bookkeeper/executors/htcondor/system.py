"""The verbs of `BatchSystem` for HTCondor."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors import credentials
from bookkeeper.executors.batch import LEFT, Accepted, Asks, Known, Order, Seen
from bookkeeper.executors.htcondor import eventlog, matching, telling
from bookkeeper.executors.htcondor.access import AccessPoint, among, bindings
from bookkeeper.executors.htcondor.description import LOG, TAG, description, extra_lines, string
from bookkeeper.executors.htcondor.options import Options
from bookkeeper_schema.states import JobState

SUBMIT_FILE: Final = "jobs.sub"

GLANCE: Final = 0.2
"""Seconds between two looks at whether a log has grown."""

PATIENCE: Final = 30.0
"""Seconds that a job has waited when its pool is asked whether any slot could run it."""

ASK_AGAIN: Final = 300.0
"""Seconds between two such questions about the jobs of a submission."""

ENDING: Final = 10.0
"""Seconds that a shadow has to end, at most, before its job is released anyway."""

AT_ONCE: Final = 20
"""Submissions that are asked about together."""


class HTCondor:
    """One access point, and the event logs of what was submitted to it."""

    kind = "htcondor"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._access = AccessPoint(options)
        self._closing = threading.Event()
        self._passed_on: dict[str, tuple[float, int]] = {}
        self._logs: dict[Path, int] = {}
        self._asked: dict[str, tuple[float, list[Any]]] = {}
        self._matched_at: dict[int, float] = {}

    # -- handing over ----------------------------------------------------------------------------------------------

    def check(self, asks: Asks) -> None:
        """See `BatchSystem.check`."""
        list(extra_lines(asks))
        credentials.check(asks)
        if self._options.spool and asks.transfer != "files":
            remedy = 'add transfer = "files" to [executor], and the catalog\'s address for jobs if they cannot reach it'
            raise UsageError(
                "[executor.htcondor] spool: another host's jobs do not see this one's folders", remedy=remedy
            )
        bindings()

    def prepare(self, order: Order) -> Sequence[Path]:
        """See `BatchSystem.prepare`."""
        order.folder.mkdir(parents=True, exist_ok=True)
        path = order.folder / SUBMIT_FILE
        path.write_text(f"{description(order, self._options)}queue {order.count}\n", encoding="utf-8")
        return [path]

    def submit(self, order: Order) -> Accepted:
        """See `BatchSystem.submit`: one transaction of the schedd."""
        credentials.check(order.asks)
        self.prepare(order)
        if self._options.spool or order.asks.proxy is not None or order.asks.token is not None:
            (order.folder / LEFT).touch()
        if order.asks.transfer == "shared":
            credentials.keep_copies(order.asks, order.folder)
        return _accepted(self._access.submit(description(order, self._options), order.count), order.count)

    def find(self, order: Order) -> Accepted | None:
        """See `BatchSystem.find`. A spooled cluster whose files did not all come would be held for ever: it is removed."""
        question = f"{TAG} == {string(order.tag)}"
        ads = self._access.queue(question)
        queued = bool(ads)
        if not queued:
            ads = self._access.history(question, order.count if self._options.spool else 1)
        if self._options.spool and any("ProcId" in ad and "StageInFinish" not in ad for ad in ads):
            if queued:
                self._access.act("Remove", sorted({str(ad["ClusterId"]) for ad in ads}), "its files did not come")
            return None
        return _accepted(int(ads[0]["ClusterId"]), order.count) if ads else None

    # -- looking ---------------------------------------------------------------------------------------------------

    def follow(self, known: Known) -> tuple[str | None, Sequence[Seen]]:
        """See `BatchSystem.follow`: reads the event log; of spooled jobs, which have theirs elsewhere, asks their schedd."""
        if self._options.spool:
            return self._follow_queue(known)
        log = known.folder / LOG
        try:
            position, events = eventlog.read(log, known.position)
            self._logs[log] = _size(log)
        except OSError as error:
            raise ExecutorUnavailable(f"{log} cannot be read: {error.strerror}") from error
        return position, list(telling.of_events(events, known))

    def _follow_queue(self, known: Known) -> tuple[str | None, Sequence[Seen]]:
        """Compare spooled jobs with their ads, ``poll`` seconds old at most. The position is how often each was started."""
        asked_at, ads = self._asked.get(known.batch_id, (float("-inf"), []))
        if time.monotonic() - asked_at < self._options.poll:
            return known.position, ()
        before: dict[str, int] = json.loads(known.position) if known.position else {}
        ads = self._access.queue(among([int(known.batch_id)]))
        self._asked[known.batch_id] = time.monotonic(), ads
        starts, seen = dict(before), list[Seen]()
        for ad in ads:
            number = int(ad.get("ProcId", -1))
            if number not in known.open:
                continue
            state, begun = known.open[number][1], int(ad.get("NumShadowStarts") or 0)
            told = list(telling.of_ad(number, state, ad, started=True))
            if state in telling.ON_A_NODE and begun > before.get(str(number), begun):
                at = float(ad["EnteredCurrentStatus"])
                seen.append(Seen(number, "evicted", at, JobState.IDLE, died=True, reason=telling.AGAIN))
                told = told or list(telling.of_ad(number, JobState.IDLE, ad, started=True))
            if begun:
                starts[str(number)] = begun
            seen += told
        return json.dumps(starts, separators=(",", ":")) if starts else known.position, seen

    def reconcile(self, known: Sequence[Known]) -> Mapping[int, Sequence[Seen]]:
        """See `BatchSystem.reconcile`: one question to the queue, and one to the history about those that are not in it."""
        clusters = {int(one.batch_id): one for one in known if one.open and one.batch_id}
        if not clusters:
            return {}
        ads, gone = self._ads(clusters)
        told: dict[int, Sequence[Seen]] = {}
        for cluster, one in clusters.items():
            started = not self._options.spool and not (one.folder / LOG).exists()
            seen: list[Seen] = []
            for number, (_, state) in one.open.items():
                ad = ads.get((cluster, number))
                if ad is not None:
                    seen += telling.of_ad(number, state, ad, started=started)
                elif (cluster, number) in gone:
                    why = "neither in the queue nor in the history of its access point"
                    seen.append(Seen(number, "lost", time.time(), JobState.LOST, died=True, reason=why))
            if seen:
                told[one.id] = seen
        with contextlib.suppress(ExecutorUnavailable):  # a collector that is away says nothing of jobs
            for number, said in self._unmatched(clusters, ads):
                told[number] = [*told.get(number, ()), *said]
        return told

    def _unmatched(
        self, clusters: Mapping[int, Known], ads: Mapping[tuple[int, int], Any]
    ) -> Iterator[tuple[int, list[Seen]]]:
        """Yield, by submission, why jobs wait that never ran, where none of their submission runs; "" where a slot could.

        The jobs of a submission are alike: one of them is compared with the slots.
        """
        now, patient = time.monotonic(), time.time() - PATIENCE
        long: dict[str, tuple[Known, list[int]]] = {}
        for cluster, one in clusters.items():
            idle = [
                number
                for number in one.open
                if (ad := ads.get((cluster, number))) is not None
                and telling.STATUS.get(int(ad.get("JobStatus") or 0)) is JobState.IDLE
                and not int(ad.get("NumShadowStarts") or 0)
                and float(ad.get("EnteredCurrentStatus") or patient) <= patient
            ]
            running = any(state in telling.ON_A_NODE for _, state in one.open.values())
            due = now - self._matched_at.get(cluster, float("-inf")) >= ASK_AGAIN
            if idle and due and not running and len(long) < AT_ONCE:
                long[f"{cluster}.{idle[0]}"] = one, idle
        found: dict[str, int] = {}

        def count(question: str) -> int:
            if question not in found:
                found[question] = self._access.slots(question)
            return found[question]

        for ad in self._access.whole(list(long)):
            one, idle = long[f"{ad['ClusterId']}.{ad['ProcId']}"]
            said = matching.why(ad, count)
            self._matched_at[int(ad["ClusterId"])] = now
            yield one.id, [Seen(number, "waits", time.time(), reason=said) for number in idle]

    def _ads(self, clusters: Mapping[int, Known]) -> tuple[dict[tuple[int, int], Any], set[tuple[int, int]]]:
        """Return the ads of jobs, in the queue or of those that left it; and which are in neither, and not to come yet."""
        queued = self._access.queue(among(clusters))
        next_number = {ad["ClusterId"]: ad.get("JobMaterializeNextProcId") for ad in queued if ad.get("ProcId") is None}
        ads = {(ad["ClusterId"], ad["ProcId"]): ad for ad in queued if ad.get("ProcId") is not None}
        away = {
            (cluster, number)
            for cluster, one in clusters.items()
            for number in one.open
            if (cluster, number) not in ads and not _to_come(next_number.get(cluster), number)
        }
        if away:
            asked = {cluster for cluster, _ in away}
            past = self._access.history(among(asked), sum(clusters[cluster].jobs for cluster in asked))
            ads = {(ad["ClusterId"], ad["ProcId"]): ad for ad in past} | ads
        return ads, away - ads.keys()

    # -- people's verbs --------------------------------------------------------------------------------------------

    def remove(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.remove`. Where those that are not made yet are among them, the whole cluster if it is all of it.

        Else they are made, and may be removed then.
        """
        if self._access.act("Remove", jobs, reason):
            whole = [str(cluster) for cluster, numbers in _by_cluster(jobs).items() if self._is_all(cluster, numbers)]
            if whole:
                self._access.act("Remove", whole, reason)

    def _is_all(self, cluster: int, numbers: set[int]) -> bool:
        """Tell whether these are all jobs of a cluster that are in the queue or are to be made yet."""
        ads = self._access.queue(among([cluster]))
        made = {ad["ProcId"] for ad in ads if ad.get("ProcId") is not None}
        for ad in ads:
            if ad.get("ProcId") is None and ad.get("JobMaterializeNextProcId") is not None:
                to_come = range(int(ad["JobMaterializeNextProcId"]), int(ad["TotalSubmitProcs"]))
                return bool(to_come) and made <= numbers and numbers.issuperset(to_come)
        return False

    def hold(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.hold`."""
        self._access.act("Hold", jobs, reason)

    def release(self, jobs: Sequence[str]) -> None:
        """See `BatchSystem.release`. A job whose shadow has not ended since it was held is not released before.

        HTCondor (25.14) lets it wait then, as if no slot was free, until something else happens in its queue.
        """
        ends = time.monotonic() + ENDING
        while jobs and self._with_shadows(set(jobs)) and time.monotonic() < ends and not self._closing.wait(GLANCE):
            continue
        self._access.act("Release", jobs, "released")

    def _with_shadows(self, jobs: set[str]) -> bool:
        """Tell whether any of these jobs is held and on a machine yet."""
        question = f"({among(_by_cluster(jobs))}) && JobStatus == 5 && RemoteHost =!= undefined"
        return any(f"{ad['ClusterId']}.{ad.get('ProcId')}" in jobs for ad in self._access.queue(question))

    def fetch(self, known: Known, number: int) -> None:
        """See `BatchSystem.fetch`: what was spooled is brought back, if the queue has the job yet."""
        if self._options.spool and not (known.folder / f"out.{number}").exists():
            try:
                self._access.retrieve(f"{known.batch_id}.{number}")
            except ExecutorUnavailable:
                if self._access.queue(f"ClusterId == {known.batch_id} && ProcId == {number}"):
                    raise

    def forget(self, known: Known) -> None:
        """See `BatchSystem.forget`: spooled jobs stay in the queue, completed, until they are removed."""
        credentials.remove_copies(known.folder)
        if self._options.spool and known.batch_id:
            self._access.act("Remove", [known.batch_id], "its files were retrieved")
        (known.folder / LEFT).unlink(missing_ok=True)

    def renew(self, known: Known) -> None:
        """See `BatchSystem.renew`. Of jobs whose files are transferred and not spooled, their shadows pass on a newer proxy.

        Nobody passes on a token there: HTCondor transfers it when a job starts.
        """
        credentials.check(known.asks)
        if known.asks.transfer == "shared":
            credentials.keep_copies(known.asks, known.folder)
        elif self._options.spool and known.asks.proxy is not None:
            self._renew_spooled(known, known.asks.proxy)

    def _renew_spooled(self, known: Known, proxy: str) -> None:
        """Pass on a newer proxy, twice: a shadow that begins in that second takes it for the one that its job has."""
        changed = Path(proxy).stat().st_mtime
        before, times = self._passed_on.get(known.tag, (0.0, 0))
        times = times + 1 if changed == before else 1
        if times > 2:
            return
        for job, _ in known.open.values():
            self._access.renew_proxy(job, proxy)
        self._passed_on[known.tag] = changed, times

    def wait(self, seconds: float) -> None:
        """See `BatchSystem.wait`: until a log that was followed has grown."""
        end = time.monotonic() + seconds
        while not any(_size(log) != size for log, size in self._logs.items()):
            left = end - time.monotonic()
            if left <= 0 or self._closing.wait(min(left, GLANCE)):
                return

    def close(self) -> None:
        """See `BatchSystem.close`."""
        self._closing.set()
        self._access.close()


def _accepted(cluster: int, count: int) -> Accepted:
    return Accepted(str(cluster), tuple(f"{cluster}.{number}" for number in range(count)))


def _by_cluster(jobs: Iterable[str]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for job in jobs:
        cluster, _, number = job.partition(".")
        found.setdefault(int(cluster), set()).add(int(number))
    return found


def _to_come(next_number: Any, number: int) -> bool:
    """Tell whether a job is to be made yet, of a cluster that is made bit by bit."""
    return next_number is not None and number >= int(next_number)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return -1
