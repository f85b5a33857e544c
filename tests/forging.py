"""Tokens as an attacker makes them: put together by hand, since no library would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any


def part(value: Any) -> str:
    """One part of a token: JSON or bytes in base64url (RFC 7515)."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token with the algorithm that is none."""
    return f"{part(header | {'alg': 'none'})}.{part(claims)}."


def by_hmac(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token signed by HMAC, with what should be a public key as its secret."""
    signed = f"{part(header | {'alg': 'HS256'})}.{part(claims)}"
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def contents(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a token says: header and claims."""
    header, claims, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) for text in (header, claims))  # type: ignore[return-value]


def with_claims(token: str, **changed: Any) -> str:
    """A token whose claims were changed, and whose signature is the old one."""
    head, _, signature = token.split(".")
    return f"{head}.{part(contents(token)[1] | changed)}.{signature}"


def with_header(token: str, **changed: Any) -> str:
    """A token whose header was changed, and whose signature is the old one."""
    _, body, signature = token.split(".")
    return f"{part(contents(token)[0] | changed)}.{body}.{signature}"
