"""How many entries each tree and RNTuple of a file has, from their descriptions alone."""

from __future__ import annotations

from bookkeeper.rootfile.container import NTUPLES, Key, RootFile
from bookkeeper.rootfile.fallback import entries_by_uproot, tree_by_uproot
from bookkeeper.rootfile.rntuple import NTuple
from bookkeeper.rootfile.source import Unfamiliar
from bookkeeper.rootfile.ttree import Tree, entries_of, tree_of


def trees_of(root: RootFile) -> dict[str, int]:
    """Return the entries of every tree and RNTuple by path; of several cycles, the newest."""
    return {path: _entries(root, path, key) for path, key in root.newest().items()}


def _entries(root: RootFile, path: str, key: Key) -> int:
    try:
        if key.class_name in NTUPLES:
            return NTuple(root.source, key, path).entries()
        return entries_of(root.source, key, path)
    except Unfamiliar:
        return entries_by_uproot(root.source.name, path)


def described(root: RootFile, path: str, key: Key) -> Tree:
    """Return a tree with the tables of its branches, by uproot where its version is not one of ours."""
    try:
        return tree_of(root.source, key, path)
    except Unfamiliar:
        return tree_by_uproot(root.source.name, path)
