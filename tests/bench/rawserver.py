"""The floor of a catalog server: hand-parsed HTTP on uvloop, the kernel's statements by hand, one writer with group commit.

``python rawserver.py CATALOG``: prints its port. It answers ``start_process`` and ``next_files``, checks nothing but the
token, and knows one case only: a file is there. ``MODE=single``: a durable transaction for every call.
"""

from __future__ import annotations

import asyncio
import collections
import os
import sqlite3
import sys
import threading
from typing import Any

import msgspec
import uvloop

from bookkeeper.ledger import choosing, deliver, start
from bookkeeper.ledger.guards import secret

SINGLE = os.environ.get("MODE") == "single"


class Writer(threading.Thread):
    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        self.run_ = self.connection.execute
        self.run_("PRAGMA foreign_keys = ON")
        self.run_(f"PRAGMA synchronous = {'FULL' if SINGLE else 'NORMAL'}")
        self.waiting: collections.deque[Any] = collections.deque()
        self.wake = threading.Event()

    def run(self) -> None:
        while True:
            self.wake.wait()
            self.wake.clear()
            while self.waiting:
                group = [self.waiting.popleft() for _ in range(1 if SINGLE else min(len(self.waiting), 256))]
                self.run_("BEGIN IMMEDIATE")
                answers = [(protocol, self.answer(verb, token, body)) for protocol, verb, token, body in group]
                self.run_("COMMIT")
                loop.call_soon_threadsafe(say, answers)

    def answer(self, verb: str, token: str, body: bytes) -> bytes:
        call = msgspec.json.decode(body)
        if verb == "start_process":
            words = {"project": "bench", "token": secret(token), "node": "here", "executor": None, "job_id": None,
                     "partition": None, "files_per_process": call["files_per_process"], "lease": None}  # fmt: skip
            self.run_(start.START, words)
            process = self.run_(start.STARTED, {"project": "bench", "token": secret(token)}).fetchone()[0]
            return b'{"key":{"id":%d}}' % process
        process, run = call["process"], self.run_
        request, project, *_ = run(deliver.GUARD, {"id": process, "token": secret(token)}).fetchone()
        for one in call["done"]:
            run(deliver.CONSUMED, {"id": process, "file": one["file_id"], "entries": None, "bytes": None})
        file, attempts, _, _, _, _, name, size, checksum, entries, tree, urls = run(
            choosing.CANDIDATES, {"project": project, "limit": 1}
        ).fetchone()[:12]
        run(deliver.TAKE, {"id": process, "request": request, "file": file})
        run(deliver.DELIVER, {"id": process, "file": file, "seq": call["seq"], "attempt": attempts + 1})
        run(
            deliver.GAVE,
            {"id": process, "seq": call["seq"], "count": 1, "limit": 1_000_000, "partition": None},
        )
        info = {"id": file, "name": name, "size": size, "checksum": checksum, "entries": entries, "tree": tree,
                "locations": urls.split("\n")}  # fmt: skip
        return msgspec.json.encode({"files": [info], "status": "files", "project_state": "open"})


def say(answers: list[tuple[Any, bytes]]) -> None:
    for protocol, body in answers:
        protocol.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )


class Hand(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            at = head.find(b"Content-Length: ") + 16
            stop = head.find(b"\r\n", at)
            length = int(head[at : stop if stop > 0 else None])
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            verb = head[: head.find(b" HTTP")].rpartition(b"/")[2].decode()
            at = head.find(b"Bearer ") + 7
            writer.waiting.append((self, verb, head[at : head.find(b"\r\n", at)].decode(), body))
            writer.wake.set()


async def main() -> None:
    global loop
    loop = asyncio.get_running_loop()
    writer.start()
    server = await loop.create_server(Hand, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


loop: asyncio.AbstractEventLoop
writer = Writer(sys.argv[1])
uvloop.run(main())
