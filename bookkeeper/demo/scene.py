"""The stage of the demonstration: a folder with data, a catalog, a spec, and the plan of what goes wrong where."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bookkeeper
from bookkeeper.api import Catalog
from bookkeeper.demo import data, faults
from bookkeeper.demo.result import Show
from bookkeeper.errors import BookkeeperError, NotFound

PROJECT: Final = "demo"
WORKERS: Final = 4
LEASE: Final = 8.0
GROUPS: Final = 6
"""So many processes the files would need, if nothing went wrong: one for each fault, and one without."""

SPEC: Final = """\
[project]
name = "{project}"
dataset = "{project}"
application = {{ family = "demonstration", name = "mass", version = "1" }}
max_attempts = {attempts}
lease = {lease}

[job]
command = [
  {python}, "-P", "-m", "bookkeeper.demo.analysis",
  "--faults", "faults", "--output", "{{output}}", "{{inputs}}",
]
files_per_process = {group}

[output]
name = "mass-{{process}}.root"
destination = "out"
validate = "deep"
expect = {{ tree = "events", entries = "consumed" }}

[retry.executor]  # a demonstration has no half minute to wait
base_delay = "1s"

[executor]
kind = "local"
jobs = {workers}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is. ``entries`` are those of every declared file, by name; ``damaged`` is the file that
    cannot be read; a good copy of it lies in ``spare``."""

    folder: Path
    catalog: Catalog
    entries: dict[str, int]
    damaged: Path | None
    unreadable: tuple[dict[str, Any], ...]

    @property
    def spec(self) -> Path:
        """The file of the spec."""
        return self.folder / "demo.toml"

    @property
    def destination(self) -> Path:
        """Where the outputs are published."""
        return self.folder / "out"

    @property
    def faults(self) -> Path:
        """The folder of the plan."""
        return self.folder / "faults"


def build(folder: Path, given: Path | None, seed: int, show: Show) -> Scene:
    """Make the data (or take what is in the folder ``given``), declare it, write the spec and the plan.

    Raises `NotFound` where there is no ROOT file to take.
    """
    catalog = bookkeeper.create_catalog(f"sqlite:///{folder / 'bookkeeper.db'}")
    unreadable: list[dict[str, Any]] = []

    def refuse(location: str, error: BookkeeperError) -> None:
        unreadable.append({"file": Path(location).name, "reason": str(error)})

    if given is None:
        paths = data.make_toys(folder / "data", seed)
        show.say(f"made {len(paths)} ROOT files of a Z→μμ toy, {data.EVENTS:,} events each, in {folder / 'data'}")
        copied = None
    else:
        records = list(bookkeeper.scan([given], on_error=refuse))
        paths = [Path(record.locations[0]) for record in records if record.entries]
        if not paths:
            raise NotFound(f"{given} has no ROOT file with events that can be read", remedy="name another folder")
        show.say(f"took the {len(paths)} ROOT files of {given}")
        copied = data.copy_one(paths, folder / "damaged")
        paths += [] if copied is None else [copied]
    records = list(bookkeeper.scan(paths))
    declared = catalog.declare_files(records)
    entries = {record.name: record.entries or 0 for record in records}
    show.say(f"declared {declared.new} files, {sum(entries.values()):,} events: sizes, checksums, trees, entries")
    catalog.define_dataset(PROJECT, files=list(entries))
    group = -(-len(paths) // GROUPS)
    if copied is None and given is None:
        copied = paths[4 * group + 1]
    if copied is not None:
        (folder / "spare").mkdir()
        shutil.copyfile(copied, folder / "spare" / copied.name)
        data.damage(copied)
    plan = _plan([path.name for path in paths if path != copied], group)
    faults.write_plan(folder / "faults", plan)
    scene = Scene(folder, catalog, entries, copied, tuple(unreadable))
    # A file that brings several faults must not be parked for them; else two failures alone are enough to tell.
    attempts = max(2, 1 + max(map(len, plan.values())))
    scene.spec.write_text(
        SPEC.format(
            project=PROJECT,
            attempts=attempts,
            lease=LEASE,
            python=json.dumps(sys.executable),
            group=group,
            workers=WORKERS,
        ),
        encoding="utf-8",
    )
    return scene


def _plan(names: Sequence[str], group: int) -> dict[str, list[str]]:
    """Return which file brings which faults: where there are enough files, each process meets one."""
    plan: dict[str, list[str]] = {}
    for place, kind in zip((1, 2, 3, 5), faults.IN_JOBS, strict=True):
        plan.setdefault(names[place * group % len(names)], []).append(kind)
    return plan
