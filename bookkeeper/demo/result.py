"""What the demonstration shows while it runs, and what it found in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from bookkeeper.submit import Progress


class Show(Protocol):
    """Whoever shows the demonstration: the command line on a terminal, nobody in a program."""

    def headline(self, text: str) -> None:
        """Begin another part of the story."""
        ...

    def say(self, text: str) -> None:
        """Tell something, in a line."""
        ...

    def progress(self, progress: Progress) -> None:
        """Show how the jobs go; called several times a second."""
        ...

    def table(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show rows that have the same keys, under a title."""
        ...

    def verdict(self, ok: bool, text: str) -> None:
        """Tell whether something that was to be shown is so."""
        ...


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What became of it.

    ``files`` and ``events`` were declared; ``proved`` tells whether each event of every file that is not ``parked`` was
    found exactly once in the published outputs and every fault happened and had its consequence; ``problems`` are what
    speaks against it. ``faults`` are rows of fault, process, consequence, ok; ``parked`` of file, reason; ``unreadable``
    of file, reason: given files that could not even be declared. ``folder`` is None where it was removed.
    """

    folder: str | None
    files: int
    events: int
    published_events: int
    outputs: int
    processes: int
    rolled_back: int
    recovery: str | None
    faults: tuple[dict[str, Any], ...]
    parked: tuple[dict[str, Any], ...]
    unreadable: tuple[dict[str, Any], ...]
    proved: bool
    problems: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 where it was proved, else 1."""
        return 0 if self.proved else 1

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return asdict(self)
