"""Lengths of time as people write them: ``90``, ``"90s"``, ``"10m"``, ``"1h30m"``, ``"2d"``."""

from __future__ import annotations

import math
import re
from typing import Final

from bookkeeper.errors import UsageError

UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def seconds(length: float | str) -> float:
    """Return a length in seconds; a bare number is seconds. Raises `UsageError` unless it is finite and positive."""
    value = _parse(length) if isinstance(length, str) else float(length)
    if value is None or not math.isfinite(value) or value <= 0:
        raise UsageError(f"{length!r} is no length of time", remedy="write seconds, or for example 30s, 10m, 1h30m, 2d")
    return value


def _parse(text: str) -> float | None:
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        return None
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def words(length: float) -> str:
    """Return a length in words: ``850 ms``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``1 d 3 h``."""
    if length < 1:
        return f"{length * 1000:.0f} ms"
    whole = round(length)
    if whole < 60:
        return f"{whole} s"
    for big, small, size in (("min", "s", 60), ("h", "min", 3600), ("d", "h", 86400)):
        smaller = size // (60 if big != "d" else 24)
        if whole < size * (60 if big != "h" else 24) or big == "d":
            rest = whole % size // smaller
            return f"{whole // size} {big}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
