"""A load of jobs over HTTP, from one process: connections that speak raw HTTP/1.1, as little Python as it takes.

``python httpload.py call|cycle|durable|idle PORT CONNECTIONS SECONDS``: prints JSON: calls, files, seconds, and the 50th and 99th
percentile of a call's time in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

FILES_A_PROCESS = 10
BEAT = 10.0
"""Seconds between two heartbeats of an idle job: a lease of half a minute."""

Call = tuple[str, str, bytes]


def calls(name: str, answers: list[bytes]) -> Iterator[Call]:
    """A job that only asks: what is done rides on the call for the next file."""
    yield start(name, 1_000_000)
    process = json.loads(answers.pop())["key"]["id"]
    done = ""
    for seq in range(1, 1_000_000):
        yield "next_files", name, b'{"process":%d,"seq":%d,"limit":1,"done":[%s]}' % (process, seq, done.encode())
        done = f'{{"file_id":{file_of(answers.pop())},"mark":"consumed"}}'


def cycles(name: str, answers: list[bytes]) -> Iterator[Call]:
    """Jobs of ten files each: start, ten calls, commit."""
    for number in range(1_000_000):
        token = f"{name}-{number}"
        yield start(token, FILES_A_PROCESS)
        process = json.loads(answers.pop())["key"]["id"]
        marks: list[str] = []
        for seq in range(1, FILES_A_PROCESS + 1):
            done = ",".join(marks[-1:]).encode()
            yield "next_files", token, b'{"process":%d,"seq":%d,"limit":1,"done":[%s]}' % (process, seq, done)
            marks.append(f'{{"file_id":{file_of(answers.pop())},"mark":"consumed"}}')
        manifest = f'{{"files":[{",".join(marks)}],"outputs":[],"no_output":true}}'
        yield "commit", token, b'{"process":%d,"manifest":%s}' % (process, manifest.encode())
        answers.pop()


def durable(name: str, answers: list[bytes]) -> Iterator[Call]:
    """A job that says again and again, durably, that it opened its file."""
    yield start(name, 1)
    process = json.loads(answers.pop())["key"]["id"]
    yield "next_files", name, b'{"process":%d,"seq":1,"limit":1}' % process
    mark = f'{{"file_id":{file_of(answers.pop())},"mark":"opened"}}'.encode()
    while True:
        yield "mark", name, b'{"process":%d,"marks":[%s],"durable":true}' % (process, mark)
        answers.pop()


def idle(name: str, answers: list[bytes]) -> Iterator[Call]:
    """A job whose heart beats."""
    yield start(name, 1)
    process = json.loads(answers.pop())["key"]["id"]
    while True:
        yield "heartbeat", name, b'{"process":%d}' % process
        answers.pop()


def start(token: str, files: int) -> Call:
    words = {"project": "bench", "nonce": token, "node": "here", "files_per_process": files}
    return "start_process", token, json.dumps(words).encode()


def file_of(answer: bytes) -> int:
    """The number of the file in an answer to next_files."""
    begin = answer.index(b'"id":') + 5
    return int(answer[begin : answer.index(b",", begin)])


class Connection(asyncio.Protocol):
    """One job after the other on one connection."""

    def __init__(self, calls: Any, name: str, times: list[float], until: float, pause: float) -> None:
        self.answers: list[bytes] = []
        self.calls = calls(name, self.answers)
        self.times, self.until = times, until
        self.buffer = b""
        self.sent = 0.0
        self.files = 0
        self.verb = ""
        self.pause = pause
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.say()

    def say(self) -> None:
        if time.perf_counter() >= self.until:
            self.transport.close()
            return
        self.verb, token, body = next(self.calls)
        head = f"POST /v1/ledger/{self.verb} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.sent = time.perf_counter()
        self.transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else None]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4 : end + 4 + length], b""
        if not head.startswith(b"http/1.1 200"):
            self.ended.set_exception(RuntimeError(f"{head!r} {body!r}"))
            self.transport.close()
            return
        self.times.append(time.perf_counter() - self.sent)
        self.files += self.verb == "next_files"
        self.answers.append(body)
        if self.pause and self.answers:
            asyncio.get_running_loop().call_later(self.pause, self.say)
        else:
            self.say()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def load(kind: str, port: int, connections: int, seconds: float) -> dict[str, float]:
    loop, times = asyncio.get_running_loop(), []
    began = time.perf_counter()
    made = {"call": calls, "cycle": cycles, "durable": durable, "idle": idle}[kind]
    pause = BEAT if kind == "idle" else 0.0
    jobs = []
    for number in range(connections):
        name = f"{time.time_ns()}-{number}"
        _, job = await loop.create_connection(
            lambda name=name: Connection(made, name, times, began + seconds, pause), "127.0.0.1", port
        )
        jobs.append(job)
        if pause:
            await asyncio.sleep(pause / connections)  # they do not beat all at once
    if kind == "idle":
        print("beating", flush=True)
    await asyncio.gather(*(job.ended for job in jobs))
    took = time.perf_counter() - began
    times.sort()
    return {
        "calls": len(times), "files": sum(job.files for job in jobs), "seconds": took,
        "p50": 1e3 * times[len(times) // 2], "p99": 1e3 * times[len(times) * 99 // 100],
    }  # fmt: skip


if __name__ == "__main__":
    import uvloop

    kind, port, connections, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(load(kind, int(port), int(connections), float(seconds)))))
