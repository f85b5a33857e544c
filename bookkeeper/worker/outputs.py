"""What a command left as its outputs, and how to speak of it."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final

from bookkeeper.errors import ValidationError
from bookkeeper.worker.job import OutputSpec

_UPLOAD: Final = re.compile(r"/\.bookkeeper/\d+-[0-9a-f]+-\d+(?=/)")


def in_general(problem: str, spec: OutputSpec, path: Path) -> str:
    """Return a problem of one process's output in words that are the same for every process it happens to."""
    told = problem.replace(str(path), f"output {spec.name}")
    return _UPLOAD.sub("", told).replace(path.name, spec.name)


def is_there(spec: OutputSpec, path: Path) -> bool:
    """Tell whether the command wrote an output. Raises `ValidationError` where it had to, or wrote something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if spec.optional:
            return False
        beside = ", ".join(sorted(entry.name for entry in path.parent.iterdir())[:3]) if path.parent.is_dir() else ""
        also = f"; beside it lies {beside}" if beside else ""
        raise ValidationError(
            f"the command exited 0 and wrote no output {path.name} (its path is {{output}}){also}"
        ) from None
    if not stat.S_ISREG(mode):
        raise ValidationError(f"the output {path.name} is no regular file")
    return True
