"""The HTTP status of every error, for whoever looks at statuses: our own client reads the error itself."""

from __future__ import annotations

from typing import Final

from bookkeeper import errors
from bookkeeper.server.limits import TooLarge, TooMany

STATUSES: Final[dict[type[errors.BookkeeperError], int]] = {
    TooLarge: 413,
    TooMany: 429,
    errors.UsageError: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NotAllowed: 409,
    errors.CatalogBusy: 503,
    errors.ServerRestarted: 409,
    errors.Fenced: 410,
    errors.RolledBack: 409,
    errors.Paused: 423,
    errors.NodeExcluded: 423,
    errors.ValidationError: 422,
    errors.StorageError: 424,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
}

CAUSES: Final = {"throttled": 429, "issuer-unavailable": 503}
"""Refusals after which it helps to come again."""


def status_of(error: errors.BookkeeperError) -> int:
    """Return the status of an error: its class's, or that of the nearest class above it; 500 where there is none."""
    if isinstance(error, errors.AccessDenied) and error.cause in CAUSES:
        return CAUSES[error.cause]
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
