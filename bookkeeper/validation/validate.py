"""Prove a file: its format, its content, and the tree and entries that it is expected to have."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bookkeeper.errors import UsageError, ValidationError
from bookkeeper.rootfile import main_tree, open_root, prove, trees_of
from bookkeeper.rootfile.door import reason
from bookkeeper.rootfile.source import Fault
from bookkeeper.validation.found import Found
from bookkeeper.validation.judge import Judge

LEVELS = ("quick", "deep")


@dataclass(frozen=True, slots=True, eq=False)
class Validation(Mapping[str, int]):
    """What was proved of a valid file; as a mapping, the entries of its trees."""

    entries: Mapping[str, int]
    level: str
    """``quick``, ``deep``, ``command``, or the name of the validator of a plug-in."""
    size: int
    """Bytes."""
    checks: tuple[str, ...]
    """What was proved, in words."""
    unproved: tuple[str, ...]
    """What could not be, in words."""

    def __getitem__(self, tree: str) -> int:
        return self.entries[tree]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def validate(
    path: str | os.PathLike[str],
    level: str = "deep",
    expect: Mapping[str, object] | None = None,
    *,
    threads: int = 1,
    command: Sequence[str] | None = None,
    timeout: float | None = None,
    judge: Judge | None = None,
) -> Validation:
    """Prove the local file ``path``; the suffix names the format, and the content must agree.

    ``quick`` looks at the beginning, the end and the entries of the trees; ``deep`` reads everything. ``expect`` names a
    ``tree``, and ``entries`` that it must have exactly. ``threads`` share the work of a deep check. ``command``, with
    ``{path}`` among its words, judges instead of the deep check, by exiting 0 within ``timeout`` seconds; it never goes
    through a shell. ``judge`` is a named function that judges instead.

    Raises `ValidationError` naming file, object and fault.
    """
    if level not in LEVELS:
        raise UsageError(f"{level!r} is no level of validation", remedy=f"use one of: {', '.join(LEVELS)}")
    wanted = _expectation(expect)
    name = os.fspath(path)
    size = _size(name)
    deep = level == "deep" and command is None and judge is None
    found = _prove_root(name, deep, threads) if Path(name).suffix.lower() == ".root" else _prove_other(name, deep)
    if command is not None:
        from bookkeeper.validation.command import run_command

        run_command(command, name, timeout)
        found.checks.append(f"`{command[0]}` accepted it")
    if judge is not None:
        judge.ask(name, expect or {})
        found.checks.append(f"validator {judge.name} accepted it")
    if wanted:
        found.checks.append(_meet(name, found.entries, *wanted))
    label = judge.name if judge else level if command is None else "command"
    return Validation(found.entries, label, size, tuple(found.checks), tuple(found.unproved))


def _size(name: str) -> int:
    """Return the size of a file that exists, is a file, and is not empty."""
    try:
        size = Path(name).stat().st_size
    except OSError as error:
        raise ValidationError(f"{name}: it cannot be opened: {reason(error)}") from error
    if not Path(name).is_file():
        raise ValidationError(f"{name}: it is no file")
    if size == 0:
        raise ValidationError(f"{name}: it is empty")
    return size


def _prove_root(name: str, deep: bool, threads: int) -> Found:
    """Prove a ROOT file."""
    with open_root(name) as root:
        if deep:
            proof = prove(root, threads)
            return Found(proof.entries, proof.checks, proof.unproved)
        root.check_end()
        trees = trees_of(root)
    return Found(
        trees,
        ["it ends where its header claims", "its directories and the descriptions of its trees are readable"],
        ["the content of records, baskets and pages was not read"],
    )


def _prove_other(name: str, deep: bool) -> Found:
    """Prove a file of another format; its libraries are loaded only for it."""
    from bookkeeper.validation.formats import prove_format

    return prove_format(name, deep)


def _expectation(expect: Mapping[str, object] | None) -> tuple[str | None, int | None] | None:
    """Return the expected tree and entries."""
    if not expect:
        return None
    tree, entries = expect.get("tree"), expect.get("entries")
    if unknown := set(expect) - {"tree", "entries"}:
        raise UsageError(f"nothing like {', '.join(sorted(unknown))} can be expected", remedy="expect: tree, entries")
    if not (tree is None or isinstance(tree, str)):
        raise UsageError(f"{tree!r} is no name of a tree")
    if entries is not None and (isinstance(entries, bool) or not isinstance(entries, int) or entries < 0):
        raise UsageError(f"{entries!r} is no number of entries")
    return tree, entries


def _meet(name: str, trees: Mapping[str, int], tree: str | None, entries: int | None) -> str:
    """Compare what is expected with what is there; return it in words."""
    try:
        main = main_tree(trees, tree)
    except Fault as fault:
        raise ValidationError(f"{name}: {fault}") from fault
    if main is None:
        raise ValidationError(f"{name}: a tree is expected, and it has none")
    if entries is not None and trees[main] != entries:
        raise ValidationError(f"{name}: {main}: {entries} entries are expected, it has {trees[main]}")
    return f"{main} has the expected {trees[main]} entries" if entries is not None else f"{main} is there"
