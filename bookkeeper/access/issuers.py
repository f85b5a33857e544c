"""Issuers other than the catalog itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bookkeeper.access.identity import Identity
from bookkeeper.errors import Unauthenticated


class Issuers:
    """The issuers that are trusted by configuration."""

    def identify(
        self, token: str, header: dict[str, Any], issuer: str, *, request_of: Callable[[str], str]
    ) -> Identity:
        """Return who shows a token of one of these issuers."""
        raise Unauthenticated("the token is of an issuer that is not trusted here", cause="issuer")
