"""Addresses of outputs: where a destination is, and what an object in it may be called.

An address is a plain absolute path (local) or an fsspec URL without a trailing slash (everything else).
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from bookkeeper.drivers import refuse_secrets
from bookkeeper.errors import UsageError

HIDDEN = ".bookkeeper"
CLAIM = "claim"
LONGEST = 255
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_UPLOAD = re.compile(r"([0-9]+)-([A-Za-z0-9][A-Za-z0-9_.+-]*)-([0-9]+)")
_SCHEME = re.compile(r"([A-Za-z0-9][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


class TemporaryName(NamedTuple):
    """The parts of a temporary address: ``<destination>/.bookkeeper/<process>-<nonce>-<n>/<name>``."""

    destination: str
    process_id: int
    nonce: str
    n: int
    name: str


def resolve(url: str | os.PathLike[str]) -> str:
    """Return ``url`` as an address: an absolute plain path, or a URL without trailing slashes.

    Paths and ``file://`` URLs are taken as they stand (no percent-decoding, no ``~``), relative ones from the working
    folder. `UsageError` for what cannot hold outputs: chained URLs (a cache in between would answer the read-back),
    queries and fragments (no name can be put after them).
    """
    text = os.fspath(url)
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is no destination", remedy="name a folder or an fsspec URL")
    match = _SCHEME.fullmatch(text)
    if match is None:
        if "://" in text:
            raise UsageError(
                f"{text} is no destination: chained URLs are refused", remedy="name the storage itself, without a cache"
            )
        return os.path.abspath(text)  # noqa: PTH100 - links stay as the user wrote them
    refuse_secrets(text)
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme in {"file", "local"}:
        return os.path.abspath(rest or "/")  # noqa: PTH100
    if "?" in rest or "#" in rest:
        raise UsageError(
            f"{text} is no destination: it has a query or a fragment",
            remedy="give options and credentials in fsspec's configuration (FSSPEC_<PROTOCOL>_<OPTION>)",
        )
    if {".", ".."} & set(rest.split("/")):
        raise UsageError(f"{text} is no destination: it has . or .. in its path", remedy="write the path without them")
    return f"{scheme}://{rest.rstrip('/')}"


def is_local(address: str) -> bool:
    """Tell whether an address (of `resolve`) is a path of this machine."""
    return "://" not in address


def join(address: str, *parts: str) -> str:
    """Return the address of an object below a folder's."""
    return (address if address.endswith("/") else address + "/") + "/".join(parts)


def parent(address: str) -> str:
    """Return the address of the folder that an object lies in."""
    scheme, separator, rest = address.rpartition("://")
    folder = rest.rpartition("/")[0]
    return f"{scheme}{separator}{folder}" if separator else folder or "/"


def host(address: str) -> str:
    """Return whose storage an address lies in: ``host:port``, a bucket, or ``local``."""
    return "local" if is_local(address) else address.partition("://")[2].partition("/")[0] or address.partition(":")[0]


def link(source: str | os.PathLike[str], destination: str | os.PathLike[str]) -> str:
    """Return the way between two storages, as ``host->host``: what limits are counted by."""
    return f"{host(resolve(source))}->{host(resolve(destination))}"


def check_name(name: str, what: str = "name") -> str:
    """Return ``name`` if an object may be called so; `UsageError` otherwise.

    Allowed is ``[A-Za-z0-9][A-Za-z0-9_.+-]*`` up to 255 characters: it needs no quoting in any shell, URL or file
    system, is never hidden, and cannot leave its folder.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no {what} for an output",
            remedy="use letters, digits and _ . + - only, and begin with a letter or a digit",
        )
    if len(name) > LONGEST:
        raise UsageError(
            f"{name[:40]}… is too long for a {what}: {len(name)} characters", remedy=f"use at most {LONGEST}"
        )
    return name


def refuse_unwritable(address: str) -> str:
    """Return an address that objects can be put into; `UsageError` for plain HTTP."""
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"{address} can be read, but not be written to", remedy="where it speaks WebDAV, name it davs://"
        )
    return address


def final_url(destination: str | os.PathLike[str], name: str) -> str:
    """Return the address at which an output called ``name`` is published. Raises `UsageError` for a hidden folder of ours."""
    folder = refuse_unwritable(resolve(destination))
    if HIDDEN in folder.split("/"):
        raise UsageError(
            f"{folder} is no destination: {HIDDEN} is where uploads wait for their names",
            remedy="name a folder outside of it",
        )
    return join(folder, check_name(name))


def temporary_url(destination: str | os.PathLike[str], process_id: int, nonce: str, n: int, name: str) -> str:
    """Return the address of upload number ``n`` of a process: ``<destination>/.bookkeeper/<process>-<nonce>-<n>/<name>``.

    The nonce is the process's own, made at its start, so that no two uploads of all time share an address.
    """
    if process_id < 0 or n < 0:
        raise UsageError(f"process {process_id} and upload {n} must not be negative")
    folder = check_name(f"{process_id}-{check_name(nonce, 'nonce')}-{n}", "upload folder")
    return join(resolve(destination), HIDDEN, folder, check_name(name))


def parse_upload(folder: str) -> tuple[int, str, int] | None:
    """Return (process, nonce, n) of an upload folder's name, `None` if it is not one."""
    match = _UPLOAD.fullmatch(folder)
    return (int(match.group(1)), match.group(2), int(match.group(3))) if match else None


def parse_temporary(url: str | os.PathLike[str]) -> TemporaryName:
    """Return the parts of a temporary address; `UsageError` if it is not one, so nothing else is ever deleted as such."""
    address = resolve(url)
    head, _, name = address.rpartition("/")
    head, _, folder = head.rpartition("/")
    destination, _, hidden = head.rpartition("/")
    upload = parse_upload(folder)
    if hidden != HIDDEN or upload is None or _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{address} is no temporary of an upload", remedy=f"it would lie in {HIDDEN}/ of its destination"
        )
    return TemporaryName(resolve(destination + "/"), *upload, name)
