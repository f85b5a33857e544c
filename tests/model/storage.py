"""The destination: what is stored under which name. Writing is not atomic, and an open handle survives a rename."""

from __future__ import annotations

from .rules import Rules
from .state import Content, Folder, Store


def find(folder: Folder, name: str) -> Content | None:
    """What is stored under a name."""
    for present, content in folder:
        if present == name:
            return content
    return None


def put(folder: Folder, name: str, content: Content) -> Folder:
    """Create the object, or replace what is there."""
    return tuple(sorted([*(item for item in folder if item[0] != name), (name, content)]))


def remove(folder: Folder, name: str) -> Folder:
    """Delete the object if it is there."""
    return tuple(item for item in folder if item[0] != name)


def final_name(rules: Rules, process: int) -> str:
    """The published name: after the partition, or after the process."""
    return "out-partition0" if rules.partitioned else f"out-{process}"


def temporary_name(rules: Rules, process: int, writer: str) -> str:
    """The name of an upload; the writer stands for the nonce of its incarnation."""
    return f".bookkeeper/{process}-{writer}" if rules.unique_temporaries else final_name(rules, process) + ".tmp"


def finish_write(rules: Rules, store: Store, name: str, content: Content) -> Store:
    """Complete what was begun under a temporary name, wherever that object is by now; nowhere if it was deleted."""
    if find(store.temporary, name) is not None:
        return Store(put(store.temporary, name, content), store.final)
    final = final_name(rules, content.process)
    if find(store.final, final) == content._replace(whole=False):  # renamed under the open handle
        return Store(store.temporary, put(store.final, final, content))
    return store


def may_publish(rules: Rules, store: Store, final: str) -> bool:
    """Whether publication under this name would be tried."""
    return not rules.never_replace or find(store.final, final) is None


def publish(store: Store, temporary: str, final: str, content: Content, keep: bool = False) -> Store:
    """Give the object its final name: a rename, or a copy that keeps the temporary."""
    left = store.temporary if keep else remove(store.temporary, temporary)
    return Store(left, put(store.final, final, content))
