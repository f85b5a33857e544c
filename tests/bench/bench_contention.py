"""Sixteen worker processes that do nothing but ask: what is left of the speed of one, and whether it is shared fairly."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from catalogs import make_catalog, make_project
from measure import Row

SECONDS = 8.0
WORKERS = 16
ROUNDS = 3


def rows() -> Iterator[Row]:
    """Throughput of 16 against one, and the smallest share by the largest."""
    single, many, fair = [], [], []
    with tempfile.TemporaryDirectory(prefix="bookkeeper-contention-") as folder:
        for number in range(ROUNDS):
            single.append(sum(saturate(Path(folder) / f"one-{number}.db", 1)))
            shares = saturate(Path(folder) / f"many-{number}.db", WORKERS)
            many.append(sum(shares))
            fair.append(min(shares) / max(shares))
    ratio = statistics.median(many) / statistics.median(single)
    yield Row(f"{WORKERS} saturating workers", ratio, "one worker", 0.5, "higher")
    yield Row(f"fairness of {WORKERS} workers", statistics.median(fair), "the busiest one", 0.6, "higher")


def saturate(path: Path, workers: int) -> list[int]:
    """Let workers run life cycles for some seconds; return the files that each committed."""
    catalog = make_catalog(path)
    make_project(catalog, "bench", 200_000)
    command = [sys.executable, __file__, str(path)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(workers)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0] for process in running]
    catalog.close()
    return [int(json.loads(answer)) for answer in answers]


def work(path: str) -> int:
    """One saturating worker: 31 calls for 10 files, again and again; returns the files it committed."""
    import time

    from bench_kernel import FILES_A_PROCESS, verb_by_verb
    from bookkeeper.api import open_catalog

    project = open_catalog(f"sqlite:///{path}").project("bench")
    print("ready", flush=True)
    sys.stdin.readline()
    files, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        verb_by_verb(project)
        files += FILES_A_PROCESS
    return files


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(work(sys.argv[1])))
    else:
        import measure

        measure.show(rows())
