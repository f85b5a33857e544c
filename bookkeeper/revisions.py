"""Whether a catalog has the schema of this program."""

from __future__ import annotations

from bookkeeper.errors import CatalogOutdated, CatalogTooNew


def check_revision(revision: str, name: str) -> None:
    """Raise `CatalogTooNew` or `CatalogOutdated` where the catalog called ``name`` has another schema revision."""
    from bookkeeper_schema.migrate import HEAD, REVISIONS

    if revision not in REVISIONS:
        raise CatalogTooNew(f"{name} has schema {revision}; this bookkeeper knows up to {HEAD}")
    if revision != HEAD:
        raise CatalogOutdated(f"{name} has schema {revision}; this bookkeeper needs {HEAD}")
