"""Look at a process tree through psutil: where there is no ``/proc``, as on macOS. Several times as expensive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bookkeeper.performance.account import Seen

if TYPE_CHECKING:
    import psutil


class PsutilWalk:
    """The tree below ``pid``: its descendants, and who was one when seen first.

    New ones are looked for at thorough looks only. Raises `ImportError` without psutil, and `OSError` where there is no
    such process.
    """

    def __init__(self, pid: int) -> None:
        import psutil

        self.inclusive = psutil.LINUX  # elsewhere a process takes over nothing of its children
        try:
            self._members = {pid: psutil.Process(pid)}
        except psutil.Error as error:
            raise ProcessLookupError(str(error)) from error
        self._bytes: dict[int, tuple[int, int]] = {}

    def look(self, *, thorough: bool) -> dict[int, Seen]:
        """Return every process of the tree that is there, by id; empty once all are gone. ``thorough``: see `Walk`."""
        import psutil

        if thorough:
            self._members = self._present()
            self._bytes = {pid: count for pid, count in self._bytes.items() if pid in self._members}
        seen: dict[int, Seen] = {}
        for pid, member in self._members.items():
            try:
                with member.oneshot():
                    if thorough and hasattr(member, "io_counters"):
                        self._count(member)
                    times = member.cpu_times()
                    cpu_s = times.user + times.system + times.children_user + times.children_system
                    seen[pid] = Seen(
                        member.ppid(), member.memory_info().rss, cpu_s, *self._bytes.get(pid, (None, None))
                    )
            except psutil.Error:  # it just ended, or belongs to somebody else
                continue
        return seen

    def close(self) -> None:
        """Nothing is open."""

    def _present(self) -> dict[int, psutil.Process]:
        """Return who is there. psutil compares the times at which they began: another with the number is another."""
        import psutil

        present: dict[int, psutil.Process] = {}
        for pid, member in self._members.items():  # the root comes first: mostly all others are below it
            if pid in present or not member.is_running():
                continue
            present[pid] = member
            try:
                below = member.children(recursive=True)
            except psutil.Error:
                continue
            for child in below:
                present.setdefault(child.pid, child)
        return present

    def _count(self, member: psutil.Process) -> None:
        """Note the bytes that it and the children it waited for read and wrote by system calls."""
        import psutil

        try:
            counted = member.io_counters()
        except psutil.Error:  # the system does not tell this user
            return
        if hasattr(counted, "read_chars"):
            self._bytes[member.pid] = (counted.read_chars, counted.write_chars)
