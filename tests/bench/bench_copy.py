"""Stage-out against ``cp`` and a sync: the copy with its checksum, and the whole with its read-back from storage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bookkeeper.stageout import claim, discard, stage_out, temporary_url
from bookkeeper.stageout.copying import copy, open_source
from bookkeeper.stageout.stores import store_of
from measure import Row, medians, seconds, show

MEGABYTES = 256
ROUNDS = 5
FLOOR = f"cp + fsync of {MEGABYTES} MB"


def rows() -> Iterator[Row]:
    """The two costs, in the temporary folder's file system (``TMPDIR``)."""
    with tempfile.TemporaryDirectory(prefix="bookkeeper-copy-") as folder:
        yield from _rows(Path(folder))


def _rows(folder: Path) -> Iterator[Row]:
    source, plain, destination = folder / "source.bin", folder / "plain.bin", folder / "out"
    with open(source, "wb") as stream:
        for _ in range(MEGABYTES):
            stream.write(os.urandom(1 << 20))
    claim(destination, "bench")
    url = temporary_url(destination, 1, "bench", 0, "output.bin")
    program = shutil.which("cp") or "cp"

    def cp() -> None:
        subprocess.run([program, source, plain], check=True)
        descriptor = os.open(plain, os.O_RDWR)
        os.fsync(descriptor)
        os.close(descriptor)

    def copied() -> None:
        with open_source(str(source)) as (descriptor, size):
            sink = store_of(url).create(url)
            copy(str(source), descriptor, size, sink, url, lambda count: None)
            sink.finish()

    def floor() -> float:
        plain.unlink(missing_ok=True)
        os.sync()
        return seconds(cp)

    def ours(action: Callable[[], object]) -> float:
        discard(url)
        os.sync()
        return seconds(action)

    median = medians(
        {"floor": floor, "copy": lambda: ours(copied), "whole": lambda: ours(lambda: stage_out(source, url))}, ROUNDS
    )
    yield Row("stage-out: copy + adler32 + fsync", median["copy"] / median["floor"], FLOOR, 1.5, "lower")
    yield Row("stage-out: whole, read back from storage", median["whole"] / median["floor"], FLOOR, 4.0, "lower")


def main() -> int:
    """Print the rows; exit 1 when a bound is missed."""
    found = list(rows())
    show(found)
    return int(not all(row.ok for row in found))


if __name__ == "__main__":
    sys.exit(main())
