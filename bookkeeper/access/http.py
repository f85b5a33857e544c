"""The guard at the door of an ASGI server: a request's headers become an `Identity`, or an answer that refuses it.

Nothing here needs a web framework: ``Gate`` takes what an ASGI scope has, and a `Refused` says what to send.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from bookkeeper.access.guard import Guard
from bookkeeper.access.identity import Grant, Identity
from bookkeeper.errors import AccessDenied, Forbidden, Unauthenticated
from bookkeeper_schema.states import Scope

FAILURES: Final = 20
"""Tokens that did not hold, from one client in `WINDOW` seconds, after which its unknown tokens are not looked at."""

WINDOW: Final = 60.0
CLIENTS: Final = 10_000
"""Clients whose failures are counted at once; the oldest are forgotten first."""

STATUS: Final = {"throttled": 429, "issuer-unavailable": 503}
"""The HTTP status of causes that are neither 401 nor 403."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that refuses a request: the status, the headers, and the error as it travels (RFC 6750, section 3)."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: dict[str, str]


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
    """Lets requests in. ``refusals`` counts those refused, by cause: what ``/metrics`` shows.

    ``anonymous``: the scope of requests without a token, None where each needs one. A token that does not hold is refused
    whatever that says. Callers that are throttled still come in by a token that is known to hold: who shares an address
    with a broken job is not shut out.
    """

    def __init__(self, guard: Guard, *, anonymous: str | None = None, limit: FailureLimit | None = None) -> None:
        self.guard = guard
        self.limit = FailureLimit() if limit is None else limit
        self.refusals: Counter[str] = Counter()
        self._anonymous = None if anonymous is None else Identity("anonymous", (Grant(Scope(anonymous)),))

    def identify(self, header: str | None, client: str = "") -> Identity:
        """Return who shows this ``Authorization`` header from this address. Raises `Unauthenticated`; it is counted.

        May read the database and fetch the keys of an issuer: in an event loop, await `admit`.
        """
        if not header and self._anonymous is not None:
            return self._anonymous
        try:
            return self.guard.remembered(header) or self._looked_at(header, client)
        except AccessDenied as error:
            self.count(error)
            raise

    async def admit(
        self, header: str | None, client: str = "", *, scope: str | None = None, project: str | None = None
    ) -> Identity:
        """Return who calls, if that allows ``scope`` (in ``project``). Raises `AccessDenied`; it is counted."""
        found = self.guard.remembered(header)
        if found is None:
            found = await asyncio.to_thread(self.identify, header, client)
        if scope is not None:
            if project is None:
                self.require(found, scope)
            else:
                await asyncio.to_thread(self.require, found, scope, project)
        return found

    def require(self, identity: Identity, scope: str, project: str | None = None) -> None:
        """Do as `Identity.require`, and count a refusal."""
        try:
            identity.require(scope, project)
        except AccessDenied as error:
            self.count(error)
            raise

    def count(self, error: AccessDenied) -> None:
        """Count a refusal that was decided elsewhere."""
        self.refusals[error.cause] += 1

    def _looked_at(self, header: str | None, client: str) -> Identity:
        if header and (wait := self.limit.wait(client)) > 0:
            raise Unauthenticated(
                f"too many tokens from {client or 'this address'} did not hold",
                remedy=f"try again in {math.ceil(wait)} s with a token that holds",
                cause="throttled",
            )
        try:
            return self.guard.identify(header)
        except Unauthenticated as error:
            if error.cause not in ("missing", "issuer-unavailable"):
                self.limit.failed(client)
            raise


def authorization(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the ``Authorization`` header of an ASGI scope. Raises `Unauthenticated` where there are two."""
    found = [value for name, value in headers if name.lower() == b"authorization"]
    if len(found) > 1:
        raise Unauthenticated("there are two Authorization headers", cause="malformed")
    return found[0].decode("latin-1") if found else None


def client_of(scope: MutableMapping[str, Any]) -> str:
    """Return the address that an ASGI request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def refusal(error: AccessDenied, *, wait: float | None = None) -> Refused:
    """Return the answer for a refused request; ``wait``: seconds after which trying again may help."""
    status = STATUS.get(error.cause, 403 if isinstance(error, Forbidden) else 401)
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    if status in (401, 403):
        headers.append(("www-authenticate", _challenge(error)))
    else:
        headers.append(("retry-after", str(math.ceil(wait if wait is not None else 10))))
    body = {"error": type(error).__name__, "message": error.message, "remedy": error.remedy}
    return Refused(status, tuple(headers), body)


def _challenge(error: AccessDenied) -> str:
    """Return the value of ``WWW-Authenticate``: nothing of the request is repeated in it."""
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
