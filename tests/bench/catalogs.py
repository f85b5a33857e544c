"""Catalogs for benchmarks: many files that exist in the catalog only, made by SQL in a second."""

from __future__ import annotations

from pathlib import Path

from bookkeeper.api import Catalog, Project, create_catalog
from bookkeeper.ledger import requests
from bookkeeper.ledger.requests import Application, Rules

SERIES = "WITH RECURSIVE s(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM s WHERE i < :last)"


def make_catalog(path: Path) -> Catalog:
    """A new, empty catalog; one that is there is deleted."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return create_catalog(f"sqlite:///{path}")


def add_files(catalog: Catalog, count: int) -> None:
    """Declare files up to ``count`` in all."""
    with catalog.database.transaction() as tx:
        first = tx.run("SELECT count(*) FROM files").fetchone()[0] + 1
        span = {"first": first, "last": count}
        if first <= count:
            tx.run(
                f"{SERIES} INSERT INTO files (id, name, size, checksum, entries, declared_at)"
                " SELECT i, 'run' || (i / 1000) || '.nanoaod.' || i || '.root', 1000000 + i, 'adler32:0a1b2c3d', 1000, 0 FROM s",
                span,
            )
            tx.run(
                f"{SERIES} INSERT INTO locations (file_id, url) SELECT i, '/data/nanoaod.' || i || '.root' FROM s", span
            )


def make_project(catalog: Catalog, name: str, count: int, rules: Rules | None = None) -> Project:
    """A project over the first ``count`` files."""
    add_files(catalog, count)
    with catalog.database.transaction(durable=True) as tx:
        dataset = tx.run(
            "INSERT INTO datasets (name, kind, definition, created_at) VALUES (:name, 'names', '[\"*\"]', 0) RETURNING id",
            {"name": name},
        ).fetchone()[0]
        snapshot = tx.run(
            "INSERT INTO snapshots (dataset_id, files, bytes, taken_at) VALUES (:dataset, :count, 0, 0) RETURNING id",
            {"dataset": dataset, "count": count},
        ).fetchone()[0]
        tx.run(
            "INSERT INTO snapshot_files (snapshot_id, file_id, version) SELECT :snapshot, id, 1 FROM files WHERE id <= :count",
            {"snapshot": snapshot, "count": count},
        )
        requests.open_request(tx, name, snapshot, rules or Rules(), Application("bench", "none", "1", "here", "me"))
    return catalog.project(name)
