"""How much of something a job should ask for: by what others used, and by those that it did not suffice for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bookkeeper import durations

ENOUGH: Final = 20
"""Measured processes from which on they alone decide: below, the p95 is no more than the largest that was seen."""

RAISE: Final = 1.5
"""How much more is asked for after a job that it did not suffice for."""

MB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that jobs ask for: its unit is the caller's.

    ``headroom`` is asked for on top of what was used, in steps of ``step``; without any limit said, jobs that it did not
    suffice for raise it to ``most``. ``killed`` and ``limit`` are its words: what became of such a job, and how a
    limit is said in the spec.
    """

    headroom: float
    step: float
    most: float
    killed: str
    limit: str
    words: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Killed:
    """A job that was given too little: how much it used and how much it had asked for; None where not known."""

    used: float | None
    asked: float | None


@dataclass(frozen=True, slots=True)
class Size:
    """How much to ask for (None: do not ask), and why. ``needed`` is what the history says, however little of it."""

    ask: float | None
    needed: float | None
    evidence: str


def amount(megabytes: float) -> str:
    """Return memory (MB of 2^20 bytes) in words: ``512 MB``, ``2.0 GB``, in units of ten as a spec has them."""
    size = megabytes * MB
    return f"{size / 1e9:.1f} GB" if size >= 0.9995e9 else f"{size / 1e6:.0f} MB"


MEMORY: Final = Quantity(1.2, 100e6 / MB, 4e9 / MB, "killed for want of memory", "max_memory", amount)
"""In MB, in steps of 100 MB as a spec has them (10^6 bytes). 4 GB is twice what a core of most batch systems of the field has."""

WALL: Final = Quantity(1.5, 60.0, 2 * 86400.0, "ended for want of time", "max_wall", durations.words)
"""In seconds."""


def size(
    quantity: Quantity, used: Sequence[float], killed: Sequence[Killed], said: float | None, most: float | None
) -> Size:
    """Return what a job should ask for.

    ``used`` is what committed processes used at most; ``said`` is what the spec asks for, and ``most`` its limit.
    The p95 of what was used, with headroom, is needed, and asked for where the spec asks for something or a job was
    killed; fewer than `ENOUGH` processes never lower what the spec says. After kills: one and a half times the larger of
    what was used and asked for, so that another kill raises it again; never more than the limit. Where none is said,
    that is twice what the spec asks for, else twice what was needed and `Quantity.most` at least.
    """
    needed = _up(percentile(used, 0.95) * quantity.headroom, quantity.step) if used else None
    base, parts = _base(quantity, used, needed, said)
    raised = _raised(quantity, killed, said or needed)
    if killed and base is None:
        base = needed
    if killed:
        parts.insert(0, _told(quantity, killed, raised))
    wanted = max((one for one in (base, raised) if one is not None), default=None)
    limit = max(_limit(quantity, needed, said, most), said or 0.0)
    if wanted is not None and wanted > limit:
        how = f"{quantity.limit} of the spec" if most else f"no {quantity.limit} is said"
        parts.append(f"no more than {quantity.words(limit)} ({how})")
        wanted = limit
    return Size(wanted, needed, "; ".join(parts))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of all are not above (nearest rank): the largest one, where few are."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def over(count: int) -> str:
    """Return of how many processes a number is: ``over 340 committed processes``, ``over only 3 committed processes``."""
    return f"over {'only ' if count < ENOUGH else ''}{count:,} committed process{'' if count == 1 else 'es'}"


def _base(
    quantity: Quantity, used: Sequence[float], needed: float | None, said: float | None
) -> tuple[float | None, list[str]]:
    """Return what to ask for as long as it suffices, and why: nothing where the spec asks for nothing."""
    if needed is None:
        if said is None:
            return None, ["no history: unknown"]
        return said, [f"no history: {quantity.words(said)} as the spec says"]
    p95 = quantity.words(percentile(used, 0.95))
    seen = f"p95 {p95} {over(len(used))}, {(quantity.headroom - 1) * 100:.0f} % headroom"
    if said is None:
        return None, [seen]
    if len(used) >= ENOUGH:
        return needed, [seen]
    return max(needed, said), [seen, f"the spec says {quantity.words(said)}"]


def _raised(quantity: Quantity, killed: Sequence[Killed], otherwise: float | None) -> float | None:
    """Return what those that were killed would have needed; None where neither their use nor their asking is known."""
    had = [max(one.used or 0.0, one.asked or otherwise or 0.0) for one in killed]
    return _up(max(had) * RAISE, quantity.step) if had and max(had) > 0 else None


def _told(quantity: Quantity, killed: Sequence[Killed], raised: float | None) -> str:
    """Return the sentence on processes that were killed."""
    many = f"{len(killed):,} process{' was' if len(killed) == 1 else 'es were'} {quantity.killed}"
    used = max((one.used for one in killed if one.used is not None), default=None)
    asked = max((one.asked for one in killed if one.asked is not None), default=None)
    at = f" at {quantity.words(used)}" if used is not None else ""
    asking = f" of {quantity.words(asked)} asked" if asked is not None else ""
    if raised is None:
        return f"{many}: how much they had is not known"
    return f"{many}{at}{asking}: asks {quantity.words(raised)}"


def _limit(quantity: Quantity, needed: float | None, said: float | None, most: float | None) -> float:
    if most is not None:
        return most
    return 2 * said if said is not None else max(quantity.most, 2 * (needed or 0.0))


def _up(value: float, step: float) -> float:
    return math.ceil(round(value / step, 6)) * step
