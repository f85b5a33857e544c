"""The analysis of the demonstration: a mass histogram, and the identity of every event that went into it.

``python -m bookkeeper.demo.analysis --output OUT [--faults DIR] INPUT…``. It is an ordinary program: it reads ROOT files
with uproot, whatever their trees, and writes one. OUT holds the histogram ``mass`` (GeV) and the tree ``events`` with a row
per event: ``file`` (64 bits of the BLAKE2 hash of the input's basename) and ``entry`` (its number in the tree, from 0).

A file that cannot be read is reported `failed`, and nothing of it is in the output. ``--faults`` is what makes it a
demonstration: see `bookkeeper.demo.faults`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bookkeeper.demo import faults

BINS: Final = (60, 60.0, 120.0)
"""Number of bins, lowest and highest mass, in GeV."""

LONGEST: Final = 12
"""No more branches than these are read of a tree that is none of ours."""

MASS: Final = "M"
COMPONENTS: Final = tuple(f"{name}{muon}" for muon in (1, 2) for name in ("E", "px", "py", "pz"))


def main(words: Sequence[str]) -> int:
    """Run the analysis; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bookkeeper.demo.analysis", description="A mass histogram.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--faults", type=Path)
    parser.add_argument("inputs", nargs="+")
    asked = parser.parse_args(words)
    fault = faults.claim(asked.faults, asked.inputs)
    events = []
    for path in asked.inputs:
        try:
            events.append((path, *read(path)))
        except Exception as error:  # noqa: BLE001 - uproot raises whatever a damaged file makes it stumble over
            report(path, "failed", reason=" ".join(str(error).split())[:200])
            continue
        report(path, "consumed", entries=events[-1][1])
    write(asked.output, events)
    faults.suffer(fault, asked.output)
    return 0


def identity(path: str) -> int:
    """Return the number that stands for a file, by its basename."""
    name = path.rpartition("/")[2]
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def read(path: str) -> tuple[int, Any]:
    """Read the largest tree of a file: the number of its entries, and the masses (GeV; none where it has no muons).

    Reads every basket of the branches it looks at.
    """
    import numpy
    import uproot

    with uproot.open(path) as file:
        names = [name for name, kind in file.classnames(cycle=False).items() if "TTree" in kind or "RNTuple" in kind]
        tree = max((file[name] for name in names), key=lambda one: int(one.num_entries))
        entries = int(tree.num_entries)
        known = [name for name in tree.keys(recursive=False) if _is_readable(tree, name)]
        chosen = known if MASS in known or COMPONENTS[0] in known else known[:LONGEST]
        columns = {name: _column(tree, name) for name in chosen}
    if any(len(column) != entries for column in columns.values()):
        raise ValueError(f"a branch has other than {entries} entries")
    if MASS in columns:
        return entries, numpy.asarray(columns[MASS])
    if set(COMPONENTS) <= columns.keys():
        energy, x, y, z = (numpy.asarray(columns[f"{name}1"] + columns[f"{name}2"]) for name in ("E", "px", "py", "pz"))
        return entries, numpy.sqrt(numpy.maximum(energy**2 - x**2 - y**2 - z**2, 0))
    return entries, numpy.empty(0)


def _column(tree: Any, name: str) -> Any:
    try:
        return tree[name].array(library="ak")
    except Exception as error:
        raise ValueError(f"branch {name} of {tree.name} cannot be read: {error}") from error


def _is_readable(tree: Any, name: str) -> bool:
    """Tell whether uproot can interpret a branch (every field of an RNTuple)."""
    interpretation = getattr(tree[name], "interpretation", None)
    return type(interpretation).__name__ not in ("UnknownInterpretation", "AsGrouped")


def write(output: Path, events: Sequence[tuple[str, int, Any]]) -> None:
    """Write the histogram and the identities."""
    import numpy
    import uproot

    number, low, high = BINS
    masses = numpy.concatenate([numpy.empty(0), *(mass for _, _, mass in events)])
    with uproot.recreate(output) as file:
        file["mass"] = numpy.histogram(masses, bins=number, range=(low, high))
        tree = file.mktree("events", {"file": "int64", "entry": "int64"})
        for path, entries, _ in events:
            tree.extend({"file": numpy.full(entries, identity(path)), "entry": numpy.arange(entries)})


def report(path: str, state: str, **more: Any) -> None:
    """Tell bookkeeper what became of a file, where it listens."""
    place = os.environ.get("BOOKKEEPER_REPORT")
    if place:
        with open(place, "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"file": path, "state": state, **more}) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
