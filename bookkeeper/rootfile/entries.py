"""How many entries each tree and RNTuple of a file has, from their descriptions alone."""

from __future__ import annotations

from collections.abc import Mapping

from bookkeeper.rootfile.container import NTUPLES, Key, RootFile
from bookkeeper.rootfile.fallback import entries_by_uproot, tree_by_uproot
from bookkeeper.rootfile.rntuple import NTuple
from bookkeeper.rootfile.source import Fault, Unfamiliar
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


def main_tree(trees: Mapping[str, int], named: str | None) -> str | None:
    """Return the tree that stands for the file: the named one, else the only one, else the largest; None without any.

    `Fault` where the named one is not there.
    """
    if named is None:
        return max(trees, key=lambda path: trees[path], default=None)
    if named not in trees:
        raise Fault(named, f"there is no such tree; there are: {', '.join(trees) or 'none'}")
    return named
