"""What every catalog is, whatever holds its rows: who it is, and the doors to it.

Statements are written once, in SQL that SQLite takes as it is; `bookkeeper.postgres.statements` says what PostgreSQL
makes of them. Only doors open and commit transactions; everything else gets one as its first argument.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar

from bookkeeper.errors import UsageError

NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
"""The catalog's clock in SQL: seconds since the epoch, UTC, with milliseconds; as every statement, in SQLite's words."""

SEALED: Final = "this catalog is sealed"
"""How the database's refusal begins where a catalog has moved to another place (`bookkeeper.copying`)."""

THE_NEW_ONE: Final = "name the new one with --catalog or $BOOKKEEPER_CATALOG; see the how-to page on moving a catalog"

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Any]


class Rows(Protocol):
    """The answer of one statement. ``rowcount`` is the number of rows that it changed; rows are tuples."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None where there is none."""
        ...

    def fetchmany(self, size: int, /) -> list[Any]:
        """Return up to ``size`` rows."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows."""
        ...


class Tx(Protocol):
    """A write transaction: what every move of the kernel gets as its first argument.

    ``run(statement, parameters)`` executes one statement and returns its `Rows`.
    """

    @property
    def hints(self) -> dict[int, int] | None:
        """Where a search for free files may begin, by project: only to find them faster. None where that is no help."""
        ...

    @property
    def run(self) -> Callable[..., Rows]:
        """Execute one statement."""
        ...

    def many(self, statement: str, rows: Iterable[Mapping[str, Any] | tuple[Any, ...]]) -> int:
        """Execute ``statement`` for each of ``rows``; return the number of rows changed."""
        ...

    def lock_request(self, *, process: int | None = None, project: str | None = None, alone: bool = False) -> None:
        """Keep moves of whole projects (``alone``) and moves of single processes of a request apart, until the end.

        The request is that of the process, or of the project. Where one writer at a time is the rule, nothing is to be
        done.
        """
        ...

    def lock(self, what: str) -> None:
        """Let only one transaction at a time do ``what``."""
        ...


class Auditor(Protocol):
    """A connection that reads everything and writes nothing: rows are read by name or number."""

    def execute(self, statement: str, parameters: Parameters = ..., /) -> Rows:
        """Execute one query; return its rows, as a cursor."""
        ...


def too_large() -> UsageError:
    """Return the error of a number that no column holds."""
    return UsageError("a number is too large; nothing was changed", remedy="whole numbers have 64 bits")


class Database(ABC):
    """An open catalog: who it is, and its doors.

    ``id`` is its UUID; ``epoch`` rises each time a copy of it is put to use; ``stamped`` says that this is a copy not used
    yet. ``folder`` is where on this host lies what belongs to it beside the rows (logs, the slots of local jobs); ``name``
    is what messages call it.
    """

    dialect: ClassVar[str]

    def __init__(self, *, id: str, epoch: int, stamped: bool, folder: Path, name: str) -> None:
        self.id = id
        self.epoch = epoch
        self.stamped = stamped
        self.folder = folder
        self.name = name

    @property
    @abstractmethod
    def url(self) -> str:
        """The address that opens this catalog again, from any folder."""

    @abstractmethod
    def transaction(self, *, durable: bool = False) -> AbstractContextManager[Tx]:
        """Return the door to one write transaction: ``with database.transaction(durable=True) as tx``.

        ``durable``: on disk before the block is left. Leaving by an exception rolls back.
        """

    def run(self, move: Callable[[Tx], T], *, durable: bool = False) -> T:
        """Make one move of the kernel in one write transaction, and return its answer.

        Whatever makes moves goes through here: a database that can lose a race makes the move again, and one that
        serves many callers makes the moves of several in one transaction. So a move must be repeatable, and have no
        effect but through its ``tx``.
        """
        with self.transaction(durable=durable) as tx:
            return move(tx)

    @abstractmethod
    def sole_publisher(self) -> AbstractContextManager[bool]:
        """Hold, for a block, what only one side may have: publishing to, and revoking from, stores without rename.

        Whoever is killed lets go of it.
        """

    @abstractmethod
    def table(
        self, query: str, parameters: Parameters = (), *, most: int | None = None, seconds: float | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the column names and the rows of one query, read-only; names may repeat. Raises `QueryError`.

        ``most`` rows are read at most, for at most ``seconds``.
        """

    @abstractmethod
    def rows(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """Return the rows of one query, read-only whatever it says. Raises `QueryError`."""

    def one(self, query: str, parameters: Parameters = ()) -> dict[str, Any] | None:
        """Return the first row of one query, or None."""
        found = self.rows(query, parameters)
        return found[0] if found else None

    def now(self) -> float:
        """Return the catalog's clock: seconds since the epoch."""
        return float(self.rows(f"SELECT {NOW} AS now")[0]["now"])

    @abstractmethod
    def auditor(self) -> AbstractContextManager[Auditor]:
        """Open a connection of its own that reads everything, also what `rows` hides, in one look; it writes nothing."""

    @abstractmethod
    def begin_time_line(self) -> None:
        """Prepare a copy for its first write; `bookkeeper.ledger.restore.put_to_use` goes on."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""
