"""A small real batch system for tests: jobs are processes of this host, kept in a queue that is a folder.

::

    queue/<cluster>/ad.json          tag, command, folder, environment: written whole, by which the cluster is in the queue
    queue/<cluster>/log              what happened, a JSON object a line: what `follow` reads
    queue/<cluster>/<n>.lock         held by the starter of job n, a process of its own
    queue/<cluster>/<n>.ask          what is asked of it: remove, hold, release, evict, kill, vanish
    queue/<cluster>/<n>.over         it is over
    slots/<i>.lock                   held by the starter whose job runs there
    closed                           the pool is shut down: starters kill their jobs and end
    away                             the pool does not answer: every question raises `ExecutorUnavailable`
    die-after-submit                 whoever submits next is killed right after its jobs are in the queue

A starter that a killed submitter did not start is started by whoever asks anything next.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bookkeeper.errors import ExecutorUnavailable, UsageError
from bookkeeper.executors.batch import Accepted, Asks, Known, Order, Seen
from bookkeeper_schema.states import JobState

SLOTS = 4
TICK = 0.01
STATES = {
    "queued": JobState.IDLE,
    "run": JobState.RUNNING,
    "held": JobState.HELD,
    "released": JobState.IDLE,
    "evicted": JobState.IDLE,
    "ended": JobState.COMPLETED,
    "removed": JobState.REMOVED,
}


def make(folder: Path, options: Mapping[str, Any]) -> ToyPool:
    """Return the pool beside the catalog."""
    return ToyPool(folder.parent / "toypool")


class ToyPool:
    """The pool in a folder."""

    kind = "toypool"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.queue = root / "queue"
        self.queue.mkdir(parents=True, exist_ok=True)
        (root / "slots").mkdir(exist_ok=True)

    # -- what bookkeeper asks --------------------------------------------------------------------------------------

    def check(self, asks: Asks) -> None:
        if asks.queue == "refused":
            raise UsageError("this pool has no queue 'refused'")

    def prepare(self, order: Order) -> Sequence[Path]:
        path = order.folder / "toypool.json"
        ad = {"tag": order.tag, "command": order.command, "folder": str(order.folder), "jobs": order.count,
              "environment": dict(order.asks.environment)}  # fmt: skip
        path.write_text(json.dumps(ad))
        return [path]

    def submit(self, order: Order) -> Accepted:
        self._here()
        self.check(order.asks)
        (path,) = self.prepare(order)
        with _lock(self.root / "numbers") as _:
            number = len(list(self.queue.iterdir())) + 1
            hidden = self.root / f".new-{os.getpid()}-{number}"
            hidden.mkdir()
            (hidden / "ad.json").write_text(path.read_text())
            hidden.rename(self.queue / str(number))
        with contextlib.suppress(FileNotFoundError):
            (self.root / "die-after-submit").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        self._kick(self.queue / str(number))
        return _accepted(number, order.count)

    def find(self, order: Order) -> Accepted | None:
        self._here()
        for cluster in self.queue.iterdir():
            if json.loads((cluster / "ad.json").read_text())["tag"] == order.tag:
                self._kick(cluster)
                return _accepted(int(cluster.name), order.count)
        return None

    def follow(self, known: Known) -> tuple[str | None, Sequence[Seen]]:
        self._here()
        cluster = self.queue / known.batch_id
        self._kick(cluster)
        begin = int(known.position or 0)
        try:
            with (cluster / "log").open("rb") as log:
                log.seek(begin)
                told = log.read()
        except FileNotFoundError:
            return known.position, []
        whole = told[: told.rfind(b"\n") + 1]
        return str(begin + len(whole)), [_seen(json.loads(line)) for line in whole.splitlines()]

    def reconcile(self, known: Sequence[Known]) -> Mapping[int, Sequence[Seen]]:
        self._here()
        found: dict[int, list[Seen]] = {}
        for one in known:
            for number in one.open:
                if (self.queue / one.batch_id / f"{number}.vanished").exists():
                    lost = Seen(number, "lost", time.time(), JobState.LOST, reason="the pool knows nothing of it")
                    found.setdefault(one.id, []).append(lost)
        return found

    def remove(self, jobs: Sequence[str], reason: str) -> None:
        self._ask(jobs, "remove", reason)

    def hold(self, jobs: Sequence[str], reason: str) -> None:
        self._ask(jobs, "hold", reason)

    def release(self, jobs: Sequence[str]) -> None:
        self._ask(jobs, "release")

    def fetch(self, known: Known, number: int) -> None: ...

    def forget(self, known: Known) -> None: ...

    def renew(self, known: Known) -> None: ...

    def wait(self, seconds: float) -> None:
        select.select([], [], [], min(seconds, 0.05))

    def close(self) -> None: ...

    # -- what befalls jobs -----------------------------------------------------------------------------------------

    def ask(self, job: str, what: str, **said: Any) -> None:
        """Let something happen to a job: evict, kill, vanish, hold (``code``, ``subcode``)."""
        cluster, _, number = job.partition(".")
        path = self.queue / cluster / f"{number}.ask"
        whole = path.with_suffix(f".{os.getpid()}")
        whole.write_text(json.dumps({"what": what, **said}))
        whole.rename(path)

    def clusters(self) -> list[str]:
        """Return the tags of all that was ever submitted."""
        return sorted(json.loads((one / "ad.json").read_text())["tag"] for one in self.queue.iterdir())

    def shut_down(self) -> None:
        """Kill what runs; return when nothing does."""
        (self.root / "closed").touch()
        for path in [*self.queue.glob("*/*.lock"), *self.queue.glob("*/kick")]:
            with _lock(path):
                pass

    def _ask(self, jobs: Sequence[str], what: str, reason: str = "") -> None:
        self._here()
        for job in jobs:
            self.ask(job, what, reason=reason)

    def _here(self) -> None:
        if (self.root / "away").exists():
            raise ExecutorUnavailable("the toy pool does not answer")

    def _kick(self, cluster: Path) -> None:
        """Start the starters that are missing."""
        if (self.root / "closed").exists():
            return
        with _lock(cluster / "kick"):
            count = json.loads((cluster / "ad.json").read_text())["jobs"]
            for number in range(count):
                if (cluster / f"{number}.over").exists():
                    continue
                lock = os.open(cluster / f"{number}.lock", os.O_RDWR | os.O_CREAT)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    continue
                words = [sys.executable, __file__, str(cluster), str(number)]
                with (cluster / f"{number}.starter").open("ab") as err:
                    subprocess.Popen(
                        words,
                        start_new_session=True,
                        pass_fds=(lock,),
                        stdin=subprocess.DEVNULL,
                        stdout=err,
                        stderr=err,
                    ).returncode = 0  # nobody's child soon
                os.close(lock)


def _accepted(cluster: int, count: int) -> Accepted:
    return Accepted(str(cluster), tuple(f"{cluster}.{number}" for number in range(count)))


def _seen(line: Mapping[str, Any]) -> Seen:
    kind = line["kind"]
    return Seen(
        line["n"], kind, line["at"], STATES[kind], died=line.get("died", False), node=line.get("node"),
        hold_code=line.get("code"), hold_subcode=line.get("subcode"), exit_code=line.get("exit_code"),
        signal=line.get("signal"), reason=line.get("reason"),
    )  # fmt: skip


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[int]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


class Starter:
    """Runs one job of a cluster, as often as it has to."""

    def __init__(self, cluster: Path, number: int) -> None:
        self.cluster, self.number = cluster, number
        self.root = cluster.parents[1]
        self.ad = json.loads((cluster / "ad.json").read_text())
        self.child: subprocess.Popen[bytes] | None = None
        self.slot = -1
        self.held = (cluster / f"{number}.held").exists()

    def tell(self, kind: str, **said: Any) -> None:
        line = json.dumps({"n": self.number, "kind": kind, "at": time.time(), **said}) + "\n"
        log = os.open(self.cluster / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, line.encode())
        os.close(log)

    def run(self) -> None:
        if not (self.cluster / f"{self.number}.told").exists():
            self.tell("queued")
            (self.cluster / f"{self.number}.told").touch()
        while not self.over():
            select.select([], [], [], TICK)
        (self.cluster / f"{self.number}.over").touch()

    def over(self) -> bool:
        if (self.root / "closed").exists():
            self.stop(signal.SIGKILL)
            return True
        asked = self.asked()
        if asked and self.obey(asked):
            return True
        if self.child is None:
            if not self.held and self.take_slot():
                self.start()
            return False
        code = self.child.poll()
        if code is None:
            return False
        self.child = None
        self.free_slot()
        how = {"signal": -code} if code < 0 else {"exit_code": code}
        self.tell("ended", died=True, **how)
        return True

    def asked(self) -> dict[str, Any] | None:
        path = self.cluster / f"{self.number}.ask"
        try:
            said = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        path.unlink()
        return said

    def obey(self, said: dict[str, Any]) -> bool:
        what, ran = said["what"], self.child is not None
        if what == "remove":
            self.stop(signal.SIGTERM)
            self.tell("removed", died=ran, reason=said.get("reason"))
            return True
        if what == "vanish":
            self.stop(signal.SIGKILL)
            (self.cluster / f"{self.number}.vanished").touch()
            return True
        if what == "kill" and self.child is not None:
            os.killpg(self.child.pid, signal.SIGKILL)
        elif what == "evict" and ran:
            self.stop(signal.SIGKILL)
            self.tell("evicted", died=True, reason=said.get("reason", "its slot was needed"))
        elif what == "hold":
            self.stop(signal.SIGKILL)
            self.held = True
            (self.cluster / f"{self.number}.held").touch()
            self.tell(
                "held", died=ran, reason=said.get("reason"), code=said.get("code", 1), subcode=said.get("subcode", 0)
            )
        elif what == "release" and self.held:
            self.held = False
            (self.cluster / f"{self.number}.held").unlink()
            self.tell("released")
        return False

    def start(self) -> None:
        environment = {
            **os.environ,
            **self.ad["environment"],
            "BOOKKEEPER_JOB_ID": f"{self.cluster.name}.{self.number}",
        }
        folder = Path(self.ad["folder"])
        with (folder / f"out.{self.number}").open("ab") as out, (folder / f"err.{self.number}").open("ab") as err:
            self.child = subprocess.Popen(
                self.ad["command"], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=folder,
                start_new_session=True,
            )  # fmt: skip
        self.tell("run", node=f"slot{self.slot_number}")

    def stop(self, number: signal.Signals) -> None:
        if self.child is not None:
            if number is signal.SIGKILL:
                os.killpg(self.child.pid, number)
            else:
                self.child.send_signal(number)
            self.child.wait()
            self.child = None
            self.free_slot()

    def take_slot(self) -> bool:
        for number in range(SLOTS):
            slot = os.open(self.root / "slots" / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(slot)
                continue
            self.slot, self.slot_number = slot, number
            return True
        return False

    def free_slot(self) -> None:
        os.close(self.slot)


if __name__ == "__main__":
    Starter(Path(sys.argv[1]), int(sys.argv[2])).run()
