"""The demonstration's analysis, as a job of a batch system: ``python pool_payload.py PLAN OUTPUT INPUT…``.

The folder PLAN says what happens to whoever reads a file first: the file ``<input>.plan`` holds one word. The job tells
that it got there by ``<input>.reached``, with its process id, and then waits to be hit, or hits itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from bookkeeper.demo import analysis

FOREVER = 600.0


def meet(plan: Path, name: str) -> None:
    """Do what the plan says of a file, once."""
    with contextlib.suppress(FileNotFoundError):
        word = (plan / f"{name}.plan").read_text()
        try:
            with (plan / f"{name}.writing.{os.getpid()}").open("x") as stream:
                stream.write(f"{os.getpid()} {os.getppid()}")
            os.link(plan / f"{name}.writing.{os.getpid()}", plan / f"{name}.reached")
        except FileExistsError:
            return  # somebody met it before
        if word == "memory":
            hog = bytearray(300 << 20)
            hog[::4096] = b"x" * len(hog[::4096])
        time.sleep(FOREVER)


if __name__ == "__main__":
    folder, output, *inputs = sys.argv[1:]
    for path in inputs:
        meet(Path(folder), Path(path).name)
    sys.exit(analysis.main(["--output", output, *inputs]))
