"""Checksums in the form the field writes them: ``adler32:`` and eight hexadecimal digits, leading zeros kept.

Adler-32 is what XRootD, dCache, EOS and Rucio agree on (RFC 1950, section 8.2). It detects accidents,
not attacks.
"""

from __future__ import annotations

import re
import zlib
from os import PathLike

from bookkeeper.errors import UsageError

CHUNK = 1 << 20
_FORM = re.compile(r"adler32:[0-9a-f]{8}")


class Adler32:
    """A running Adler-32 over chunks of bytes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 1

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in one chunk."""
        self.value = zlib.adler32(chunk, self.value)

    def __str__(self) -> str:
        return f"adler32:{self.value:08x}"


def adler32_of(path: str | PathLike[str]) -> str:
    """Return the checksum of a local file, ``adler32:0a1b2c3d``; read once, in chunks of 1 MiB.

    Raises `OSError` as `open` and `read` do.
    """
    running = Adler32()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            running.update(view[:count])
    return str(running)


def normalise(text: str) -> str:
    """Return ``text`` as ``adler32:`` and eight digits; `UsageError` where it is none.

    Accepted: ``adler32:1a2b3c``, ``ad:1a2b3c`` (Rucio's prefix), upper case, missing leading zeros.
    """
    kind, _, digits = text.strip().lower().rpartition(":")
    if kind in {"adler32", "ad", ""} and re.fullmatch(r"[0-9a-f]{1,8}", digits):
        return f"adler32:{digits:0>8}"
    raise UsageError(f"{text!r} is no checksum", remedy="write it as adler32: and eight hexadecimal digits")


def is_normal(text: str) -> bool:
    """Tell whether ``text`` has the catalogued form already."""
    return _FORM.fullmatch(text) is not None
