"""What a job sees of its transaction: `Process` and `DeliveredFile`.

Speaks to the narrow `Ledger` protocol and to storage, never to a database.
"""

from bookkeeper.process.files import DeliveredFile
from bookkeeper.process.heart import Heart
from bookkeeper.process.process import POLL_SECONDS, Process, new_nonce, start
from bookkeeper.process.publication import publish_all

__all__ = ["POLL_SECONDS", "DeliveredFile", "Heart", "Process", "new_nonce", "publish_all", "start"]
