"""Who may do what on the catalog server: tokens, the keys that sign them, and the guard that tells who calls."""

from bookkeeper.access.guard import Guard
from bookkeeper.access.handing import handing_over
from bookkeeper.access.http import Gate, challenge, gate
from bookkeeper.access.identity import Grant, Identity
from bookkeeper.access.keys import KeyFile
from bookkeeper.access.tokens import NewToken, Rotation, create, list_all, revoke, rotate

__all__ = [
    "Gate",
    "Grant",
    "Guard",
    "Identity",
    "KeyFile",
    "NewToken",
    "Rotation",
    "challenge",
    "create",
    "gate",
    "handing_over",
    "list_all",
    "revoke",
    "rotate",
]
