"""Keep secrets out of what is stored of a failure: what a command prints may hold the token that it read its files with."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from bookkeeper.failures.evidence import Evidence

HIDDEN: Final = "[hidden]"
"""What stands for a secret."""

_KEYS: Final = (
    r"authz|access_?token|refresh_?token|id_?token|bearer_?token|auth_?token|token|secret|client_?secret|password|passwd"
    r"|passphrase|api_?key|x-amz-(?:signature|credential|security-token)|aws_(?:secret_access_key|session_token)|signature|sig"
)
"""Names whose value is a secret, where it is one word of eight characters or more: in queries of URLs, and in settings."""

_SECRETS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        (r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)(?:[^-]|-(?!----END)){0,10000}", rf"\1{HIDDEN}"),
        (
            r"\b((?:proxy-)?authorization\b['\"]?\s{0,3}[:=]\s{0,3}['\"]?(?:[a-z]{3,12}\s{1,3})?)[^\s'\",;]{8,}",
            rf"\1{HIDDEN}",
        ),
        (r"\b(bearer(?:%20|\s{1,3}))[a-z0-9._~+/=-]{20,}", rf"\1{HIDDEN}"),
        (rf"(?<![a-z0-9])((?:{_KEYS})['\"]?=['\"]?)[^\s&'\",;\[\]]{{8,}}", rf"\1{HIDDEN}"),
        (r"\b([a-z][a-z0-9+.-]{1,15}://)[^\s/:@'\"]{1,200}:[^\s/@'\"]{1,200}@", rf"\1{HIDDEN}@"),
        (r"\beyJ[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}(?:\.[a-z0-9_-]{0,2000})?", HIDDEN),
    )
)
"""Private keys; what HTTP authorises by (RFC 9110, RFC 6750); settings; passwords in URLs (RFC 3986); JSON web tokens (RFC 7519)."""


def redacted(text: str) -> str:
    """Return a text without the secrets in it that can be told by how they look; each is ``[hidden]``."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def without_secrets(evidence: Evidence) -> Evidence:
    """Return evidence whose texts are `redacted`."""
    return replace(
        evidence,
        message=redacted(evidence.message),
        stderr=redacted(evidence.stderr),
        exceptions=tuple((name, redacted(said)) for name, said in evidence.exceptions),
    )
