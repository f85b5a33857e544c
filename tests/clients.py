"""Jobs that work at random through a server, and write down what they were answered; and what must be true of it after.

A crew is a process with several threads, each a client of its own. What a client was told, another may rely on: so it
is all compared with the catalog at the end. Outputs are real files, published by renaming.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from bookkeeper import stageout
from bookkeeper.api import open_catalog
from bookkeeper.check import check
from bookkeeper.client.ledger import HttpLedger
from bookkeeper.client.transport import Transport
from bookkeeper.errors import Fenced, NotFound, Paused, RolledBack, ServerUnreachable
from bookkeeper.protocol import (
    Fate,
    FileMark,
    Manifest,
    Mark,
    OutputRecord,
    ProcessKey,
    Started,
    StartProcess,
    Status,
    StoredOutput,
)
from bookkeeper.publishing import publish_pending
from forking import forks
from ledgers import World, sound

PATIENCE = 900
"""Seconds that a client waits for its server, which answers in a fraction of the time and is killed again."""
LARGE = 400
"""Files of a process when there is nothing more to wait for."""


@dataclass(frozen=True)
class Work:
    """Where clients work: ``folder`` takes their outputs (``out``) and what they were told (``said``).

    While the file ``busy`` is there they take few files at a time and misbehave; without it they bring it to its end.
    """

    url: str
    folder: Path
    lease: float = 5.0
    bites: int = 3
    forgets: bool = False
    """Its database may lose what was not promised to be durable: which files were given to whom, what was published."""

    @property
    def out(self) -> Path:
        """Where outputs go."""
        return self.folder / "out"

    @property
    def busy(self) -> Path:
        """The file that is there while they are to misbehave."""
        return self.folder / "busy"


class Client:
    """One job after another, until nothing is left."""

    def __init__(self, work: Work, ledger: HttpLedger, number: int, seed: int) -> None:
        self._work, self._ledger = work, ledger
        self._chance = random.Random(f"{seed} {number}")
        self._process, self._key = 0, ProcessKey(0, "")
        self._said = (work.folder / "said" / f"{number}.jsonl").open("a")

    def go(self) -> None:
        """Work until there is no more."""
        with self._said:
            while self._go_on():
                pass

    def _go_on(self) -> bool:
        self._process = 0
        try:
            return self._one_process()
        except Paused:
            with contextlib.suppress(ServerUnreachable), open_catalog(self._work.url) as catalog:
                catalog.project("p").resume()
        except (Fenced, RolledBack) as error:
            self._note("fenced", self._process, words=str(error))
        except NotFound as error:
            if not self._work.forgets or "was given no file" not in str(error):
                raise
            self._note("rolled_back", self._process, fate=self._ledger.roll_back(self._key, str(error), counted=False))
        return True

    def _one_process(self) -> bool:
        chance, ledger, busy = self._chance, self._ledger, self._work.busy.exists()
        most = chance.randrange(1, self._work.bites + 1) if busy else LARGE
        nonce = f"{chance.getrandbits(128):032x}"
        started = ledger.start_process(StartProcess("p", nonce, lease=self._work.lease, files_per_process=most))
        self._process, self._key = started.key.id, started.key
        key, taken, status = started.key, list[int](), Status.FILES
        while len(taken) < most and status is Status.FILES:
            seq, limit = len(taken) + 1, 1 if busy else LARGE
            answer = ledger.next_files(key, seq, limit, [FileMark(one, Mark.OPENED) for one in taken[-1:]])
            taken += [info.id for info in answer.files]
            status = answer.status
        if not taken:
            self._note("rolled_back", key.id, fate=ledger.roll_back(key, "nothing to do", counted=False))
            if status is Status.NONE_NOW:
                threading.Event().wait(0.2)  # as the answer asked, only sooner
            return status is not Status.EXHAUSTED
        if chance.random() < 0.2:
            with contextlib.suppress(ServerUnreachable):  # another follows, as a rule
                ledger.heartbeat(key)
        dice = chance.random() if busy else 1.0
        if dice < 0.02:
            return True  # fallen silent for good: its lease runs out
        if dice < 0.15:
            ledger.mark(key, [FileMark(one, Mark.OPENED) for one in taken])
            self._note("rolled_back", key.id, fate=ledger.roll_back(key, "unlucky", counted=False))
            return True
        self._finish(started, taken, staged=dice < 0.4)
        return True

    def _finish(self, started: Started, taken: list[int], *, staged: bool) -> None:
        key, output = started.key, self._write(started, taken)
        manifest = Manifest([FileMark(one, Mark.CONSUMED) for one in taken], [output])
        try:
            if staged:
                self._ledger.stage(key, manifest)
            stored = self._ledger.commit(key, manifest)
        except (Fenced, RolledBack) as error:
            Path(output.temp_url).unlink()
            self._note("fenced", key.id, words=str(error))
            return
        self._note("committed", key.id, files=taken, outputs=[one.id for one in stored])
        self._publish(key, stored)

    def _write(self, started: Started, taken: list[int]) -> OutputRecord:
        name, out = f"out-{started.key.id}.txt", str(self._work.out)
        content = "".join(f"{one}\n" for one in taken).encode()
        url = stageout.temporary_url(out, started.key.id, started.tag, 0, name)
        Path(url).parent.mkdir(exist_ok=True)
        Path(url).write_bytes(content)
        return OutputRecord("k", out, url, f"{out}/{name}", len(content), f"adler32:{zlib.adler32(content):08x}")

    def _publish(self, key: ProcessKey, stored: tuple[StoredOutput, ...]) -> None:
        for one in stored:
            record = one.record
            stageout.publish(record.temp_url, record.final_url, size=record.size, checksum=record.checksum)
        self._ledger.published(key, [one.id for one in stored])
        self._note("published", key.id)

    def _note(self, what: str, process: int, **more: Any) -> None:
        self._said.write(json.dumps({"what": what, "process": process, **more}) + "\n")
        self._said.flush()


def crew(work: Work, seed: int, first: int, size: int) -> None:
    """In a child: so many clients at once, until nothing is left; the first that fails ends all of them."""

    def one(number: int, transport: Transport) -> None:
        try:
            Client(work, HttpLedger(transport, patience=PATIENCE), number, seed).go()
        except BaseException:  # noqa: BLE001 the parent is told by the exit code, and at once
            traceback.print_exc()
            os._exit(1)

    with contextlib.ExitStack() as stack:
        threads = [
            threading.Thread(target=one, args=(first + n, stack.enter_context(contextlib.closing(Transport(work.url)))))
            for n in range(size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Crews:
    """Clients in processes of their own. ``world`` is the catalog that they work on."""

    def __init__(self, world: World, work: Work, processes: int, threads: int, seed: int = 0) -> None:
        self.work = work
        work.out.mkdir(parents=True)
        (work.folder / "said").mkdir()
        work.busy.touch()
        stageout.claim(str(work.out), world.database.id)
        context = forks()
        self._children = [
            context.Process(target=crew, args=(work, seed, number * threads, threads)) for number in range(processes)
        ]
        self.size = processes * threads

    def __enter__(self) -> Crews:
        for child in self._children:
            child.start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()
            child.join()

    def watch(self, seconds: float) -> None:
        """Let so much time pass; fail if anybody stops working meanwhile."""
        ended = wait([child.sentinel for child in self._children], timeout=seconds)
        assert not ended, f"a crew ended too early: {[child.exitcode for child in self._children]}"

    def finish(self, seconds: float = 900) -> None:
        """Have the work brought to its end, without further misbehaviour."""
        self.work.busy.unlink()
        for child in self._children:
            child.join(seconds)
            assert child.exitcode == 0, f"a crew ended with {child.exitcode}"


def verdict(world: World, work: Work, files: int) -> Counter[str]:
    """Fail unless every file counts once and the catalog says what the clients were told; return how often what was said."""
    if work.forgets:  # that an output was published is told again by whoever publishes next
        assert [problem for _, problem in publish_pending(world.database) if problem] == []
    status = world.catalog.project("p").status()
    assert (status.complete, status.committed, status.files) == (True, files, files)
    counting = "SELECT count(*) FROM consumption WHERE committed = 1"
    assert world.value(counting) == world.value(counting.replace("count(*)", "count(DISTINCT file)")) == files
    sound(world)
    assert check(world.database, checksum=True) == []
    read = Counter(line for path in work.out.glob("*.txt") for line in path.read_text().split())
    assert (len(read), set(read.values())) == (files, {1})
    return _as_told(world, work)


def _as_told(world: World, work: Work) -> Counter[str]:
    states = dict(world.database.table("SELECT id, state FROM processes")[1])
    counting: dict[int, set[int]] = {}
    query = "SELECT process_id, file_id FROM ledger WHERE state = 'committed'"
    for process, file in world.database.table(query)[1]:
        counting.setdefault(process, set()).add(file)
    outputs = dict(world.database.table("SELECT process_id, state FROM outputs WHERE state = 'published'")[1])
    told: Counter[str] = Counter()
    for said in _all_said(work):
        what, process = said["what"], said["process"]
        told[what] += 1
        if what == "committed":
            assert states[process] == "committed"
            assert counting[process] == set(said["files"])
        elif what == "published":
            assert outputs[process] == "published"
        elif what == "rolled_back":
            assert (said["fate"], states[process]) == (Fate.ROLLED_BACK, "rolled_back")
        elif process:
            assert states[process] == "rolled_back", said
    committed = [said["process"] for said in _all_said(work) if said["what"] == "committed"]
    assert len(committed) == len(set(committed)) == len(counting)
    return told


def _all_said(work: Work) -> Iterator[dict[str, Any]]:
    for path in sorted((work.folder / "said").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield json.loads(line)
