"""What a rates run works on: small input files, a catalog, a spec, a site, and the plan of what goes wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import rates_site
from chaos_people import COMMAND
from rates_payload import CORRUPT

import bookkeeper

PROJECT = "rates"
NODES = 8
GROUP = 2
"""Files a process. The larger it is, the more of the waste is the run in company that discovers a bad file, which the bound
leaves out: with 4 the ratio is 1.10 to 1.27."""

LEASE = 60.0
"""Seconds. Nothing waits for one to run out: that a worker was killed is seen by who started it."""
PAYLOAD = Path(__file__).with_name("rates_payload.py")

OF_DELIVERIES = {"transient": 0.03}
OF_PROCESSES = {"stage-out": 0.03, "restart": 0.004}
"""What befalls which share (A. Baranovski et al., "Automated recovery of data-intensive jobs in D0 and CDF using SAM")."""

BAD_FILES = 0.01

FILE_SECONDS = 0.4
BUG_SECONDS = 0.1

SPEC = """
[project]
name = "{project}"
dataset = "all"
lease = {lease}
[job]
command = [{command}, "{{output}}", "{{inputs}}"]
files_per_process = {group}
[output]
name = "names-{{process}}.json"
destination = "{destination}"
validate = "quick"
[executor]
kind = "nodes"
jobs = {nodes}
[plugins]
modules = ["{plugin}"]
[retry]
exclude = "1h"
[retry.transient_io]
base_delay = 0.2
[retry.executor]
base_delay = 0.2
"""
"""Only the waits are shorter than the defaults, as all else is here."""


@dataclass(frozen=True)
class Scene:
    """The folder of a run and what was planned; ``corrupt`` are the files that are, ``turns`` what each turn brings."""

    folder: Path
    seed: int
    files: tuple[str, ...]
    corrupt: dict[str, tuple[float, int]]
    turns: dict[str, list[str]]
    black_hole: str
    typed: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The catalog."""
        return f"sqlite:///{self.folder}/catalog.db"

    @property
    def good(self) -> set[str]:
        """The files that are not corrupt."""
        return set(self.files) - self.corrupt.keys()

    @property
    def log(self) -> Path:
        """What the operator's commands printed."""
        return self.folder / "operator.log"

    def install(self, version: str) -> None:
        """Make a version of the application the one that runs from now on."""
        new = self.folder / "plan" / "new"
        new.write_text(version)
        new.replace(self.folder / "plan" / "version")

    def type(self, *words: str) -> subprocess.Popen[bytes]:
        """Type a command, as the operator."""
        self.typed.append(" ".join(words))
        paths = [str(self.folder / "site"), str(PAYLOAD.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.log.open("ab") as log:
            log.write(f"$ bookkeeper {' '.join(words)}\n".encode())
            log.flush()
            return subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "BOOKKEEPER_CATALOG": self.url, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,
            )

    def journal(self) -> dict[int, dict[str, object]]:
        """Return what happened to which process, as the payload kept it."""
        kept = (self.folder / "plan" / "journal").glob("*.json")
        return {int(path.stem): json.loads(path.read_text()) for path in kept}


def make(folder: Path, seed: int, count: int) -> Scene:
    """Make everything; all from the seed."""
    choose = random.Random(f"rates {seed}")
    files = tuple(f"f{number:04d}.txt" for number in range(count))
    bad = choose.sample(files, max(1, round(BAD_FILES * count)))
    corrupt = {name: (round(choose.random(), 3), choose.randrange(len(CORRUPT))) for name in sorted(bad)}
    least = count * 9 // 10  # what is corrupt takes no turn
    turns = {
        "deliveries": _turns(choose, OF_DELIVERIES, least),
        "processes": _turns(choose, OF_PROCESSES, least // GROUP),
    }
    scene = Scene(folder, seed, files, corrupt, turns, "node5")
    for name in ("in", "out", "plan/journal", "plan/processes", "plan/deliveries", "site/rates-1.dist-info"):
        (folder / name).mkdir(parents=True)
    for name in files:
        (folder / "in" / name).write_text(f"{name} {choose.random()}\n")
    (folder / "site/rates-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: rates\nVersion: 1\n")
    (folder / "site/rates-1.dist-info/entry_points.txt").write_text(rates_site.DRIVER)
    plan = {
        "seed": seed,
        "black_hole": scene.black_hole,
        "bad_version": "2",
        "file_seconds": FILE_SECONDS,
        "bug_seconds": BUG_SECONDS,
        "corrupt": corrupt,
        "turns": scene.turns,
    }
    (folder / "plan" / "plan.json").write_text(json.dumps(plan))
    scene.install("1")
    command = [sys.executable, "-I", "-S", str(PAYLOAD), str(folder / "plan")]
    (folder / "rates.toml").write_text(
        SPEC.format(
            project=PROJECT,
            lease=LEASE,
            command=", ".join(json.dumps(word) for word in command),
            group=GROUP,
            destination=f"{rates_site.PROTOCOL}://{folder}/out",
            nodes=NODES,
            plugin=rates_site.__file__,
        )
    )
    with bookkeeper.create_catalog(scene.url) as catalog:
        catalog.declare_files(bookkeeper.scan([str(folder / "in" / "*.txt")]))
        catalog.define_dataset("all", names=["*"])
    return scene


def _turns(choose: random.Random, rates: dict[str, float], least: int) -> list[str]:
    """Return what every turn brings: the exact share (at least one) of those that are surely taken, then chance."""
    first = [kind for kind, rate in rates.items() for _ in range(max(1, round(rate * least)))]
    first += [""] * (least - len(first))
    choose.shuffle(first)
    return first + choose.choices([*rates, ""], weights=[*rates.values(), 1 - sum(rates.values())], k=9 * least)
