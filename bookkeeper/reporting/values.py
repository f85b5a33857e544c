"""Values in words, as people read them on pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from bookkeeper import durations


def span(seconds: float | None) -> str:
    """Return a length of time: ``12 s``, ``3 min 20 s``."""
    return "–" if seconds is None else durations.words(max(0.0, seconds)) if seconds else "0 s"


def number(value: float | None) -> str:
    """Return a whole number with its thousands apart."""
    return "–" if value is None else f"{value:,.0f}"


def count(value: int, thing: str, things: str | None = None) -> str:
    """Return ``1 file``, ``2,304 files``."""
    return f"{value:,} {thing if value == 1 else things or thing + 's'}"


def speed(value: float) -> str:
    """Return a rate in three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Return a share in percent."""
    return "–" if share is None else f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def size(value: int | None) -> str:
    """Return bytes in a handy unit: ``512 B``, ``1.2 MB``."""
    if value is None:
        return "–"
    amount, units = float(value), ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" or amount >= 99.5 else f"{amount:.1f} {units[0]}"


def when(seconds: float | None) -> str:
    """Return a time (seconds since the epoch): ``2025-06-01 14:03 UTC``."""
    return "–" if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def listed(some: Mapping[str, Any]) -> str:
    """Return ``a, b and 12 more``."""
    names = [str(name) if name is not None else "unknown" for name in some["names"]]
    more = some["count"] - len(names)
    if more <= 0 and not some["at_least"]:
        return ", ".join(names)
    told = (
        f"at least {more:,} more" if some["at_least"] and more > 0 else f"{more:,} more" if more > 0 else "perhaps more"
    )
    return f"{', '.join(names)} and {told}"


FILTERS: Final[dict[str, Callable[..., str]]] = {
    "counted": count,
    "listed": listed,
    "number": number,
    "percent": percent,
    "size": size,
    "span": span,
    "speed": speed,
    "when": when,
}
"""What templates call these."""
