"""A catalog, ROOT files and a spec for the toy pool (`toypool`), as tests of batch jobs need them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bookkeeper
from bookkeeper.remembering import remember
from bookkeeper.spec import Spec, load
from bookkeeper.submit import prepare
from bookkeeper.watching import Babysitter, Standing, Systems
from services.reach import Reach, local
from workbench import to_its_end, until

TOYS = Path(__file__).parent / "toypool"
COPY = "import os, shutil, sys; shutil.copy(sys.argv[1], os.environ['BOOKKEEPER_OUTPUT'])\n"
BLOCKED = (
    "import select\nfrom pathlib import Path\nwhile not Path('go').exists(): select.select([], [], [], 0.02)\n" + COPY
)


class ToyDesk:
    """Six ROOT files, a payload, a spec whose jobs go to the toy pool, and the pool."""

    kind = "toypool"

    def __init__(self, folder: Path, data: Path, reach: Reach = local) -> None:
        self.folder = folder
        shutil.copytree(data, folder / "data")
        self.catalog = bookkeeper.open_catalog(reach(folder / "catalog.db"))
        self.database = self.catalog.database
        self.systems = Systems(self.database)
        self.kind = "toypool"

    @property
    def pool(self) -> Any:
        import toypool

        return toypool.ToyPool(self.database.folder / "toypool")

    def spec(self, payload: str = COPY, *, jobs: int = 3, per: int = 1, executor: str = "", lease: str = "60s") -> Spec:
        (self.folder / "payload.py").write_text(payload)
        (self.folder / "spec.toml").write_text(f"""
[project]
name = "mass"
files = ["data/*.root"]
lease = "{lease}"
[job]
command = ["{sys.executable}", "-S", "payload.py", "{{inputs}}"]
files_per_process = {per}
[output]
name = "m-{{process}}.root"
destination = "out"
validate = "quick"
[executor]
kind = "{self.kind}"
jobs = {jobs}
{executor}
[retry.executor]
base_delay = "0.1s"
[retry.unknown]
base_delay = "0.1s"
""")
        return load(self.folder / "spec.toml")

    def begin(self, payload: str = COPY, **changes: Any) -> Babysitter:
        """Start the project, and return who looks after it."""
        spec = self.spec(payload, **changes)
        prepare(spec, self.database)
        remember(self.database, spec, str(self.folder / "spec.toml"), None)
        return Babysitter(self.database, "mass", spec, self.systems)

    def to_the_end(self, sitter: Babysitter, seconds: float = 300) -> Standing:
        """Look after the request until nothing is left."""
        return until(lambda: one if (one := sitter.step()).over else None, "the end", seconds)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return list(self.catalog.sql(query, parameters))

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows("SELECT state FROM jobs ORDER BY submission_id, number")]

    def running(self) -> list[str]:
        return [row["batch_id"] for row in self.rows("SELECT batch_id FROM jobs WHERE state = 'running'")]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [
            json.loads(row["body"]) for row in self.rows("SELECT body FROM events WHERE kind = ? ORDER BY id", kind)
        ]

    def published(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "out").glob("*.root"))

    def command(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start `bookkeeper` as a process of its own."""
        line = [sys.executable, "-m", "bookkeeper_cli.main", "--catalog", self.catalog.url, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, cwd=self.folder, **options)

    def run(self, *words: str) -> tuple[int, str]:
        """Run `bookkeeper`; return its exit code and what it printed."""
        done = self.command(*words)
        out, err = to_its_end(done)
        return done.returncode, out + err

    def exactly_once(self, files: int = 6) -> None:
        """Hold that every file counts once, in one published output."""
        counted = self.rows(
            "SELECT file_id, count(*) AS n FROM deliveries d JOIN processes p ON p.id = d.process_id"
            " WHERE p.state = 'committed' AND d.state = 'consumed' GROUP BY file_id"
        )
        assert [row["n"] for row in counted] == [1] * files
        urls = [row["final_url"] for row in self.rows("SELECT final_url FROM outputs WHERE state = 'published'")]
        assert sorted(Path(url).name for url in urls) == self.published()


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the toy pool, as an entry point, for this process and those it starts."""
    info = folder / "toypool-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toypool\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[bookkeeper.batch_systems]\ntoypool = toypool:make\n")
    places: Sequence[str] = [str(TOYS), str(folder)]
    for place in places:
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))  # a pool of its own, also behind a server
    yield
