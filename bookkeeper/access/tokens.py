"""Tokens for the catalog server: create, list, revoke; rotate the keys that sign them.

A token is a JSON web token (RFC 7519) of the type ``bookkeeper+jwt``, signed by the catalog's newest key. The catalog keeps
a row for each, without what would be needed to make it again: the signature is nowhere but in the token.
"""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from bookkeeper import durations
from bookkeeper.access.identity import ORDER
from bookkeeper.access.keys import ALGORITHM, KeyFile, SigningKey
from bookkeeper.catalog import NOW, Database, Tx, check_name, storable
from bookkeeper.errors import NotFound, UsageError
from bookkeeper.events import record
from bookkeeper.operations import operation

TYPE: Final = "bookkeeper+jwt"
"""The header ``typ`` of our tokens: no other JSON web token of this catalog's keys is taken for one (RFC 8725, 3.11)."""

LIFETIME: Final = 12 * 3600.0
LONGEST: Final = 30 * 86400.0
LEEWAY: Final = 30.0
"""Seconds that the clocks of two hosts may differ."""

ADD: Final = f"""
INSERT INTO tokens (id, name, scope, projects, key_id, created_at, created_by, expires_at)
VALUES (:id, :name, :scope, :projects, :key, {NOW}, :by, {NOW} + :lifetime) RETURNING created_at, expires_at
"""

LISTED: Final = f"""
SELECT id, name, scope, projects, key_id, created_at, created_by, expires_at, revoked_at, revoked_by,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= {NOW} THEN 'expired' ELSE 'valid' END AS state
  FROM tokens ORDER BY created_at, id
"""

REVOKE: Final = f"""
UPDATE tokens SET revoked_at = {NOW}, revoked_by = :by
 WHERE (id = :which OR name = :which) AND revoked_at IS NULL AND expires_at > {NOW} - :leeway RETURNING id, name
"""

REVOKE_ALL: Final = f"UPDATE tokens SET revoked_at = {NOW}, revoked_by = :by WHERE revoked_at IS NULL RETURNING id"

KNOWN: Final = "SELECT 1 FROM tokens WHERE id = :which OR name = :which LIMIT 1"

PROJECT: Final = "SELECT r.name FROM projects j JOIN requests r ON r.id = j.request_id WHERE j.name = :name"

LAST_END: Final = f"""
SELECT key_id, max(expires_at) FROM tokens WHERE revoked_at IS NULL AND expires_at > {NOW} - :leeway GROUP BY key_id
"""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was made. ``token`` is the secret: it is shown once, and kept nowhere."""

    id: str
    name: str
    scope: str
    projects: list[str] | None
    created_at: float
    expires_at: float
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A change of keys: the one that signs now, those that still verify, and how many tokens ended with it."""

    kid: str
    verifying: list[str]
    revoked: int


@operation("admin", name="tokens.create", here={"by": getpass.getuser})
def create(
    database: Database,
    name: str,
    *,
    scope: str,
    projects: Iterable[str] = (),
    lifetime: float = LIFETIME,
    by: str | None = None,
) -> NewToken:
    """Make a token for somebody or something; ``lifetime`` in seconds. The first one makes the first key.

    With ``projects`` it does more than read only in their requests. Raises `UsageError`, `NotFound`.
    """
    check_name("token", name)
    if scope not in ORDER:
        raise UsageError(f"there is no scope {scope[:50]!r}", remedy=f"use one of {', '.join(ORDER)}")
    if not 1 <= lifetime <= LONGEST:
        raise UsageError(
            f"a token lives between 1 s and {durations.words(LONGEST)}, not {lifetime:g} s",
            remedy="make a new one when it ends: the old and the new hold side by side",
        )
    confined = _requests(database, projects)
    if confined and scope in ("read", "admin"):
        raise UsageError(
            f"a token of scope {scope} is confined to no project", remedy="leave out --project, or use work or operate"
        )
    keys = KeyFile(database.folder)
    asked = {
        "id": secrets.token_hex(8),
        "name": name,
        "scope": scope,
        "projects": " ".join(confined) or None,
        "by": _by(by),
        "lifetime": lifetime,
    }
    with keys.changing():
        signer = keys.signing() or keys.add(database.now())
        row = {**asked, "key": signer.kid}
        created, expires = database.run(lambda tx: _add(tx, row), durable=True)
        return NewToken(
            id=str(asked["id"]),
            name=name,
            scope=scope,
            projects=confined or None,
            created_at=created,
            expires_at=expires,
            token=_signed(database, signer, asked, created, expires),
        )


def _add(tx: Tx, asked: dict[str, Any]) -> tuple[float, float]:
    created, expires = tx.run(ADD, asked).fetchone()
    facts = {name: asked[name] for name in ("id", "name", "scope", "projects", "by")}
    record(tx, "token.created", {**facts, "key_id": asked["key"], "expires_at": expires})
    return float(created), float(expires)


def _requests(database: Database, projects: Iterable[str]) -> list[str]:
    """Return the requests of some projects, which must exist: a token for a misspelled one would be of no use."""
    found = []
    for project in projects:
        row = database.one(PROJECT, {"name": project})
        if row is None:
            raise NotFound(f"there is no project {project[:200]!r}", remedy="`bookkeeper project list` names them")
        found.append(str(row["name"]))
    return sorted(set(found))


def _signed(database: Database, signer: SigningKey, asked: dict[str, Any], created: float, expires: float) -> str:
    from joserfc import jwt

    claims = {
        "iss": issuer_of(database),
        "aud": database.id,
        "epoch": database.epoch,
        "sub": asked["name"],
        "jti": asked["id"],
        "iat": int(created),
        "nbf": int(created),
        "exp": int(expires),
        "scope": asked["scope"],
    }
    if asked["projects"]:
        claims["projects"] = asked["projects"].split(" ")
    header = {"alg": ALGORITHM, "kid": signer.kid, "typ": TYPE}
    return jwt.encode(header, claims, signer.key, algorithms=[ALGORITHM])


def issuer_of(database: Database) -> str:
    """Return who signs this catalog's tokens: the claim ``iss``."""
    return f"urn:uuid:{database.id}"


@operation("read", name="tokens.list_all")
def list_all(database: Database) -> list[dict[str, Any]]:
    """Return every token that was ever made, oldest first; no secret is among what is told.

    Keys: id, name, scope, projects (a list, or None: all), state (valid, expired, revoked), created_at, created_by,
    expires_at, revoked_at, revoked_by (epoch seconds), key_id.
    """
    return [
        {**row, "projects": None if row["projects"] is None else row["projects"].split(" ")}
        for row in database.rows(LISTED)
    ]


@operation("admin", name="tokens.revoke", here={"by": getpass.getuser})
def revoke(database: Database, which: str, *, by: str | None = None) -> list[str]:
    """Revoke one token by its number, or all that a name has; return the numbers of those that were valid.

    Repeated, it revokes nothing more. Raises `NotFound`.
    """
    if database.one(KNOWN, {"which": storable(which)}) is None:
        raise NotFound(f"there is no token {which[:200]!r}", remedy="`bookkeeper token list` shows names and numbers")
    return database.run(lambda tx: _revoke(tx, storable(which), _by(by)), durable=True)


def _revoke(tx: Tx, which: str, by: str) -> list[str]:
    rows = tx.run(REVOKE, {"which": which, "by": by, "leeway": LEEWAY}).fetchall()
    for number, name in rows:
        record(tx, "token.revoked", {"id": number, "name": name, "by": by})
    return [str(number) for number, _ in rows]


@operation("admin", name="tokens.rotate", here={"by": getpass.getuser})
def rotate(database: Database, *, compromised: bool = False, by: str | None = None) -> Rotation:
    """Sign with a new key from now on. Tokens that the old ones signed hold until they end.

    ``compromised``: somebody else may have a key; every key and every token ends now.
    """
    keys = KeyFile(database.folder)
    with keys.changing():
        revoked, ends = database.run(lambda tx: _ends(tx, _by(by), compromised=compromised), durable=True)
        fresh = keys.add(database.now(), retire=ends)
        verifying = [key.kid for key in keys.known() if not key.signs]
        body = {"kid": fresh.kid, "verifying": verifying, "compromised": compromised, "by": _by(by)}
        database.run(lambda tx: record(tx, "keys.rotated", {**body, "revoked": revoked}), durable=True)
    return Rotation(fresh.kid, verifying, revoked)


def _ends(tx: Tx, by: str, *, compromised: bool) -> tuple[int, dict[str, float]]:
    """Return how many tokens were revoked, and until when each key has tokens to verify."""
    if compromised:
        numbers = tx.run(REVOKE_ALL, {"by": by}).fetchall()
        for (number,) in numbers:
            record(tx, "token.revoked", {"id": number, "by": by, "reason": "the keys may be known to others"})
        return len(numbers), {}
    rows = tx.run(LAST_END, {"leeway": LEEWAY}).fetchall()
    return 0, {str(kid): float(end) + LEEWAY for kid, end in rows}


def _by(by: str | None) -> str:
    return storable(by or getpass.getuser())
