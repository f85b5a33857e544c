"""ROOT files for tests: small ones in every compression, large ones for benchmarks, and real ones."""

from __future__ import annotations

import os
from pathlib import Path

_REAL = os.environ.get("BOOKKEEPER_ROOT_FILES") or Path(__file__).parent / "data" / "root-files"
CODECS = ("zlib", "lzma", "lz4", "zstd", "none")


def root_files() -> list[Path]:
    """The real files of ``$BOOKKEEPER_ROOT_FILES``, else those of ``tests/data/root-files``."""
    found = sorted(Path(_REAL).glob("*.root"))
    assert found, f"there are no ROOT files in {_REAL}"
    return found


def real_entries(path: Path) -> dict[str, int]:
    """The trees and entries that a real file has, by its name."""
    kinds = {
        "uproot-Zmumu": {"events": 2304},
        "uproot-HZZ": {"events": 2421},
        "uproot-sample": {"sample": 30},
        "nanoAOD": {"Events": 200},
        "Run2012BC": {"Events": 1000},
    }
    return next(trees for beginning, trees in kinds.items() if path.name.startswith(beginning))


def compression(codec: str) -> object:
    """What uproot calls the compression ``codec``."""
    import uproot

    kinds = {"zlib": (uproot.ZLIB, 1), "lzma": (uproot.LZMA, 1), "lz4": (uproot.LZ4, 1), "zstd": (uproot.ZSTD, 3)}
    if codec == "none":
        return None
    kind, level = kinds[codec]
    return kind(level)


def make_small(path: Path, codec: str) -> dict[str, int]:
    """Write a file with a tree of jagged and flat branches, a nested one, an RNTuple and a histogram."""
    import awkward
    import numpy
    import uproot

    random = numpy.random.default_rng(1)
    with uproot.recreate(path, compression=compression(codec)) as file:
        tree = file.mktree("events", {"x": "float64", "n": "int32", "v": "var * float32"})
        for _ in range(3):
            jagged = awkward.Array([[1.5] * (number % 4) for number in range(500)])
            tree.extend({"x": random.integers(0, 99, 500) / 8.0, "n": numpy.arange(500), "v": jagged})
        file.mktree("inner/deeper/more", {"a": "int64"}).extend({"a": numpy.arange(100)})
        ntuple = file.mkrntuple("columns", {"x": numpy.arange(5.0)})
        ntuple.extend({"x": random.integers(0, 9, 500) / 2.0})
        file["histogram"] = numpy.histogram(random.normal(size=100))
    return {"events": 1500, "inner/deeper/more": 100, "columns": 505}


def make_large(path: Path, codec: str, megabytes: int) -> None:
    """Write a tree ``Events`` of twenty float branches, until the file has as many megabytes."""
    import numpy
    import uproot

    random = numpy.random.default_rng(1)
    with uproot.recreate(path, compression=compression(codec)) as file:
        tree = file.mktree("Events", {f"b{number}": "float32" for number in range(20)})
        while path.stat().st_size < megabytes * 1_000_000:
            tree.extend(
                {f"b{number}": (random.integers(0, 1 << 14, 64_000) / 128).astype("float32") for number in range(20)}
            )
