"""The proof: read what was published, and count every event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookkeeper import stageout
from bookkeeper.api import Catalog
from bookkeeper.demo.analysis import identity


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found: events and outputs read, the summed histogram (counts, edges in GeV), and what is wrong."""

    events: int
    outputs: int
    histogram: tuple[Any, Any] | None
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def prove(catalog: Catalog, project: str, destination: Path, entries: Mapping[str, int], parked: set[str]) -> Proof:
    """Read the published outputs of a project and count every event of every input file.

    ``entries`` are those of each input file, by name. Each event of a file must be there exactly once; of ``parked`` files
    none may be. Nothing may be visible in ``destination`` but what is published.
    """
    import numpy

    problems: list[str] = []
    outputs = [str(row["url"]) for row in catalog.project(project).outputs()]
    visible = {url for url, _ in stageout.objects(destination)}
    problems += [f"{url} is visible and was not published" for url in sorted(visible - set(outputs))]
    problems += [f"{url} was published and is not there" for url in sorted(set(outputs) - visible)]
    files, numbers, histogram = [], [], None
    for url in sorted(visible & set(outputs)):
        try:
            file, number, counts, edges = _read(url)
        except Exception as error:  # noqa: BLE001 - whatever uproot stumbles over
            problems.append(f"{url} cannot be read: {error}")
            continue
        files.append(file)
        numbers.append(number)
        histogram = (counts if histogram is None else histogram[0] + counts, edges)
    none = numpy.empty(0, dtype=numpy.int64)
    where, what = numpy.concatenate([none, *files]), numpy.concatenate([none, *numbers])
    problems += _compare(where, what, entries, parked)
    return Proof(len(where), len(outputs), histogram, tuple(problems))


def _read(url: str) -> tuple[Any, Any, Any, Any]:
    import uproot

    with uproot.open(url) as file:
        columns = file["events"].arrays(["file", "entry"], library="np")
        counts, edges = file["mass"].to_numpy()
    return columns["file"], columns["entry"], counts, edges


def _compare(where: Any, what: Any, entries: Mapping[str, int], parked: set[str]) -> list[str]:
    """Return in words what is missing, double, or of no input file."""
    import numpy

    problems = []
    order = numpy.argsort(where, kind="stable")
    where, what = where[order], what[order]
    seen = 0
    for name, expected in entries.items():
        number = identity(name)
        begin, end = numpy.searchsorted(where, number, "left"), numpy.searchsorted(where, number, "right")
        found = what[begin:end]
        seen += len(found)
        expected = 0 if name in parked else expected
        distinct = numpy.unique(found)
        missing = expected - int(((distinct >= 0) & (distinct < expected)).sum())
        double = len(found) - len(distinct)
        strange = int(((distinct < 0) | (distinct >= expected)).sum())
        for count, kind in ((missing, "missing"), (double, "there more than once"), (strange, "there and must not be")):
            if count:
                problems.append(f"{name}: {count:,} events are {kind}")
    if seen < len(where):
        problems.append(f"{len(where) - seen:,} events are of no input file")
    return problems
