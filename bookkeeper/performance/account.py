"""What a process tree used, added up from looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar


class Seen(NamedTuple):
    """One process at one look. None where the system does not tell.

    ``parent`` is the process it is a child of now; ``rss`` is in bytes; ``cpu_s`` are user and system seconds, ``read``
    and ``written`` bytes through system calls (of files, pipes and most sockets, whether a disk took part or not).
    """

    parent: int
    rss: int
    cpu_s: float
    read: int | None = None
    written: int | None = None


N = TypeVar("N", int, float)


def larger(one: N | None, other: N | None) -> N | None:
    """Return the larger of two numbers, each of which may be unknown."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _together(all_: Sequence[Seen]) -> Seen:
    """Return the sums; what is known of none stays unknown."""
    read = [one.read for one in all_ if one.read is not None]
    written = [one.written for one in all_ if one.written is not None]
    return Seen(
        parent=0,
        rss=sum(one.rss for one in all_),
        cpu_s=sum(one.cpu_s for one in all_),
        read=sum(read) if read else None,
        written=sum(written) if written else None,
    )


class Account:
    """The sums over a tree: ``peak_rss`` in bytes, ``cpu_s``, ``read`` and ``written``; None while nothing is known.

    ``inclusive``: what a process used includes what its children used that ended and that it waited for, as on Linux.
    Then the account of one that is gone lives on in its parent's; of one whose parent is gone as well, or is not of the
    tree, the last that was seen of it is added here. Nothing is counted twice; what came and went between two looks, and
    that nobody waited for, is missed.
    """

    def __init__(self, *, inclusive: bool) -> None:
        self.looks = 0
        self.peak_rss: int | None = None
        self.cpu_s: float | None = None
        self.read: int | None = None
        self.written: int | None = None
        self._inclusive = inclusive
        self._last: Mapping[int, Seen] = {}
        self._gone = Seen(parent=0, rss=0, cpu_s=0.0)  # what they used together

    def take(self, seen: Mapping[int, Seen]) -> None:
        """Take in a look: all processes of the tree that are there, by id."""
        for pid, one in self._last.items():
            if pid not in seen and not self._lives_on(one, seen):
                self._gone = _together([self._gone, one._replace(rss=0)])
        self._last = seen
        if not seen:
            return
        self.looks += 1
        now = _together([self._gone, *seen.values()])
        self.peak_rss = larger(self.peak_rss, now.rss or None)  # one that only waits to be buried has none
        self.cpu_s = larger(self.cpu_s, now.cpu_s)
        self.read = larger(self.read, now.read)
        self.written = larger(self.written, now.written)

    def _lives_on(self, gone: Seen, seen: Mapping[int, Seen]) -> bool:
        """Tell whether an ancestor that is there has taken over the account of one that is gone."""
        while self._inclusive:
            if gone.parent in seen:
                return True
            if gone.parent not in self._last:
                return False
            gone = self._last[gone.parent]
        return False
