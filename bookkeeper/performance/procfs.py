"""Look at a process tree through ``/proc``: proc(5) of Linux. Cheap, because little is opened and nothing asked twice.

The tree is a process, its descendants, and who left them: a process whose parent ended is handed to another, but stays
in the session and in the process group that it was born in, if the tree made these.

* ``<pid>/stat`` of every process has its parent, its memory and its CPU time; ``task/<pid>/children`` names the new ones.
* Children of other threads, and those handed over before they were seen, are found by looking through all processes
  that are new on the machine. That is done as often as costs ``SHARE`` of a core: at once where there are few.
* Files are kept open (of the first ``KEPT`` processes). An open one belongs to its process for ever: another one that
  is given the same number later is never taken for it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Final, NamedTuple

from bookkeeper.performance.account import Seen

PROC = "/proc"
KEPT: Final = 32
SHARE: Final = 0.0005
FIRST: Final = 0.5
"""Seconds after which all processes of the machine are looked through for the first time: most commands are brief."""

_PAGE: Final = os.sysconf("SC_PAGESIZE")
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")


class _Stat(NamedTuple):
    parent: int
    group: int
    session: int
    began: bytes
    cpu_s: float
    rss: int


def _parse(text: bytes) -> _Stat:
    """Read the line of ``stat``. The second field, the name, may hold anything; the others are numbers from its end."""
    fields = text[text.rindex(b")") + 2 :].split(b" ", 22)
    return _Stat(
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        began=fields[19],
        cpu_s=sum(map(int, fields[11:15])) * _TICK,  # its own, and that of the children it waited for
        rss=int(fields[21]) * _PAGE,
    )


class _File:
    """A small file that is read again and again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def read(self, *, keep: bool) -> bytes:
        """Return its content; with ``keep`` it stays open."""
        if self._descriptor >= 0:
            return os.pread(self._descriptor, 4096, 0)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, 4096)
        except OSError:
            os.close(descriptor)
            raise
        if keep:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return content

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Member:
    """A process of the tree: what was seen of it last, and its files."""

    def __init__(self, pid: int, *, keep: bool) -> None:
        self._keep = keep
        self._stat = _File(f"{PROC}/{pid}/stat")
        self._children = _File(f"{PROC}/{pid}/task/{pid}/children")
        self._io = _File(f"{PROC}/{pid}/io")
        self._read: int | None = None
        self._written: int | None = None
        self.stat = _parse(self._stat.read(keep=keep))

    def look(self, *, io: bool) -> Seen | None:
        """Return how it is now; None where it is gone, and perhaps another has its number."""
        try:
            now = _parse(self._stat.read(keep=self._keep))
        except (FileNotFoundError, ProcessLookupError):
            return None
        if now.began != self.stat.began:
            return None
        self.stat = now
        if io:
            self._count()
        return Seen(now.parent, now.rss, now.cpu_s, self._read, self._written)

    def children(self) -> list[int]:
        """Return the children of its first thread, as far as they fit on a page."""
        try:
            text = self._children.read(keep=self._keep)
        except OSError:  # it is gone; or the kernel has no such file
            return []
        return [int(word) for word in text.rpartition(b" ")[0].split()]

    def _count(self) -> None:
        """Note the bytes that it and the children it waited for read and wrote by system calls."""
        try:
            text = self._io.read(keep=False)
        except OSError:  # the system does not tell this user
            return
        numbers = [int(line.partition(b":")[2]) for line in text.splitlines()[:2]]  # rchar, wchar
        if len(numbers) == 2:
            self._read, self._written = numbers

    def close(self) -> None:
        self._stat.close()
        self._children.close()


class ProcWalk:
    """The tree below ``pid``. Raises `OSError` where there is no ``/proc``, or no such process."""

    inclusive = True

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._known: set[str] | None = None  # all processes of the machine, when it was last looked through
        self._look_through_at = time.monotonic() + FIRST
        self._members = {pid: _Member(pid, keep=True)}
        first = self._members[pid].stat
        self._others = {0} | ({first.session} - {pid}) | ({first.group} - {pid})

    def look(self, *, thorough: bool) -> dict[int, Seen]:
        """Return every process of the tree that is there, by id; empty once all are gone. ``thorough``: see `Walk`.

        Parents come before their children: one that ends in between is missing in this look. The other way round it would
        be in it twice, as itself and in what its parent took over.
        """
        seen: dict[int, Seen] = {}
        waiting = deque(self._members)
        while waiting:
            pid = waiting.popleft()
            member = self._members.get(pid) or self._join(pid)
            now = member.look(io=thorough) if member else None
            if member is None or now is None:
                self._leave(pid)
                continue
            seen[pid] = now
            waiting += [child for child in member.children() if child not in self._members]
            if not waiting and seen and time.monotonic() >= self._look_through_at:
                waiting = deque(self._look_through())
        return seen

    def close(self) -> None:
        """Close what is open."""
        for pid in list(self._members):
            self._leave(pid)

    def _join(self, pid: int) -> _Member | None:
        try:
            self._members[pid] = _Member(pid, keep=len(self._members) < KEPT)
        except OSError:  # it came and went; or no more files may be opened, and it is seen another time
            return None
        return self._members[pid]

    def _leave(self, pid: int) -> None:
        member = self._members.pop(pid, None)
        if member is not None:
            member.close()

    def _look_through(self) -> list[int]:
        """Return the processes that are new on the machine and belong to the tree.

        The first time only those numbered after the root are looked at: the kernel counts upwards.
        """
        began = time.monotonic()
        names = {name for name in os.listdir(PROC) if name[0] in "123456789"}  # noqa: PTH208 - names, and quick
        fresh = {name for name in names if int(name) > self._root} if self._known is None else names - self._known
        self._known = names
        sessions = {member.stat.session for member in self._members.values()} - self._others
        groups = {member.stat.group for member in self._members.values()} - self._others
        found = []
        for pid in sorted(map(int, fresh - {str(pid) for pid in self._members})):
            try:
                one = _parse(_File(f"{PROC}/{pid}/stat").read(keep=False))
            except OSError:
                continue
            if one.parent in self._members or one.parent in found or one.session in sessions or one.group in groups:
                found.append(pid)
        now = time.monotonic()
        self._look_through_at = now + (now - began) / SHARE
        return found
