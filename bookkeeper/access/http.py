"""The guard at the door of a server: a request's header and address become an `Identity`, or a refusal with its cause."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from bookkeeper.access.guard import Guard
from bookkeeper.access.identity import Identity
from bookkeeper.access.issuers import Issuers
from bookkeeper.catalog import Database
from bookkeeper.errors import AccessDenied, Forbidden, Unauthenticated

FAILURES: Final = 20
"""Tokens that did not hold, from one client in `WINDOW` seconds, after which its unknown tokens are not looked at."""

WINDOW: Final = 60.0
CLIENTS: Final = 10_000
"""Clients whose failures are counted at once; the oldest are forgotten first."""

ISSUERS: Final = "issuers.toml"
"""The file in the catalog's folder that names other issuers."""


class FailureLimit:
    """Counts the tokens of each known client that did not hold. One network of IPv6 (/64) is one client."""

    def __init__(
        self, failures: int = FAILURES, window: float = WINDOW, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from cachetools import TTLCache

        self.failures, self.window = failures, window
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: TTLCache[str, list[float]] = TTLCache(CLIENTS, window, timer=clock)

    def wait(self, client: str) -> float:
        """Return for how many seconds a client is not looked at, 0 if it is."""
        with self._lock:
            moments = self._counts.get(_network(client), [])
            if len(moments) < self.failures:
                return 0.0
            return max(0.0, moments[-self.failures] + self.window - self._clock())

    def failed(self, client: str) -> None:
        """Count a token of a client that did not hold."""
        if not client:  # it says nothing of who that is
            return
        with self._lock:
            name, now = _network(client), self._clock()
            recent = [moment for moment in self._counts.get(name, []) if moment > now - self.window]
            self._counts[name] = [*recent, now][-self.failures :]


class Gate:
    """Recognises the callers of a server. Several threads may use it.

    Callers that are throttled still come in by a token that is known to hold: who shares an address with a broken job is
    not shut out.
    """

    def __init__(self, guard: Guard, limit: FailureLimit | None = None) -> None:
        self.guard = guard
        self.limit = FailureLimit() if limit is None else limit

    def identify(self, authorization: str | None, client: str = "") -> Identity:
        """Return who shows this ``Authorization`` header, from this address. Raises `Unauthenticated`.

        May read the database, and fetch the keys of an issuer: not in an event loop.
        """
        found = self.guard.remembered(authorization)
        if found is not None:
            return found
        if authorization and (wait := self.limit.wait(client)) > 0:
            raise Unauthenticated(
                f"too many tokens from {client} did not hold",
                remedy=f"try again in {math.ceil(wait)} s, with a token that holds",
                cause="throttled",
            )
        try:
            return self.guard.identify(authorization)
        except Unauthenticated as error:
            if error.cause not in ("missing", "issuer-unavailable"):
                self.limit.failed(client)
            raise


def gate(database: Database) -> Gate:
    """Return what recognises the callers of a catalog: by its own tokens, and those of the issuers that it trusts.

    Raises `UsageError` where ``issuers.toml`` in the catalog's folder cannot be read.
    """
    path = database.folder / ISSUERS
    return Gate(Guard(database, issuers=Issuers.read(path) if path.exists() else None))


def challenge(error: AccessDenied) -> str:
    """Return the value of ``WWW-Authenticate`` (RFC 6750, section 3): nothing of the request is repeated in it."""
    if error.cause == "missing":
        return 'Bearer realm="bookkeeper"'
    kind = "insufficient_scope" if isinstance(error, Forbidden) else "invalid_token"
    return f'Bearer realm="bookkeeper", error="{kind}", error_description="{error.cause}"'


def _network(client: str) -> str:
    """Return what counts as one client: an address of IPv4, a /64 of IPv6."""
    try:
        address = ip_address(client)
    except ValueError:
        return client[:100]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64))
    return client
