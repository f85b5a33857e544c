"""Reading ROOT: a scan against uproot's own open, a deep check against reading everything by uproot."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measure import Row, medians, seconds, show
from rootfiles import make_large, root_files

MEGABYTES = 80
ONE_THREAD = {"zlib": 1.1, "zstd": 1.3, "lz4": 2.0}
TWO_THREADS = 2.0


def rows() -> Iterator[Row]:
    """Yield the rows of the scan and of the deep check, by compression."""
    with tempfile.TemporaryDirectory() as folder:
        yield _scan()
        for codec, bound in ONE_THREAD.items():
            path = Path(folder) / f"{codec}.root"
            make_large(path, codec, MEGABYTES)
            yield from _deep(path, codec, bound)
            path.unlink()


def _scan() -> Row:
    """Scan without checksums: entries of every tree, against opening each file and asking each tree."""
    from bookkeeper.scanning import scan

    files = root_files()

    def ours() -> object:
        return sum(sum(record.trees.values()) for record in scan(files, checksum=False))

    def theirs() -> object:
        return sum(map(_entries_by_uproot, files))

    assert ours() == theirs()
    median = medians({"ours": lambda: seconds(ours), "uproot": lambda: seconds(theirs)}, rounds=3)
    return Row("root scan", median["uproot"] / median["ours"], "uproot.open, num_entries of every tree", 20, "higher")


def _entries_by_uproot(path: Path) -> int:
    import uproot

    with uproot.open(path, object_cache=None, array_cache=None) as file:
        kinds = file.classnames(recursive=True, cycle=False)
        return sum(file[name].num_entries for name, kind in kinds.items() if kind in ("TTree", "ROOT::RNTuple"))


def _deep(path: Path, codec: str, bound: float) -> Iterator[Row]:
    """Prove every basket, on one thread and on two, against reading every branch by `uproot.iterate`."""
    import uproot

    from bookkeeper.validation import validate

    def iterate() -> None:
        for _ in uproot.iterate({path: "Events"}, step_size="20 MB", library="np"):
            pass

    contenders = {
        "one": lambda: seconds(lambda: validate(path)),
        "two": lambda: seconds(lambda: validate(path, threads=2)),
        "uproot": lambda: seconds(iterate),
    }
    median = medians(contenders, rounds=5)
    yield Row(f"deep check {codec}", median["uproot"] / median["one"], "uproot.iterate", bound, "higher")
    yield Row(
        f"deep check {codec}, 2 threads", median["uproot"] / median["two"], "uproot.iterate", TWO_THREADS, "higher"
    )


if __name__ == "__main__":
    show(rows())
