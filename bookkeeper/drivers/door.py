"""The one place where a URL becomes a file system of fsspec, and where a driver's errors get the URL's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from bookkeeper.errors import BookkeeperError, StorageError, UsageError

EXTRAS: Final = {
    "s3": "s3",
    "s3a": "s3",
    "dav": "webdav",
    "davs": "webdav",
    "http": "http",
    "https": "http",
    "root": "xrootd",
    "roots": "xrootd",
}
"""Which extra of the package installs the driver of a protocol."""

OURS: Final = {
    "dav": "bookkeeper.drivers.webdav.DavFileSystem",
    "davs": "bookkeeper.drivers.webdav.DavFileSystem",
}
"""Protocols of the field that fsspec does not know by these names."""

_PASSWORD: Final = re.compile(
    r"(?P<scheme>s3a?)://[^/@]*:.*@"  # a key of S3 may have slashes in it, and no bucket has a colon
    r"|(?P<other>[A-Za-z0-9][A-Za-z0-9+.-]*)://[^/@]*:[^/@]*@"
)


def refuse_secrets(url: str) -> None:
    """Raise `UsageError` where a URL carries a password: it would be kept in the catalog, in logs and in messages."""
    match = _PASSWORD.search(url)
    if match is not None:
        hidden = _PASSWORD.sub(lambda found: f"{found['scheme'] or found['other']}://[hidden]@", url)
        raise UsageError(
            f"{hidden} has a password in it, which everyone who may read the catalog could read",
            remedy="give credentials to the driver, in the environment or in fsspec's configuration; name the URL without them",
        )


def filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and what its driver calls the object.

    `UsageError` for a URL with a password, a protocol that nothing here knows, and one whose driver is not installed.
    """
    import fsspec

    refuse_secrets(url)
    for protocol, implementation in OURS.items():
        if protocol not in fsspec.available_protocols():
            fsspec.register_implementation(protocol, implementation)
    try:
        with named(url):
            system, path = fsspec.core.url_to_fs(url)
    except StorageError as error:
        if isinstance(error.__cause__, ValueError | ImportError):
            raise UsageError(f"{url} cannot be used: {error.__cause__}", remedy=_remedy(url)) from error
        raise
    return system, str(path)


def _remedy(url: str) -> str:
    extra = EXTRAS.get(url.rpartition("::")[2].partition("://")[0].lower())
    return f"`pip install 'sam-bookkeeper[{extra}]'`" if extra else "see the protocols that fsspec knows"


@contextmanager
def named(url: str) -> Iterator[None]:
    """Let `OSError` and our own errors through; name the object in whatever else a driver raises."""
    try:
        yield
    except (OSError, BookkeeperError):
        raise
    except Exception as error:
        from bookkeeper.failures.redaction import redacted

        raise StorageError(
            redacted(f"the storage of {url} failed: {type(error).__name__}: {error}"),
            remedy="try the same URL with fsspec by hand; see its credentials and options",
        ) from error
