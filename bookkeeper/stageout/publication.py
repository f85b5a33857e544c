"""Give a staged output its final name, replacing nothing; take one back; delete temporaries."""

from __future__ import annotations

from typing import Literal

from bookkeeper.checksums import normalise
from bookkeeper.errors import NotAllowed, PublicationConflict, StorageError, UsageError
from bookkeeper.stageout.claims import require_standing
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.names import HIDDEN, parent, parse_temporary, resolve
from bookkeeper.stageout.stores import Entry, Store, store_of

Verify = Literal["size", "checksum"]
Published = Literal["published", "already"]
PATIENCE = 5  # looks: two publishers need two; more means that something else plays with the names


def publish(
    temp_url: str,
    final_url: str,
    *,
    size: int,
    checksum: str,
    verify: Verify = "size",
    exclusive: bool = False,
) -> Published:
    """Move a staged output to its final name, and return whether this call did it or it was done ``"already"``.

    Size and checksum are the recorded ones. The temporary's size is compared before (with ``verify="checksum"`` all of
    it is read). A final object with the recorded content is success, and a leftover temporary is removed. Calls may be
    repeated and may run at once: on a local file system no name is ever replaced. Behind a URL that is not so; there
    ``exclusive=True`` is the caller's promise that nobody else publishes to this destination meanwhile.

    `PublicationConflict` if something else lies at the final name; nothing is touched. `StorageError` if neither name
    is there (lost, or the destination vanished), or the temporary is not what was recorded. `NotAllowed` behind a URL
    without ``exclusive``.
    """
    recorded = (size, normalise(checksum))
    destination, temporary, final = parse_temporary(temp_url).destination, resolve(temp_url), resolve(final_url)
    if parent(final) != destination:
        raise UsageError(f"{temporary} is no temporary of {final}", remedy="publish within one destination")
    store = store_of(final)
    if store.needs_one_publisher and not exclusive:
        raise NotAllowed(
            f"{final} cannot be published from here: its storage has no rename that never replaces",
            remedy="`bookkeeper check --repair` publishes, one at a time",
        )
    with translated("publish", final):
        for _ in range(PATIENCE):
            # In this order: a temporary that is gone was published before, so its final name must be there now.
            staged, there = store.look(temporary), store.look(final)
            if there is not None:
                return _already(store, temporary, final, staged, there, recorded)
            if staged is None:
                require_standing(store, destination)
                raise StorageError(
                    f"{final} is lost: neither it nor its temporary {temporary} is there",
                    remedy="find who deleted it; `bookkeeper project reopen` frees the files of its process",
                )
            try:
                _prove(store, temporary, staged, recorded, verify)
                store.place(temporary, final)
            except (FileExistsError, FileNotFoundError):
                continue  # a name came or went since the look: another publisher was faster
            if store.needs_one_publisher:
                _prove_placed(store, temporary, final, recorded)
            _drop(store, temporary)
            return "published"
    raise StorageError(f"cannot publish {final}: its names come and go", remedy="find what else works in that folder")


def discard(temp_url: str) -> bool:
    """Delete exactly this temporary and its upload folder if that is empty; return whether there was one.

    `UsageError` if the address is no temporary's. `StorageError` if it cannot be deleted, or the destination vanished:
    what is not seen may come back with its mount.
    """
    names, temporary = parse_temporary(temp_url), resolve(temp_url)
    store = store_of(temporary)
    with translated("delete", temporary):
        require_standing(store, names.destination)
        return _drop(store, temporary)


def remove_final(final_url: str, *, checksum: str) -> bool:
    """Delete a published object whose content is the recorded one; return whether there was one.

    `PublicationConflict` if another content lies there; nothing is touched. `StorageError` if it cannot be deleted, or
    the destination vanished. The object is read whole first; who replaces it by hand in the instant between is not seen.
    """
    recorded, final = normalise(checksum), resolve(final_url)
    if f"/{HIDDEN}/" in final:
        raise UsageError(f"{final} is no published object", remedy="`discard` deletes temporaries")
    store = store_of(final)
    with translated("delete", final):
        there = store.look(final)
        if there is None:
            require_standing(store, parent(final))
            return False
        found = store.measure(final)[1] if there.is_file else "no file"
        if found != recorded:
            raise PublicationConflict(
                f"{final} is not what was published: {found}, recorded is {recorded}; it was left alone",
                remedy="look at the object and move it away, then try again",
            )
        return store.remove(final)


def _already(
    store: Store, temporary: str, final: str, staged: Entry | None, there: Entry, recorded: tuple[int, str]
) -> Published:
    """Answer for a final name that is taken: by the recorded content, or by something else."""
    one_file = staged is not None and there.identity is not None and staged.identity == there.identity
    if not there.is_file or there.size != recorded[0] or not (one_file or store.proof(final) == recorded):
        raise PublicationConflict(f"{final} is taken by another object ({there.size} bytes); it was not overwritten")
    store.settle(final)
    _drop(store, temporary)
    return "already"


def _prove(store: Store, temporary: str, staged: Entry, recorded: tuple[int, str], verify: Verify) -> None:
    """Compare the temporary with what was recorded: its size, or all of it."""
    found = store.measure(temporary) if verify == "checksum" and staged.is_file else (staged.size, recorded[1])
    if not staged.is_file or found != recorded:
        raise StorageError(
            f"{temporary} is not what was staged: {found[0]} bytes, {found[1]}; recorded are {recorded[0]}, {recorded[1]}",
            remedy="do not trust that storage; `bookkeeper project reopen` frees the files of its process",
        )


def _prove_placed(store: Store, temporary: str, final: str, recorded: tuple[int, str]) -> None:
    """Compare the final object with what was recorded: all of a copy, which goes again if it differs; a rename's size."""
    there = store.look(final)
    if store.copies:
        found = store.proof(final)
        if found != recorded:
            store.take_back(final)
    else:
        found = (there.size if there else 0, recorded[1])
    if found != recorded:
        raise StorageError(
            f"{final} did not arrive whole: {found[0]} bytes, {found[1]}; recorded are {recorded[0]}, {recorded[1]}",
            remedy=f"see whether {temporary} is still there, then `bookkeeper check --repair`",
        )


def _drop(store: Store, temporary: str) -> bool:
    """Delete a temporary and its upload folder if that is empty now."""
    was_there = store.remove(temporary)
    store.remove_folder(parent(temporary))
    return was_there
