"""The catalog server: a worker's call against a hand-parsed server, group commit, a million files, idle workers.

Server and clients share the machine; the clients speak raw HTTP from one process (`httpload.py`).
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from catalogs import make_catalog, make_project
from httpload import BEAT
from measure import Row

HERE = Path(__file__).parent
SECONDS = 4.0
ROUNDS = 5
MANY, FEW = 1_000_000, 10_000
IDLE = 2000


def rows() -> Iterator[Row]:
    """Calls, groups, a large project, and workers that only live."""
    with tempfile.TemporaryDirectory(prefix="bookkeeper-server-") as folder:
        yield from calls(Path(folder))
        yield from groups(Path(folder))
        yield from life_cycles(Path(folder))
        yield from idle_workers(Path(folder))


def calls(folder: Path) -> Iterator[Row]:
    """The call of a worker, done + next, from 16 connections."""
    with (
        served(folder / "raw.db", MANY // 2, program="rawserver.py") as raw,
        served(folder / "ours.db", MANY // 2) as ours,
    ):
        speed = {name: [] for name in ("raw", "ours")}
        for _ in range(ROUNDS):
            for name, server in (("raw", raw), ("ours", ours)):
                speed[name].append(rate(server.load("call", 16)))
    ratio = statistics.median(o / r for o, r in zip(speed["ours"], speed["raw"], strict=True))
    yield Row(
        "server: done + next, 16 connections", ratio, "hand-parsed asyncio server, same statements", 0.55, "higher"
    )


def groups(folder: Path) -> Iterator[Row]:
    """Durable marks from 64 connections."""
    with served(folder / "group.db", FEW) as many, served(folder / "single.db", FEW, "1") as single:
        ratios = [
            rate(many.load("durable", 64)) / rate(single.load("durable", 64)) for _ in range(ROUNDS)
        ]  # fmt: skip
    yield Row(
        "server: group commit, 64 connections", statistics.median(ratios), "a durable transaction a call", 3.0, "higher"
    )


def life_cycles(folder: Path) -> Iterator[Row]:
    """Jobs of ten files: start, ten times next, commit; from a project of a million files and from a small one."""
    tails: dict[int, list[float]] = {FEW: [], MANY: []}
    speeds = []
    for number in range(ROUNDS):
        for files in (FEW, MANY):
            with served(folder / f"cycle-{files}-{number if files == FEW else 0}.db", files) as server:
                result = server.load("cycle", 16, 2.0 if files == FEW else SECONDS)
                tails[files].append(result["p99"])
                if files == MANY:
                    speeds.append(result["files"] / result["seconds"])
    yield Row(
        "server: life cycles of a million files", statistics.median(speeds) / 2500, "2 500 files/s", 1.0, "higher"
    )
    flat = statistics.median(tails[MANY]) / statistics.median(tails[FEW])
    yield Row("server: p99 at a million files", flat, "at 10 000", 1.5, "lower")


def idle_workers(folder: Path) -> Iterator[Row]:
    """Workers that compute: a connection each, and a heartbeat every ten seconds."""
    with served(folder / "idle.db", FEW) as server:
        command = [sys.executable, str(HERE / "httpload.py"), "idle", str(server.port), str(IDLE), str(3 * BEAT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as clients:
            assert clients.stdout is not None
            assert clients.stdout.readline() == "beating\n"
            before, since = server.cpu(), time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                clients.wait(1.5 * BEAT)
            share = (server.cpu() - before) / (time.monotonic() - since)
            clients.wait()
    yield Row(f"server: {IDLE} idle workers", share, "a core", 0.20, "lower")


class Served:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.port = int(process.stdout.readline().rpartition(":")[2])
        self._process = psutil.Process(process.pid)

    def load(self, kind: str, connections: int, seconds: float = SECONDS) -> dict[str, float]:
        """Let clients work; what they saw."""
        command = [sys.executable, str(HERE / "httpload.py"), kind, str(self.port), str(connections), str(seconds)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found: dict[str, float] = json.loads(answer)
        return found

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def served(path: Path, files: int, *options: str, program: str = "servecatalog.py") -> Iterator[Served]:
    """Serve a catalog with one project of so many files; it is made where it is not there yet."""
    if not path.exists():
        catalog = make_catalog(path)
        make_project(catalog, "bench", files)
        catalog.close()
    command = [sys.executable, str(HERE / program), str(path), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.terminate()
            process.wait(60)


def rate(result: dict[str, float]) -> float:
    """Calls a second."""
    return result["calls"] / result["seconds"]


if __name__ == "__main__":
    import measure

    measure.show(rows())
