"""What must be true after a rates run, and what it cost."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import rates_site
from rates_scene import NODES, PROJECT, Scene

from bookkeeper import nodes
from bookkeeper.api import Catalog
from bookkeeper.check import check

RIGHT = {
    "transient": ("transient_io", "analysis"),
    "stage-out": ("transient_io", "output-storage"),
    "restart": ("executor", None),
    "corrupt": ("corrupted_input", "analysis"),
    "bug": ("configuration", "analysis"),
}
"""The category, and the step, that a failure of each kind must be seen as."""

BLACK_HOLE = (("transient_io", "analysis"), ("configuration", "analysis"))
"""The same for each wording of the black hole: CVMFS may come back, a command that is missing does not."""

FAILED = """
SELECT s.process_id, s.node, s.delivered, s.started_at, s.ended_at, s.wall_time_s, s.reason,
       f.category, f.rule, f.step, f.fingerprint
  FROM process_summary s LEFT JOIN failures f ON f.process_id = s.process_id
 WHERE s.state = 'rolled_back' AND s.delivered > 0 ORDER BY s.started_at, s.process_id
"""

GIVEN = "SELECT file FROM consumption WHERE process_id = {process}"

Row = dict[str, Any]


@dataclass
class Account:
    """What failed, and what it cost in seconds of wall time: all of it, and what of it could not be avoided, by kind."""

    processes: int = 0
    failed: list[Row] = field(default_factory=list)
    waste: Counter[str] = field(default_factory=Counter)
    unavoidable: Counter[str] = field(default_factory=Counter)

    @property
    def ratio(self) -> float:
        """Waste in units of what could not be avoided."""
        return self.waste.total() / (self.unavoidable.total() or math.nan)


def account(scene: Scene, catalog: Catalog) -> Account:
    """Return what failed and what it cost; `rates.py` says how it is computed."""
    journal = scene.journal()
    found = Account(processes=catalog.sql("SELECT count(*) AS n FROM processes WHERE delivered > 0")[0]["n"])
    seen: set[tuple[str, str]] = set()
    for row in catalog.sql(FAILED):
        happened = journal.get(row["process_id"], {})
        row |= {"kind": happened.get("kind", "unplanned"), "file": happened.get("file"), "said": happened.get("said")}
        found.failed.append(row)
        kind = row["kind"]
        found.waste[kind] += row["wall_time_s"]
        if kind in ("transient", "stage-out"):
            found.unavoidable[kind] += row["wall_time_s"]
        elif kind == "restart":
            found.unavoidable[kind] += happened["at"] - row["started_at"]  # type: ignore[operator]
        elif kind == "corrupt" and row["delivered"] == 1:
            nodes_of = [node for name, node in seen if name == row["file"]]
            if len(nodes_of) < 2 and row["node"] not in nodes_of:
                found.unavoidable[kind] += row["wall_time_s"]
                seen.add((row["file"], row["node"]))
        elif kind == "bug" and ("", row["node"]) not in seen:
            found.unavoidable[kind] += row["wall_time_s"]
            seen.add(("", row["node"]))
    return found


def wrong(scene: Scene, catalog: Catalog, found: Account, limit: float) -> list[str]:
    """Return everything that is not as it must be, in words."""
    return [
        *_published(scene, catalog),
        *_parked(scene, catalog, found),
        *_excluded(scene, catalog),
        *_explained(scene, found),
        *_happened(scene, found),
        *_soundness(catalog),
        *_waste(found, limit),
    ]


def _published(scene: Scene, catalog: Catalog) -> Iterator[str]:
    """Each good file is exactly once in what is published, which is all that is to be seen."""
    outputs = {row["url"].removeprefix(f"{rates_site.PROTOCOL}://") for row in catalog.project(PROJECT).outputs()}
    read = Counter(name for url in outputs for name in json.loads(Path(url).read_text()))
    for problem, names in (
        ("LOST", scene.good - read.keys()),
        ("DUPLICATED", {name for name, times in read.items() if times > 1}),
        ("INVENTED", read.keys() - scene.good),
    ):
        if names:
            yield f"{problem}: {len(names)}, for example {', '.join(sorted(names)[:5])}"
    listed = {str(path) for path in (scene.folder / "out").iterdir() if path.name != ".bookkeeper"}
    if listed != outputs:
        yield f"to be seen and not published {listed - outputs}, published and not there {outputs - listed}"


def _parked(scene: Scene, catalog: Catalog, found: Account) -> Iterator[str]:
    """The corrupt files are parked, for what was printed of them; nothing else is left."""
    left = {row["file"]: row for row in catalog.project(PROJECT).uncommitted()}
    for what, names in (
        ("not parked", scene.corrupt.keys() - left.keys()),
        ("left", left.keys() - scene.corrupt.keys()),
    ):
        for name in sorted(names)[:5]:
            yield f"{len(names)} files are {what}, for example {name}: {left.get(name, {}).get('reason')}"
    for name in left.keys() & scene.corrupt.keys():
        row = left[name]
        said = {str(one["said"]) for one in found.failed if one["kind"] == "corrupt" and one["file"] == name}
        if row["state"] != "parked" or not any(words in row["reason"] for words in said):
            yield f"{name} is {row['state']}: {row['reason']!r}; it printed {sorted(said)}"


def _excluded(scene: Scene, catalog: Catalog) -> Iterator[str]:
    excluded = nodes.excluded(catalog.database)
    if [row["node"] for row in excluded] != [scene.black_hole] or not all(row["reason"] for row in excluded):
        yield f"excluded are {excluded}; the black hole is {scene.black_hole}"


def _explained(scene: Scene, found: Account) -> Iterator[str]:
    """Every failure was planned, and is seen as what it is."""
    right = {**RIGHT, "black hole": BLACK_HOLE[scene.seed % len(BLACK_HOLE)]}
    for row in found.failed:
        if (row["category"], row["step"]) != right.get(row["kind"]):
            yield f"process {row['process_id']} ({row['kind']}) is seen as {row['category']} by {row['rule']}: {row['reason']}"


def _happened(scene: Scene, found: Account) -> Iterator[str]:
    """What was planned for the turns happened, and the bug met somebody."""
    happened = Counter(row["kind"] for row in found.failed)
    for of, kinds in (("processes", ("stage-out", "restart")), ("deliveries", ("transient",))):
        taken = Counter(scene.turns[of][int(path.name)] for path in (scene.folder / "plan" / of).iterdir())
        for kind in kinds:
            # Two deliveries of one process may both be to fail: the first does.
            if not taken[kind] / 2 <= happened[kind] <= taken[kind] or not happened[kind]:
                yield f"{taken[kind]} {of} were to suffer {kind}, {happened[kind]} processes did"
    for kind in ("bug", "black hole"):
        if not happened[kind]:
            yield f"nobody met the {kind}: this run proves little"
    if happened["bug"] > 2 * NODES:
        yield f"{happened['bug']} processes met the bug: that is more than two on each node"


def _soundness(catalog: Catalog) -> Iterator[str]:
    """`check` has nothing to say, not even a note."""
    fsspec.register_implementation(rates_site.PROTOCOL, rates_site.Flaky, clobber=True)
    for finding in check(catalog.database, checksum=True, full=True):
        yield f"check: {finding.severity}: {finding.message}"


def _waste(found: Account, limit: float) -> Iterator[str]:
    if not found.ratio <= limit:
        yield f"waste is {found.ratio:.2f} of the unavoidable, more than {limit}"
