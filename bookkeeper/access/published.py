"""The keys that an issuer publishes: found through its discovery document, kept for an hour, fetched again for a new name.

OpenID Connect Discovery 1.0, RFC 8414 and RFC 7517. Only addresses that the configuration or the trusted issuer names are
ever asked.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bookkeeper.errors import Unauthenticated

if TYPE_CHECKING:
    import httpx

LOG: Final = logging.getLogger("bookkeeper.access")

KEEP: Final = 3600.0
"""Seconds after which the keys are fetched again."""

STALE: Final = 86400.0
"""Seconds that keys are used while the issuer does not answer."""

PAUSE: Final = 30.0
"""Seconds between two requests to an issuer: unknown names of keys do not make it more."""

TIMEOUT: Final = 5.0
"""Seconds that one document may take."""

LARGEST: Final = 256 * 1024
"""Bytes of a document."""

SMALLEST_RSA: Final = 2048
"""Bits (RFC 7518, section 3.3)."""


class PublishedKeys:
    """The keys of one issuer, by their names."""

    def __init__(self, issuer: str, *, ca_file: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self.issuer = issuer
        self._ca_file = ca_file
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str | None, Any] = {}
        self._fetched = self._asked = -STALE

    def key(self, kid: str | None) -> Any:
        """Return the key of this name; without one, the only key. Raises `Unauthenticated`."""
        with self._lock:
            now = self._clock()
            if now - self._fetched >= KEEP or (kid is not None and kid not in self._keys):
                self._refresh(now)
            if now - self._fetched >= STALE:
                raise Unauthenticated(
                    f"the keys of {self.issuer} cannot be fetched now",
                    remedy="try again later; the server's log says what went wrong",
                    cause="issuer-unavailable",
                )
            if kid is None:
                kid = next(iter(self._keys)) if len(self._keys) == 1 else None
            if kid not in self._keys:
                raise Unauthenticated("the key that signed the token is unknown to its issuer", cause="key")
            return self._keys[kid]

    def _refresh(self, now: float) -> None:
        if now - self._asked < PAUSE:
            return
        self._asked = now
        try:
            self._keys = self._fetch()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # What is known is used while it is not too old.
            LOG.warning("the keys of %s cannot be fetched: %s: %s", self.issuer, type(error).__name__, error)
            return
        self._fetched = now

    def _fetch(self) -> dict[str | None, Any]:
        import httpx

        verify = True if self._ca_file is None else ssl.create_default_context(cafile=self._ca_file)
        try:
            with httpx.Client(timeout=TIMEOUT, follow_redirects=False, verify=verify) as client:
                about = _document(client, f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if about["issuer"] != self.issuer:
                    raise ValueError("the document is of another issuer")
                return _verifying(_document(client, secure(about["jwks_uri"])))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(str(error)) from error


def secure(url: str) -> str:
    """Return an address if what it answers cannot be changed on the way: https, or this host. Raises `ValueError`."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or local) or parts.username or parts.query or parts.fragment:
        raise ValueError(f"{url[:200]!r} is no https address")
    return url


def _document(client: httpx.Client, url: str) -> dict[str, Any]:
    """Return a JSON object; no more than so many bytes, in no more than so many seconds."""
    until = time.monotonic() + TIMEOUT
    content = bytearray()
    with client.stream("GET", url, headers={"accept": "application/json"}) as answer:
        answer.raise_for_status()
        if answer.is_redirect:
            raise ValueError(f"{url} is elsewhere")
        for part in answer.iter_bytes():
            content += part
            if len(content) > LARGEST or time.monotonic() > until:
                raise ValueError(f"{url} does not end")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError(f"{url} is no JSON object")
    return found


def _verifying(document: dict[str, Any]) -> dict[str | None, Any]:
    """Return the keys that may verify signatures: no symmetric ones, no weak ones, none for encryption."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kinds: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    found: dict[str | None, Any] = {}
    for one in document["keys"][:100]:
        kind = kinds.get(one.get("kty"))
        if kind is None or one.get("use", "sig") != "sig":
            continue
        try:
            key = kind.import_key({name: value for name, value in one.items() if name not in ("d", "p", "q")})
        except (JoseError, ValueError, TypeError):
            continue
        if kind is not RSAKey or key.public_key.key_size >= SMALLEST_RSA:
            found[key.kid] = key
    if not found:
        raise ValueError("there is no key that verifies signatures")
    return found
