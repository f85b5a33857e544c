"""What a chaos run works on: small input files with events, a catalog, a spec, and the plan of faults."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import bookkeeper

PROJECT = "chaos"
LEASE = 2.0
MAX_WALL = 8.0
PAYLOAD = Path(__file__).with_name("chaos_payload.py")

FAULTS = {
    "segfault": 4, "exit": 4, "truncate": 4, "silent": 4, "half": 3, "hang": 1, "stop-payload": 1, "kill-worker": 4,
    "kill-guardian": 2, "terminate-worker": 2, "interrupt-worker": 2, "freeze-worker": 3, "kill-late": 8,
    "freeze-late": 4, "kill-uploading": 4, "freeze-uploading": 6, "kill-publishing": 4, "freeze-publishing": 2, "terminate-late": 3, "skip": 2, "fail": 2, "unreported": 1, "miscount": 2, "stranger": 1,
    "nonsense": 1, "torn": 2,
}  # fmt: skip
"""What may happen to a job, and how often beside the others."""

WELL = 0.6
"""The share of files to which nothing happens at all, where files share a process."""

SPEC = """
[project]
name = "{project}"
dataset = "all"
max_attempts = 2
lease = {lease}
max_wall = {max_wall}
[job]
command = [{command}, "{{output.ids}}", "{{output.counts}}", "{{inputs}}"]
{delivery}
[[output]]
key = "ids"
name = "ids-{number}.json"
destination = "out"
[[output]]
key = "counts"
name = "counts-{number}.json"
destination = "counts"
[retry]
identical = 8
node_failures = 0
[retry.executor]
max_retries = 20
base_delay = 0.1
backoff_factor = 1.2
[retry.transient_io]
max_retries = 20
base_delay = 0.1
backoff_factor = 1.2
[executor]
jobs = {workers}
"""


@dataclass(frozen=True)
class Scene:
    """The folder of a run and what is in it; ``events`` are those of each input file."""

    folder: Path
    seed: int
    workers: int
    partitioned: bool
    events: dict[str, list[str]]
    faults: dict[str, list[tuple[str, float]]]

    @property
    def url(self) -> str:
        """The catalog."""
        return f"sqlite:///{self.folder}/catalog.db"

    @property
    def spec(self) -> Path:
        """The spec."""
        return self.folder / "chaos.toml"

    def path(self, name: str) -> Path:
        """A folder of the scene."""
        return self.folder / name


def make(folder: Path, seed: int, files: int, workers: int) -> Scene:
    """Make everything; all from the seed."""
    choose = random.Random(f"scene {seed}")
    events = {f"f{number:04d}.txt": _events(choose, number) for number in range(files)}
    group = choose.choice([3, 5, 8]) if files > 100 else 3
    partitioned = choose.random() < 0.3
    faults = _faults(choose, list(events), group)
    scene = Scene(folder, seed, workers, partitioned, events, faults)
    for name in ("in", "plan/happened", "plan/frozen", "operators", "scratch"):
        (folder / name).mkdir(parents=True)
    for name, found in events.items():
        (folder / "in" / name).write_text("\n".join(found) + "\n")
    (folder / "plan" / "faults.json").write_text(json.dumps(faults))
    by = f"partition_by = {{ files = {group} }}" if partitioned else f"files_per_process = {group}"
    command = [sys.executable, "-I", "-S", str(PAYLOAD), str(folder / "plan")]
    scene.spec.write_text(
        SPEC.format(
            project=PROJECT,
            lease=LEASE,
            max_wall=MAX_WALL,
            command=", ".join(json.dumps(word) for word in command),
            delivery=by,
            number="{process}",
            workers=workers,
        )
    )
    _declare(scene)
    return scene


def _events(choose: random.Random, number: int) -> list[str]:
    return [f"{number}:{event}" for event in range(choose.choice([1, 2, 5, 20, 300]))]


def _faults(choose: random.Random, names: list[str], group: int) -> dict[str, list[tuple[str, float]]]:
    """Return what happens to which files: a few of them are so bad that they will be parked, and parked again."""
    ill = choose.sample(names, max(len(FAULTS) // 2, int(len(names) * (1 - WELL) / group * 2)))
    worst, most = (3, 5) if len(names) > 100 else (1, 3)
    counts = [most if place < worst else choose.choice([1, 1, 1, 2]) for place in range(len(ill))]
    kinds = list(FAULTS)  # each at least once, where there is room for them all
    choose.shuffle(kinds)
    kinds += choose.choices(list(FAULTS), weights=list(FAULTS.values()), k=sum(counts))
    return {
        name: [(kinds.pop(0), choose.uniform(0.0, 0.15)) for _ in range(count)]
        for name, count in zip(ill, counts, strict=True)
    }


def _declare(scene: Scene) -> None:
    with bookkeeper.create_catalog(scene.url) as catalog:
        catalog.declare_files(
            {
                "name": record.name,
                "size": record.size,
                "checksum": record.checksum,
                "entries": len(scene.events[record.name]),
                "locations": list(record.locations),
            }
            for record in bookkeeper.scan([str(scene.folder / "in" / "*.txt")])
        )
        catalog.define_dataset("all", names=["*"])
