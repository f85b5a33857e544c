"""Where the measurements of a job are kept, and how many bytes a job was given."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CONFIG: Final = "submit_config.txt"
"""What a prepared job says of itself, in its folder: a key and a value a line."""

_FILES: Final = re.compile(r"\s*fileList(?:\s*[=:]\s*|\s+)(?P<value>\S.*)")
_SUFFIXES: Final = (".done", ".json", ".txt")


def perf_path_for(output_path: str | os.PathLike[str]) -> str:
    """Return where the measurements of an output lie: beside it, ``.perf.json`` in place of .done, .json or .txt."""
    path = os.fspath(output_path)
    for suffix in _SUFFIXES:
        if path.endswith(suffix):
            return f"{path.removesuffix(suffix)}.perf.json"
    return f"{path}.perf.json"


def estimate_job_input_bytes(job_dir: str | os.PathLike[str]) -> int:
    """Return how many bytes the input files of a prepared job have in all, as far as they lie on a local file system.

    They are the ``fileList`` of the folder's ``submit_config.txt``: paths with commas between them, after ``=``, ``:``
    or a space. A relative one is looked for in the job's folder, then in the current one. What is remote or missing
    counts nothing; 0 where nothing can be read at all.
    """
    return sum(_size(path, Path(job_dir)) for path in _listed(Path(job_dir, CONFIG)))


def _listed(config: Path) -> Iterator[str]:
    try:
        lines = config.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # an estimate of nothing is 0, as is one that cannot be made
        return
    for line in lines:
        if match := _FILES.fullmatch(line):
            for word in match["value"].split(","):
                yield word.strip().strip("'\"").removeprefix("file://")
            return


def _size(path: str, folder: Path) -> int:
    """Return the size of a local regular file, 0 of anything else."""
    if not path or "://" in path:
        return 0
    for place in (folder / path, Path(path)):
        try:
            found = place.stat()
        except (OSError, ValueError):  # a path with a NUL in it is no path
            continue
        if stat.S_ISREG(found.st_mode):
            return found.st_size
    return 0
