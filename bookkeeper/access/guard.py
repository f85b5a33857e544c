"""Tell who calls by the token that is shown, or refuse: `Guard.identify`."""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.access.identity import ORDER, Grant, Identity
from bookkeeper.access.keys import ALGORITHM, KeyFile
from bookkeeper.access.tokens import LEEWAY, PROJECT, TYPE, issuer_of
from bookkeeper.catalog import Database, storable
from bookkeeper.errors import Unauthenticated
from bookkeeper_schema.states import Scope

if TYPE_CHECKING:
    from bookkeeper.access.issuers import Issuers

LONGEST_HEADER: Final = 16 * 1024
"""Bytes of an ``Authorization`` header: twice what the tokens of WLCG with many groups take."""

REMEMBERED: Final = 5.0
"""Seconds that a token that held is taken without looking again: as late as a revocation made elsewhere is seen."""

GIVEN: Final = "SELECT name, scope, projects, key_id, revoked_at FROM tokens WHERE id = :id"

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class Guard:
    """Knows the callers of one catalog. Several threads may use it.

    ``issuers``: who else vouches for callers. ``clock`` returns epoch seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        issuers: Issuers | None = None,
        clock: Callable[[], float] = time.time,
        remember: float = REMEMBERED,
    ) -> None:
        from cachetools import TTLCache

        self.database = database
        self.issuers = issuers
        self.clock = clock
        self._keys = KeyFile(database.folder)
        self._lock = threading.Lock()
        self._known: TTLCache[bytes, Identity] = TTLCache(4096, remember, timer=clock)

    def identify(self, header: str | None) -> Identity:
        """Return who shows this ``Authorization`` header (RFC 6750); raise `Unauthenticated` with a cause."""
        token = bearer(header)
        found = self._remembered(token)
        if found is None:
            found = self._verified(token)
            with self._lock:
                self._known[_digest(token)] = found
        return found

    def remembered(self, header: str | None) -> Identity | None:
        """Return who shows this header if that is known without any look at a disk or a network."""
        try:
            return self._remembered(bearer(header))
        except Unauthenticated:
            return None

    def forget(self) -> None:
        """Look at every token again: call it when one was revoked here."""
        with self._lock:
            self._known.clear()

    def request_of(self, project: str) -> str:
        """Return the name of a project's request; an unknown project is its own."""
        row = self.database.one(PROJECT, {"name": storable(project)})
        return project if row is None else str(row["name"])

    def _remembered(self, token: str) -> Identity | None:
        with self._lock:
            found = self._known.get(_digest(token))
        return found if found is not None and self.clock() <= found.expires_at else None

    def _verified(self, token: str) -> Identity:
        header, claims = unproved(token)
        if claims.get("iss") == issuer_of(self.database):
            return self._ours(token, header)
        if self.issuers is not None and isinstance(claims.get("iss"), str):
            return self.issuers.identify(token, header, claims["iss"], request_of=self.request_of)
        raise Unauthenticated("the token is of an issuer that is not trusted here", cause="issuer")

    def _ours(self, token: str, header: dict[str, Any]) -> Identity:
        now = self.clock()
        if header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
            raise Unauthenticated("this is no token of a catalog", cause="algorithm")
        kid = header.get("kid")
        key = self._keys.verifying(kid, now) if isinstance(kid, str) else None
        if key is None:
            raise Unauthenticated("the key that signed the token is unknown or has ended", cause="key")
        claims = proved(token, key, [ALGORITHM])
        if claims.get("aud") != self.database.id:
            raise Unauthenticated("the token is for another catalog", cause="audience")
        expires = times(claims, now)
        if claims.get("epoch") != self.database.epoch:
            raise Unauthenticated(
                "the token is older than the backup that this catalog was restored from", cause="revoked"
            )
        number, name, scope = claims.get("jti"), claims.get("sub"), claims.get("scope")
        projects = claims.get("projects")
        if not isinstance(number, str) or not isinstance(name, str) or scope not in ORDER or not _texts(projects):
            raise Unauthenticated("the token does not say what it must", cause="malformed")
        row = self.database.one(GIVEN, {"id": storable(number)})
        if row is None or row["revoked_at"] is not None:
            raise Unauthenticated("the token was revoked", cause="revoked")
        given = (row["name"], row["scope"], row["projects"], row["key_id"])
        if given != (name, scope, None if projects is None else " ".join(projects), kid):
            raise Unauthenticated("the token is not what was given out under its number", cause="signature")
        confined = None if projects is None else frozenset(projects)
        return Identity(name, (Grant(Scope(scope), confined),), number, None, expires, self.request_of)


def bearer(header: str | None) -> str:
    """Return the token of an ``Authorization`` header. Raises `Unauthenticated`."""
    if header is None or not header.strip():
        raise Unauthenticated("this needs a token", cause="missing")
    if len(header) > LONGEST_HEADER:
        raise Unauthenticated(f"the token is longer than {LONGEST_HEADER} bytes", cause="oversized")
    kind, _, token = header.strip().partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not _TOKEN.fullmatch(token):
        raise Unauthenticated("this is no bearer token (RFC 6750, RFC 7519)", cause="malformed")
    return token


def unproved(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a token says of itself, which nothing proves yet: header and claims. Raises `Unauthenticated`."""
    from joserfc.errors import JoseError
    from joserfc.jws import extract_compact

    try:
        parts = extract_compact(token.encode())
        header, claims = parts.protected, json.loads(parts.payload)
    except (JoseError, ValueError, RecursionError):
        raise Unauthenticated("the token cannot be read", cause="malformed") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Unauthenticated("the token cannot be read", cause="malformed")
    return header, claims


def proved(token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
    """Return the claims of a token that this key signed by one of these algorithms. Raises `Unauthenticated`."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    try:
        return dict(jwt.decode(token, key, algorithms=algorithms).claims)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise Unauthenticated("the signature of the token does not hold", cause="signature") from None


def times(claims: dict[str, Any], now: float, leeway: float = LEEWAY) -> float:
    """Return until when a token is taken, if it is taken now (RFC 7519, 4.1). Raises `Unauthenticated`."""
    try:
        expires, begins, issued = (_moment(claims, name) for name in ("exp", "nbf", "iat"))
    except (TypeError, ValueError, OverflowError):
        raise Unauthenticated("the token does not say until when it holds", cause="malformed") from None
    if now > expires + leeway:
        raise Unauthenticated(
            "the token has expired",
            cause="expired",
            remedy="get a new one; `bookkeeper token create` makes one on the server",
        )
    if max(begins, issued) > now + leeway:
        raise Unauthenticated("the token does not hold yet: compare the clocks of the two hosts", cause="not-yet-valid")
    return expires + leeway


def _moment(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name, None if name == "exp" else 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _texts(value: object) -> bool:
    return value is None or (isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value))
