"""Jobs without a network: a ticket out, a journal home.

`ticket` lends files to jobs that will have no catalog; `bookkeeper work --ticket` writes a journal (`JournalLedger`);
`ingest` takes it in, through the guards that every job meets. Nothing is committed or published in between.
"""

from bookkeeper.journal.ingesting import Ingested, Verdict, ingest
from bookkeeper.journal.ledger import JournalLedger
from bookkeeper.journal.lending import ticket
from bookkeeper.journal.offline import Offline
from bookkeeper.journal.tickets import SignedTicket, Ticket

__all__ = ["Ingested", "JournalLedger", "Offline", "SignedTicket", "Ticket", "Verdict", "ingest", "ticket"]
