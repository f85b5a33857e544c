"""Declaring files, against raw sqlite3 writing the same rows into the same tables, and the memory that a million takes.

``--full`` (a million records instead of 300 000) is for this module run by itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bookkeeper import catalog, files
from bookkeeper.catalog import NOW
from measure import Row, compare

RECORDS = 300_000
MILLION = 1_000_000
ROUNDS = 5

INSERT = (
    "INSERT INTO files (name, size, checksum, entries, tree, metadata, declared_at) VALUES (?, ?, ?, ?, ?, ?, "
    + NOW
    + ")"
)
LOCATE = "INSERT INTO locations (file_id, url) VALUES (?, ?)"

MEMORY = """
import resource, sys
sys.path[:0] = {path!r}
from bench_declare import declare, records
declare(records({count}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def records(count: int) -> Iterator[dict[str, Any]]:
    """What a scan or a list says of files: names in order, a checksum, metadata, one location."""
    for number in range(count):
        name = f"user.abc.run{number // 1000:06d}.sample.nanoaod.{number:09d}.root"
        yield {
            "name": name,
            "size": 1_000_000 + number,
            "checksum": f"adler32:{number * 2654435761 % 2**32:08x}",
            "entries": number % 5000,
            "tree": "Events",
            "metadata": {"run": number // 1000, "run_type": "mc"},
            "locations": (f"root://eos.example.org//eos/data/{name}",),
        }


def declare(found: Iterator[dict[str, Any]]) -> float:
    """The seconds that the product takes, in a new catalog."""
    with tempfile.TemporaryDirectory() as folder:
        database = catalog.create(f"sqlite:///{folder}/catalog.db")
        started = time.perf_counter()
        files.declare(database, found)
        spent = time.perf_counter() - started
        database.close()
        return spent


def floor(found: Iterator[dict[str, Any]]) -> float:
    """The seconds of one transaction of two executemany, with the ids known beforehand and nothing checked."""
    with tempfile.TemporaryDirectory() as folder:
        database = catalog.create(f"sqlite:///{folder}/catalog.db")
        locations: list[tuple[int, str]] = []

        def rows() -> Iterator[tuple[Any, ...]]:
            for number, record in enumerate(found, start=1):
                locations.append((number, record["locations"][0]))
                metadata = json.dumps(record["metadata"])
                yield (
                    record["name"], record["size"], record["checksum"], record["entries"], record["tree"], metadata,
                )  # fmt: skip

        started = time.perf_counter()
        with database.transaction(durable=True) as tx:
            tx.many(INSERT, rows())
            tx.many(LOCATE, locations)
        spent = time.perf_counter() - started
        database.close()
        return spent


def peak_memory(count: int) -> float:
    """The largest resident size, in MB, of a process that declares ``count`` files."""
    code = MEMORY.format(path=[str(Path(__file__).parent)], count=count)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is bytes there, kilobytes elsewhere
    return int(done.stdout) / unit


def rows(count: int = RECORDS) -> Iterator[Row]:
    """The results: speed relative to raw sqlite3, memory relative to what is allowed."""
    yield compare(
        f"declare {count:,} files",
        lambda: declare(records(count)),
        lambda: floor(records(count)),
        against="raw sqlite3 executemany, same tables, same transaction",
        bound=0.7,
        better="higher",
        rounds=ROUNDS,
    )
    yield Row("declare 1,000,000 files: peak memory", peak_memory(MILLION) / 300, "300 MB", 1.0, "lower")


if __name__ == "__main__":
    from measure import show

    show(list(rows(MILLION if "--full" in sys.argv[1:] else RECORDS)))
