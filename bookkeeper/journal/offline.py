"""What a worker is given in the place of a catalog: a ticket and the journal it writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bookkeeper.errors import Fenced, UsageError
from bookkeeper.journal import tickets
from bookkeeper.journal.ledger import JournalLedger
from bookkeeper.journal.tickets import Ticket
from bookkeeper.operations import Operation, Remote
from bookkeeper.protocol import Fate, Ledger


class Offline(Remote):
    """A catalog that cannot be reached: its jobs are told what is in the ticket, and what they say goes into a journal.

    ``path`` is the journal; without one it is named after the ticket and this run, and lies beside the ticket.
    ``folder`` is where the logs go. Raises `Fenced` where the ticket's lease has passed by this host's clock, which
    spares the work: only the catalog's clock decides.
    """

    def __init__(
        self,
        ticket: Path,
        journal: Path | None = None,
        *,
        node: str = "",
        on_record: Callable[[int], None] = lambda n: None,
    ) -> None:
        import secrets

        signed = tickets.read(ticket)
        self.ticket: Ticket = signed.ticket
        self.path = journal or ticket.with_name(f"{ticket.stem}-{secrets.token_hex(4)}.journal")
        if time.time() > self.ticket.expires_at and not self.path.exists():
            when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.ticket.expires_at))
            raise Fenced(
                f"the ticket of process {self.ticket.process} was good until {when}",
                remedy="take another ticket: its files went to others",
            )
        self.folder = self.path.with_name(f"{self.path.name}.d")
        self._ledger = JournalLedger(signed, self.path, node=node, on_record=on_record)

    def __enter__(self) -> Offline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ended(self) -> Fate:
        """How the job ended that this journal is of: live where it has no end record."""
        return self._ledger.ended

    @property
    def reason(self) -> str:
        """Why it was rolled back, if it was."""
        return self._ledger.reason

    def ledger(self) -> Ledger:
        """Return the ledger that writes the journal."""
        return self._ledger

    def call(self, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        """Refuse: nobody answers."""
        raise UsageError(f"{operation.name} needs the catalog", remedy="do it where the catalog can be reached")

    def close(self) -> None:
        """Close the journal."""
        self._ledger.close()
