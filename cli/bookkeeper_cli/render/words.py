"""Values in words, as people read them."""

from __future__ import annotations

import json
import math
import time
from typing import Any, Final

from bookkeeper import durations
from bookkeeper.reporting.tones import tone
from bookkeeper.reporting.values import size as size
from bookkeeper_cli.render.streams import visible_json

_STYLES: Final = {"good": "green", "live": "cyan", "warn": "yellow", "bad": "red", "idle": "dim"}
"""Of every tone, the style of the terminal."""


def state_style(state: Any) -> str:
    """Return the style of a state, "" where it has none."""
    return _STYLES.get(tone(state), "")


def when(seconds: float | None) -> str:
    """Return a time (seconds since the epoch) in this place's own: ``2025-06-01 14:03:07``."""
    if seconds is None:
        return "–"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def number(value: int | None) -> str:
    """Return a whole number with its thousands apart."""
    return "–" if value is None else f"{value:,}"


def count(value: int, thing: str, things: str | None = None) -> str:
    """Return ``1 file``, ``2,304 files``."""
    return f"{value:,} {thing if value == 1 else things or thing + 's'}"


def span(seconds: float | None) -> str:
    """Return a length of time: ``12 s``, ``3 min 20 s``."""
    return "–" if seconds is None else durations.words(max(0.0, seconds))


def spent(seconds: float | None) -> str:
    """Return time that something took; a dash for no time at all."""
    return span(seconds) if seconds else "–"


def plain(value: Any) -> str:
    """Return any value as a cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={plain(one)}" for key, one in value.items())
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) and abs(value) < 1e6 else repr(value)
    return value.hex() if isinstance(value, bytes) else str(value)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON; bytes become hexadecimal, what JSON has no number for becomes null."""
    return visible_json(json.dumps(_sayable(value), ensure_ascii=False, allow_nan=False, indent=indent))


def _sayable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _sayable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)
