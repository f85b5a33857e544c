"""What is copied from, and what is copied to: each database does both in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from bookkeeper.copying.forms import Form, Row

BATCH = 5_000
"""Rows in memory at a time, about."""


class Source(ABC):
    """A catalog at one moment."""

    forms: list[Form]

    @abstractmethod
    def rows(self, form: Form) -> Iterator[Row]:
        """Yield the rows of a table in the order of its key."""

    @abstractmethod
    def count(self, form: Form) -> int:
        """Return how many rows a table has."""


class Target(ABC):
    """A new catalog in a transaction: nothing of it is there for anybody else until `finish`."""

    name: str
    forms: list[Form]
    certain: bool
    """Whether it is known if the copy counts: not while, and after, a `finish` that failed half-way."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the tables, empty."""

    @abstractmethod
    def write(self, form: Form, rows: Iterable[Row]) -> None:
        """Append rows to a table."""

    @abstractmethod
    def rows(self, form: Form) -> Iterator[Row]:
        """Yield the rows of a table in the order of its key."""

    @abstractmethod
    def finish(self) -> None:
        """Let it count: durable, and there for everybody."""
