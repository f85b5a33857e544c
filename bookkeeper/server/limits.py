"""What a caller may not exceed: the size of a message, and calls per second."""

from __future__ import annotations

import time
from typing import Any, Final

from bookkeeper.errors import BookkeeperError, CatalogBusy

BODY: Final = 64 << 20
"""Bytes of one message: a manifest of half a million files."""

UPLOAD: Final = 16 << 30
"""Bytes of a list that is sent as a stream, and put on disk."""

UPLOADS: Final = frozenset({"/v1/call/files.declare"})
"""Where such lists are taken, after it was asked who sends them."""

RATE: Final = 1000.0
"""Calls a second that one caller may make on average."""

BURST: Final = 5000.0
"""Calls that one caller may make at once after having been silent."""

_FORGET_AFTER: Final = 50_000


class TooLarge(BookkeeperError):
    """The message is larger than this server takes."""


class TooMany(CatalogBusy):
    """This caller calls too often."""


class Rates:
    """A bucket of tokens for every caller: it fills with ``rate`` a second up to ``burst``, and each call takes one."""

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self._rate, self._burst = rate, max(burst, 1.0)
        self._buckets: dict[Any, tuple[float, float]] = {}

    def take(self, caller: Any) -> None:
        """Count one call. Raises `TooMany`."""
        now = time.monotonic()
        left, since = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1.0:
            raise TooMany(f"more than {self._rate:g} calls a second", remedy="call less often")
        if len(self._buckets) > _FORGET_AFTER:
            self._forget(now)
        self._buckets[caller] = (left - 1.0, now)

    def _forget(self, now: float) -> None:
        """Forget whoever has been silent long enough for a full bucket; all, if that is nobody."""
        full = self._burst / self._rate
        kept = {caller: held for caller, held in self._buckets.items() if now - held[1] < full}
        self._buckets = kept if len(kept) <= _FORGET_AFTER else {}


async def body_of(receive: Any, declared: int, limit: int = BODY) -> bytes:
    """Return the body of a request. Raises `TooLarge` before it is in memory, whatever its length was declared to be."""
    if declared > limit:
        raise too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise too_large(limit)
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int) -> TooLarge:
    """Return the error that says how large a message may be."""
    return TooLarge(f"the message is larger than {limit} bytes", remedy="send it in parts")
