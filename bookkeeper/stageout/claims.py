"""Claim a destination for one catalog, so that two catalogs never write into the same results."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress

from bookkeeper.errors import NotAllowed
from bookkeeper.stageout.failures import translated, vanished
from bookkeeper.stageout.names import CLAIM, HIDDEN, join, refuse_unwritable, resolve
from bookkeeper.stageout.stores import Store, store_of

UNREADABLE = "(unreadable)"


def claim(destination: str | os.PathLike[str], catalog_id: str, *, adopt: bool = False) -> None:
    """Make ``destination`` (with its parents) and claim it for the catalog; fine if the catalog has it already.

    The claim is ``<destination>/.bookkeeper/claim``, JSON: ``{"catalog": UUID, "claimed_at": epoch seconds}``. Of two
    catalogs at once one gets it. `NotAllowed` if another catalog has it, unless ``adopt``, which takes it over
    atomically. `StorageError` if the folder cannot be made or written. Call it once, when a project learns of the
    destination; afterwards `require_claim`, which makes nothing.
    """
    address = refuse_unwritable(resolve(destination))
    store = store_of(address)
    with translated("claim", address):
        store.make_folder(join(address, HIDDEN))
        holder = _holder(store, address)
        if holder is None:
            with suppress(FileExistsError):  # another process was first: the claim says for which catalog
                _write(store, address, catalog_id, replace=_is_empty(store, address))
            holder = _holder(store, address)
        if holder != catalog_id and adopt:
            _write(store, address, catalog_id, replace=True)
            holder = _holder(store, address)
    _compare(address, holder, catalog_id)


def require_claim(destination: str | os.PathLike[str], catalog_id: str) -> None:
    """Check that ``destination`` is (still) claimed by the catalog, and make nothing.

    `StorageError` if the claim is gone: the destination vanished, or is not mounted here. `NotAllowed` if it is
    another catalog's by now.
    """
    address = resolve(destination)
    _compare(address, claimed_by(address), catalog_id)


def claimed_by(destination: str | os.PathLike[str]) -> str | None:
    """Return the UUID of the catalog that claimed ``destination``, ``"(unreadable)"`` for a damaged claim, else `None`."""
    address = resolve(destination)
    with translated("read the claim of", address):
        return _holder(store_of(address), address)


def require_standing(store: Store, destination: str) -> None:
    """Raise `StorageError` unless ``destination`` has a claim: an unmounted folder looks like an empty one."""
    if store.look(join(destination, HIDDEN, CLAIM)) is None:
        raise vanished(destination)


def _compare(address: str, holder: str | None, catalog_id: str) -> None:
    if holder is None:
        raise vanished(address)
    if holder != catalog_id:
        raise NotAllowed(
            f"the destination {address} is claimed by catalog {holder}; this one is {catalog_id}",
            remedy="choose another destination; `--adopt` takes this one over, once the other catalog is retired",
        )


def _holder(store: Store, address: str) -> str | None:
    """Return whose claim it is; `None` without one, or with an empty one, which says nothing about anybody."""
    data = store.read_small(join(address, HIDDEN, CLAIM))
    if not data:
        return None
    try:
        content = json.loads(data)
    except ValueError:
        return UNREADABLE
    holder = content.get("catalog") if isinstance(content, dict) else None
    return holder if isinstance(holder, str) and holder else UNREADABLE


def _is_empty(store: Store, address: str) -> bool:
    return store.read_small(join(address, HIDDEN, CLAIM)) == b""


def _write(store: Store, address: str, catalog_id: str, *, replace: bool) -> None:
    content = json.dumps({"catalog": catalog_id, "claimed_at": time.time()}) + "\n"
    store.write_small(join(address, HIDDEN, CLAIM), content.encode(), replace=replace)
