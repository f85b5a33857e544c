"""Who may do what, as the server asks it; `bookkeeper.access` answers for catalogs that have tokens."""

from __future__ import annotations

from typing import Protocol


class Identity(Protocol):
    """Somebody who was recognised."""

    def require(self, scope: str, project: str | None = None) -> object:
        """Raise unless they may do what needs this scope, on this project."""
        ...


class Guard(Protocol):
    """Recognises callers by the ``Authorization`` header of a request."""

    def identify(self, authorization: str | None, client: str = "") -> Identity:
        """Return who calls, from this address. Raises `AccessDenied` where nobody may be that. May take a while."""
        ...


class Everybody:
    """Whoever reaches an open server: may do everything."""

    def require(self, scope: str, project: str | None = None) -> None:
        """Let pass."""


class Open:
    """The guard of an open server, which listens on this host only."""

    def identify(self, authorization: str | None, client: str = "") -> Everybody:
        """Recognise everybody."""
        return Everybody()
