"""The shared libraries of a program: found by ``ldd``, those of the system left out."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from bookkeeper.errors import UsageError

SYSTEM: Final = ("/lib/", "/lib32/", "/lib64/", "/libx32/", "/usr/lib/", "/usr/lib32/", "/usr/lib64/", "/usr/libx32/")
"""Where a system keeps its own libraries: each node has those of its own."""

SHARED: Final = ("/cvmfs/",)
"""File systems that nodes see as this host does."""

_RESOLVED: Final = re.compile(r"\s*(\S+) => (/.*) \(0x[0-9a-f]+\)")
_MISSING: Final = re.compile(r"\s*(\S+) => not found")
_SECONDS: Final = 60.0


def is_binary(path: Path) -> bool:
    """Tell whether a file is an ELF program or library."""
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def private(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the libraries that a program, or a library, is loaded with here, by name; and the names of those missing.

    They are found as the loader finds them, also in ``$LD_LIBRARY_PATH``. Raises `UsageError` where ``ldd`` does not run.
    """
    try:
        told = subprocess.run(
            ["ldd", str(path.absolute())],  # noqa: S607 - the one of this host
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"the shared libraries of {path} cannot be found: {error}",
            remedy="install ldd, or pack program and libraries yourself: [job] archive",
        ) from error
    found: dict[str, Path] = {}
    missing: list[str] = []
    for line in told.stdout.splitlines():
        if match := _RESOLVED.fullmatch(line):
            place = os.path.normpath(match.group(2))
            if not place.startswith(SYSTEM + SHARED):
                found[Path(match.group(1)).name] = Path(place)
        elif match := _MISSING.fullmatch(line):
            missing.append(match.group(1))
    return found, missing
