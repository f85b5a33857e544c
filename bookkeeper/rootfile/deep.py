"""The deep proof of a ROOT file: every record, every basket, every page, and that the counts add up."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from bookkeeper.rootfile.container import NTUPLES, RootFile
from bookkeeper.rootfile.entries import described
from bookkeeper.rootfile.pages import pages
from bookkeeper.rootfile.rntuple import NTuple
from bookkeeper.rootfile.source import Fault, Source
from bookkeeper.rootfile.ttree import Branch, Tree
from bookkeeper.rootfile.walk import Records, walk

_BATCH = 32
_SILENT = {
    "zstd": "{count} of the baskets, pages and other objects are compressed by ZSTD without a content checksum: "
    "a flipped bit inside may go unseen",
    "none": "{count} of the baskets, pages and other objects are not compressed and carry no checksum: "
    "a flipped bit inside goes unseen",
}


class Provable(Protocol):
    """Something whose bytes can be proved whole."""

    @property
    def checked(self) -> bool:
        """Whether more than decompression proves it: a checksum of its own, or what it is compared with."""

    def prove(self, source: Source) -> str:
        """Prove it, or raise `Fault`; return its compression."""


@dataclass(slots=True)
class Proof:
    """Entries by tree, what was proved, and what could not be, in words."""

    entries: dict[str, int] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)


def prove(root: RootFile, threads: int = 1) -> Proof:
    """Prove everything that can be; `Fault` at the first thing that is wrong.

    Holds the description of one tree, and one block of at most 16 MiB a thread.
    """
    root.check_end()
    proof, records = Proof(), Records()
    methods = _prove_all(root.source, walk(root, records), threads)
    proof.checks.append(f"{len(records)} records reach from the first byte to the end, and each decompresses")
    _prove_keys(root, records)
    for path, key in root.newest().items():
        if key.class_name in NTUPLES:
            ntuple = NTuple(root.source, key, path)
            methods += _prove_all(root.source, pages(ntuple), threads)
            proof.entries[path] = ntuple.entries()
            proof.checks.append(f"{path}: envelopes match their checksums, pages decompress, elements add up")
        else:
            tree = described(root, path, key)
            proof.unproved += _prove_tree(path, tree, records)
            proof.entries[path] = tree.entries
            proof.checks.append(f"{path}: the baskets of {len(tree.branches)} branches add up to the entries")
    proof.unproved += [text.format(count=methods[kind]) for kind, text in _SILENT.items() if methods[kind]]
    return proof


def _prove_all(source: Source, parts: Iterable[Provable], threads: int) -> Counter[str]:
    """Prove each part, over ``threads`` threads (decompression releases the GIL); count those without a checksum."""

    def prove_batch(batch: list[Provable]) -> Counter[str]:
        found = [(part.prove(source), part.checked) for part in batch]
        return Counter(kind for kind, checked in found if not checked)

    counted: Counter[str] = Counter()
    if threads <= 1:
        for batch in _batches(parts):
            counted += prove_batch(batch)
        return counted
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        batches = _batches(parts)
        waiting = deque(pool.submit(prove_batch, batch) for batch in islice(batches, 2 * threads))
        while waiting:
            counted += waiting.popleft().result()
            waiting.extend(pool.submit(prove_batch, batch) for batch in islice(batches, 1))
    return counted


def _batches(parts: Iterable[Provable]) -> Iterator[list[Provable]]:
    """Group parts, so that threads are not woken for each."""
    rest = iter(parts)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _prove_keys(root: RootFile, records: Records) -> None:
    """Prove that what directories and header refer to are records, and that their heads agree."""
    for path, listed in root.listing():
        if records.find(listed.seek) is None or root.key_at(listed.seek, path) != listed:
            raise Fault(path, f"its directory lists it at byte {listed.seek}, where no such record lies")
    header = root.header
    if header.seek_info:
        found = records.find(header.seek_info)
        if found is None or found[0] != header.bytes_info:
            raise Fault("streamer information", f"the file header refers to byte {header.seek_info}: it is not there")


def _prove_tree(path: str, tree: Tree, records: Records) -> list[str]:
    """Prove that the baskets of each branch add up to the tree's entries; return what is kept elsewhere."""
    if tree.entries and not tree.branches:
        raise Fault(path, f"{tree.entries} entries are claimed, and no branch holds them")
    elsewhere = [branch for branch in tree.branches if branch.elsewhere]
    for branch in tree.branches:
        if not branch.elsewhere:
            _prove_branch(f"{path}: branch {branch.name}", branch, tree.entries, records)
    return [f"{path}: branch {branch.name} is kept in the file {branch.elsewhere}" for branch in elsewhere]


def _prove_branch(thing: str, branch: Branch, entries: int, records: Records) -> None:
    """Prove that the baskets exist, follow each other, and end at the tree's entries."""
    embedded = deque(branch.embedded)
    reached = branch.first_entry
    for place, (seek, nbytes, first) in enumerate(zip(branch.seeks, branch.nbytes, branch.first_entries, strict=True)):
        if first != reached:
            raise Fault(thing, f"basket {place} starts at entry {first}, the one before ends at {reached}")
        if not seek and embedded:  # this one is kept inside the tree
            reached += embedded.popleft()
            continue
        found = records.find(seek)
        if found is None or found[0] != nbytes or found[1] < 0:
            raise Fault(thing, f"basket {place} should be {nbytes} bytes at byte {seek}: no such basket lies there")
        reached += found[1]
    reached += sum(embedded)
    if branch.has_branches and not branch.seeks and not branch.embedded:
        return
    if reached != entries or branch.entries not in (reached, reached - branch.first_entry):
        raise Fault(thing, f"its baskets hold entries up to {reached}, it claims {branch.entries}, the tree {entries}")
