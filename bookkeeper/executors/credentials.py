"""Files with credentials that jobs are given: X.509 proxies (RFC 3820) and bearer tokens (RFC 6750).

Paths are told, what is in the files never is.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bookkeeper.errors import StorageError, UsageError
from bookkeeper.executors.batch import Asks

PROXY: Final = "credential-proxy"
TOKEN: Final = "credential-token"  # noqa: S105 - the name of a file
"""The copies in the folder of a submission."""

PROXY_VARIABLE: Final = "X509_USER_PROXY"
TOKEN_VARIABLE: Final = "BEARER_TOKEN_FILE"  # noqa: S105 - the name of a variable


def check(asks: Asks) -> None:
    """Raise `UsageError` for a file that cannot be read, is no credential, or has expired."""
    if asks.proxy is not None:
        data, make = _read("proxy", asks.proxy), f"`voms-proxy-init -out {asks.proxy}` makes one"
        _check_time("proxy", asks.proxy, _proxy_ends(asks.proxy, data, make), make)
    if asks.token is not None:
        data, make = _read("token", asks.token), f"get one, for example: `htgettoken -o {asks.token} …`"
        if not data.strip():
            raise UsageError(f"[executor] token: {asks.token} is empty", remedy=make)
        _check_time("token", asks.token, _token_ends(data), make)


def keep_copies(asks: Asks, folder: Path) -> None:
    """Copy the files, where they are newer, into a folder that nodes see; whoever reads has the old one whole, or the new.

    Raises `UsageError` where one cannot be read, and `StorageError` where the copy cannot be written.
    """
    for what, path, name in _named(asks):
        data, copy = _read(what, path), folder / name
        with contextlib.suppress(OSError):
            if copy.read_bytes() == data:
                continue
        part = folder / f".{name}.{secrets.token_hex(4)}"
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            part.replace(copy)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"{copy} cannot be written: {error.strerror}") from error


def remove_copies(folder: Path) -> None:
    """Remove what `keep_copies` made, also where it was killed in the middle; nobody reads it any more."""
    for name in (PROXY, TOKEN):
        for one in (folder / name, *folder.glob(f".{name}.*")):
            with contextlib.suppress(OSError):
                one.unlink()


def of_copies(asks: Asks, folder: Path) -> dict[str, str]:
    """Return the variables that lead jobs to the copies."""
    variables = {PROXY: PROXY_VARIABLE, TOKEN: TOKEN_VARIABLE}
    return {variables[name]: str(folder / name) for _, _, name in _named(asks)}


def _named(asks: Asks) -> Iterator[tuple[str, str, str]]:
    if asks.proxy is not None:
        yield "proxy", asks.proxy, PROXY
    if asks.token is not None:
        yield "token", asks.token, TOKEN


def _read(what: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"[executor] {what}: there is no file {path}", remedy="make it, or name another") from None
    except OSError as error:
        remedy = "it has to be yours to read"
        raise UsageError(f"[executor] {what}: {path} cannot be read: {error.strerror}", remedy=remedy) from error


def _proxy_ends(path: str, data: bytes, make: str) -> datetime:
    """Return when the first certificate of the chain ends. Raises `UsageError` for what is no proxy."""
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise UsageError(f"[executor] proxy: {path} is no X.509 proxy: it has no certificate", remedy=make) from None
    if b"PRIVATE KEY-----" not in data:
        raise UsageError(f"[executor] proxy: {path} is no X.509 proxy: it has no private key", remedy=make)
    return min(one.not_valid_after_utc for one in chain)


def _token_ends(data: bytes) -> datetime | None:
    """Return what a JSON Web Token (RFC 7519) says of its end; None where it says nothing, or is another kind of token."""
    parts = data.strip().split(b".")
    if len(parts) != 3:
        return None
    with contextlib.suppress(binascii.Error, ValueError, KeyError, TypeError, OverflowError):
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    return None


def _check_time(what: str, path: str, ends: datetime | None, make: str) -> None:
    if ends is not None and ends <= datetime.now(UTC):
        raise UsageError(f"[executor] {what}: {path} expired on {ends:%Y-%m-%d %H:%M} UTC", remedy=make)
