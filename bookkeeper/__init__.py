"""bookkeeper: has every file been processed, exactly once?

The names below are the public surface; they are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bookkeeper.api import Catalog, Project, create_catalog, open_catalog
    from bookkeeper.errors import (
        AccessDenied,
        BookkeeperError,
        CatalogError,
        Conflict,
        Fenced,
        FileChanged,
        Forbidden,
        NotAllowed,
        NotFound,
        Paused,
        PublicationConflict,
        RolledBack,
        StorageError,
        Unauthenticated,
        UsageError,
        ValidationError,
    )
    from bookkeeper.process import DeliveredFile, Process
    from bookkeeper.scanning import FileRecord, scan
    from bookkeeper.validation import Validation, validate

    __version__: str

_HOMES = {
    "bookkeeper.api": ("Catalog", "Project", "create_catalog", "open_catalog"),
    "bookkeeper.errors": (
        "AccessDenied",
        "BookkeeperError",
        "CatalogError",
        "Conflict",
        "Fenced",
        "FileChanged",
        "Forbidden",
        "NodeExcluded",
        "NotAllowed",
        "NotFound",
        "Paused",
        "PublicationConflict",
        "RolledBack",
        "StorageError",
        "Unauthenticated",
        "UsageError",
        "ValidationError",
    ),
    "bookkeeper.process": ("DeliveredFile", "Process"),
    "bookkeeper.scanning": ("FileRecord", "scan"),
    "bookkeeper.validation": ("Validation", "validate"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AccessDenied",
    "BookkeeperError",
    "Catalog",
    "CatalogError",
    "Conflict",
    "DeliveredFile",
    "Fenced",
    "FileChanged",
    "FileRecord",
    "Forbidden",
    "NodeExcluded",
    "NotAllowed",
    "NotFound",
    "Paused",
    "Process",
    "Project",
    "PublicationConflict",
    "RolledBack",
    "StorageError",
    "Unauthenticated",
    "UsageError",
    "Validation",
    "ValidationError",
    "create_catalog",
    "open_catalog",
    "scan",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sam-bookkeeper")
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
