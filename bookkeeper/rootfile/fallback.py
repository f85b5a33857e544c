"""What uproot says where our own reader meets a version that it does not know."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from bookkeeper.rootfile.source import Fault
from bookkeeper.rootfile.ttree import Branch, Tree


def _ask(location: str, path: str, question: Callable[[Any], Any]) -> Any:
    """Open ``location`` by uproot and ask about the object ``path``; `Fault` where uproot fails."""
    import uproot

    try:
        with uproot.open(location, object_cache=None, array_cache=None) as file:
            return question(file[path])
    except Exception as error:  # uproot raises whatever its parts raise
        raise Fault(path, f"neither our reader nor uproot can read it: {type(error).__name__}: {error}") from error


def entries_by_uproot(location: str, path: str) -> int:
    """Return the entries of a tree or RNTuple."""
    return int(_ask(location, path, lambda found: found.num_entries))


def tree_by_uproot(location: str, path: str) -> Tree:
    """Return a tree with the tables of all its branches."""
    tree: Tree = _ask(
        location, path, lambda found: Tree(int(found.num_entries), [_branch(b) for b in found.itervalues()])
    )
    return tree


def _branch(branch: Any) -> Branch:
    """Translate one branch of uproot's."""
    written = int(branch.member("fWriteBasket"))

    def table(name: str) -> array[int]:
        return array("q", [int(number) for number in branch.member(name)[:written]])

    return Branch(
        name=branch.name,
        entries=int(branch.member("fEntries")),
        first_entry=int(branch.member("fFirstEntry", none_if_missing=True) or 0),
        seeks=table("fBasketSeek"),
        nbytes=table("fBasketBytes"),
        first_entries=table("fBasketEntry"),
        embedded=[int(basket.num_entries) for basket in branch.embedded_baskets],
        elsewhere=str(branch.member("fFileName", none_if_missing=True) or ""),
        has_branches=bool(branch.branches),
    )
