"""A bad network between clients and a server: a proxy that loses, delays, doubles and reorders what jobs say.

It knows HTTP so far that one request and its answer are one thing. What it does to the n-th coming of a request follows
from its seed, the verb and the request's body alone, so that a run can be had again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
import threading
import zlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

PREFIX: Final = "/v1/ledger/"


class Fault(StrEnum):
    """What may happen to a request on its way."""

    NONE = "none"
    LOSE_REQUEST = "lose the request"  # the server never sees it
    LOSE_ANSWER = "lose the answer"  # the server did it, and nobody hears so
    CUT_ANSWER = "cut the answer"  # half of it arrives
    DELAY = "delay"
    TWICE = "twice"  # both copies at once; either answer
    TWICE_IN_TURN = "twice in turn"  # the second after the first was answered; the second's answer
    LATE = "late"  # the sender is told nothing; it arrives after newer ones, or a day later
    RESET = "reset"  # the connection is reset before anything was read


EVERYTHING: Final[Mapping[Fault, float]] = {fault: 0.03 for fault in Fault if fault is not Fault.NONE}
"""Every fault, and how often it happens to a request of a job."""

NEWER: Final = 120
"""The most requests that overtake one that is late; some wait for `Proxy.deliver`, as do all that a test plans."""


@dataclass(frozen=True)
class Request:
    """A request as it was sent."""

    verb: str
    data: bytes


@dataclass(frozen=True)
class Answer:
    """What the server said to a request that nobody waited for."""

    verb: str
    status: int
    body: bytes


class Proxy:
    """Forwards to the server at ``url``; use it in a ``with`` block. ``address`` is where clients go instead."""

    def __init__(
        self, url: str, *, seed: int = 0, rates: Mapping[Fault, float] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._server = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))
        self._seed, self._rates, self._host = seed, dict(rates or {}), host
        self.counts: Counter[Fault] = Counter()
        self.answers: list[Answer] = []
        """What was answered to late requests and to the copies that were not given to anybody."""
        self.unreached = 0
        self._seen: Counter[tuple[str, int]] = Counter()
        self._planned: dict[str, deque[Fault]] = {}
        self._held: list[tuple[int, Request]] = []
        self._passed = 0
        self._cut = False
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._ready = threading.Event()
        self.address = ""

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # -- what tests say --------------------------------------------------------------------------------------------

    def plan(self, verb: str, *faults: Fault) -> None:
        """Let this happen to the next requests of a verb."""
        self._planned.setdefault(verb, deque()).extend(faults)

    @property
    def held(self) -> int:
        """How many late requests have not arrived yet."""
        return len(self._held)

    def deliver(self) -> list[Answer]:
        """Let all that is late arrive now, the newest first; return what was answered."""

        async def arrive() -> list[Answer]:
            late, self._held = self._held[::-1], []
            return [answer for _, request in late if (answer := await self._unheard(request)) is not None]

        return asyncio.run_coroutine_threadsafe(arrive(), self._loop).result(120)

    def cut(self) -> None:
        """Cut everybody off: open connections break, new ones too, until `restore`."""

        async def break_off() -> None:
            self._cut = True
            for writer in list(self._connections):
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(break_off(), self._loop).result(30)

    def restore(self) -> None:
        """Let everybody through again."""
        self._cut = False

    # -- the way there and back ------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, self._host, 0, backlog=256))
        host, port = server.sockets[0].getsockname()[:2]
        self.address = f"http://{host}:{port}"
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if self._cut or (answer := await self._answer(await _request(reader), writer)) is None or self._cut:
                    writer.transport.abort()
                else:
                    writer.write(answer)
                    await writer.drain()
        finally:
            self._connections.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bytes | None:
        """Return what the sender gets to read; None where its connection breaks."""
        self._passed += 1
        for due, late in [one for one in self._held if one[0] <= self._passed]:
            self._held.remove((due, late))
            self._behind(late)
        chance = self._chance(request)
        planned = bool(self._planned.get(request.verb))
        fault = self._fault(request, chance)
        self.counts[fault] += 1
        if fault is Fault.LOSE_REQUEST:
            return None
        if fault is Fault.RESET:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return None
        if fault is Fault.LATE:
            newer = chance.randrange(1, NEWER)
            self._held.append((sys.maxsize if planned else self._passed + newer, request))
            return None
        if fault is Fault.DELAY:
            await asyncio.sleep(chance.uniform(0.01, 0.3))
        if fault is Fault.TWICE:
            both = await asyncio.gather(self._exchange(request), self._exchange(request), return_exceptions=True)
            whole = [one for one in both if isinstance(one, bytes) and one]
            chance.shuffle(whole)
            self.answers += [_read(request, one) for one in whole[1:]]
            return whole[0] if whole else None
        if fault is Fault.TWICE_IN_TURN and (first := await self._exchange(request)):
            self.answers.append(_read(request, first))
        answer = await self._exchange(request)
        if fault is Fault.CUT_ANSWER:
            writer.write(answer[: chance.randrange(len(answer))] if answer else b"")
            await writer.drain()
            return None
        return None if fault is Fault.LOSE_ANSWER else answer or None

    def _chance(self, request: Request) -> random.Random:
        what = (request.verb, zlib.crc32(request.data.rpartition(b"\r\n\r\n")[2]))
        self._seen[what] += 1
        return random.Random(f"{self._seed} {what} {self._seen[what]}")

    def _fault(self, request: Request, chance: random.Random) -> Fault:
        if planned := self._planned.get(request.verb):
            return planned.popleft()
        if not request.verb or not self._rates:
            return Fault.NONE
        calm = max(0.0, 1 - sum(self._rates.values()))
        return chance.choices([*self._rates, Fault.NONE], [*self._rates.values(), calm])[0]

    def _behind(self, request: Request) -> None:
        task = self._loop.create_task(self._unheard(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _unheard(self, request: Request) -> Answer | None:
        """Deliver a request whose sender is gone."""
        try:
            data = await self._exchange(request)
        except OSError:
            data = b""
        if not data:
            self.unreached += 1
            return None
        self.answers.append(answer := _read(request, data))
        return answer

    async def _exchange(self, request: Request) -> bytes:
        """Send a request on a connection of its own; return the answer as it came, empty where none did."""
        reader, writer = await asyncio.open_connection(*self._server)
        try:
            writer.write(request.data)
            await writer.drain()
            return await reader.read(-1)
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> Request:
    """Read one request; it asks for the connection to be closed behind its answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    named = {line.partition(b":")[0].strip().lower(): line.partition(b":")[2].strip() for line in lines}
    body = await reader.readexactly(int(named.get(b"content-length", b"0")))
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    path = first.split(b" ")[1].decode()
    verb = path.removeprefix(PREFIX) if path.startswith(PREFIX) else ""
    return Request(verb, b"\r\n".join([first, *kept, b"connection: close", b"", body]))


def _read(request: Request, data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    return Answer(request.verb, int(head.split(b" ")[1]), body)
