"""Templates, and how values look in them. Nothing from the catalog is trusted: every value is escaped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from bookkeeper.reporting import values
from bookkeeper.reporting.tones import tone

if TYPE_CHECKING:
    from jinja2 import Environment

STATIC: Final = {
    "pages.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""What is sent as it is, and its type."""

LONGEST: Final = 300
"""Characters of an event's body that are shown."""


@cache
def static(name: str) -> bytes:
    """Return a file that is sent as it is."""
    return (resources.files("bookkeeper.server.pages") / "static" / name).read_bytes()


@cache
def version_of_static() -> str:
    """Return what changes when one of these files does: part of their addresses, so that they may be kept for ever."""
    return hashlib.sha256(b"\0".join(static(name) for name in sorted(STATIC))).hexdigest()[:12]


@cache
def environment() -> Environment:
    """Return the templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("bookkeeper.server.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(values.FILTERS)
    made.filters.update(
        at=at, clock=clock, iso=iso, told=told, tone=tone, word=word, quoted=quoted, share=share, base=base, pace=pace
    )
    return made


def at(seconds: float | None) -> str:
    """Return a time to the second: ``2025-06-01 14:03:07``, in UTC."""
    return "–" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def clock(seconds: float) -> str:
    """Return the time of the day: ``14:03:07``, in UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(seconds))


def iso(seconds: float) -> str:
    """Return a time as ISO 8601 has it, for programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def word(state: Any) -> str:
    """Return a name of the catalog as words: ``rolled back``."""
    return str(state).replace("_", " ")


def quoted(text: Any) -> str:
    """Return a text as one part of an address."""
    return quote(str(text), safe="", errors="replace")


def share(part: float, whole: float) -> str:
    """Return a share in percent for people: 100 % is said of the whole only."""
    if whole <= 0 or part >= whole:
        return "100 %" if whole > 0 else "–"
    percent = 100 * part / whole
    return f"{min(99.9, percent):.1f} %" if percent >= 0.1 else "<0.1 %" if part else "0 %"


def base(url: str) -> str:
    """Return the last part of an address."""
    return str(url).rstrip("/").rpartition("/")[2] or str(url)


def pace(per_minute: float | None) -> str:
    """Return files per minute, or per hour where they are few."""
    if per_minute is None:
        return "–"
    return f"{values.speed(per_minute)} / min" if per_minute >= 1 else f"{values.speed(60 * per_minute)} / h"


def told(body: Mapping[str, Any]) -> str:
    """Return the body of an event in one line: ``reason: known to be bad, count: 3``."""
    parts = [
        f"{word(key)}: {_plain(value)}"
        for key, value in body.items()
        if value not in (None, "", [], {}) and key not in _LEFT_OUT
    ]
    text = ", ".join(parts).replace("\n", " ")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


_LEFT_OUT: Final = frozenset(
    {"stderr", "exceptions", "bases", "fingerprint", "by", "source", "policy", "files", "confidence"}
)
"""Parts of events that have a place of their own."""
