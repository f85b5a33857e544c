"""The demonstration's analysis on a real batch system: sixty ROOT files, a plan of faults, and the proof at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bookkeeper
from bookkeeper.api import Catalog
from bookkeeper.demo.proof import prove
from workbench import until

FILES = 60
EVENTS = 40
PROJECT = "pool"
PAYLOAD = Path(__file__).parent / "fault" / "pool_payload.py"

SPEC = """\
[project]
name = "pool"
dataset = "pool"
max_attempts = 4
lease = "{lease}s"
[job]
command = [{python}, "-P", {payload}, {plan}, "{{output}}", "{{inputs}}"]
files_per_process = 1
[output]
name = "mass-{{process}}.root"
destination = {out}
validate = "quick"
[retry]
identical = 50
node_failures = 0
[retry.executor]
max_retries = 20
base_delay = "1s"
backoff_factor = 1.2
[retry.transient_io]
max_retries = 50
base_delay = "1s"
backoff_factor = 1.1
[retry.unknown]
max_retries = 20
base_delay = "1s"
[executor]
{executor}
"""


@dataclass
class Scene:
    """The folder, its catalog, and who runs the project."""

    folder: Path
    out: Path
    entries: dict[str, int]
    environment: dict[str, str]
    submitter: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        """The catalog."""
        return f"sqlite:///{self.folder}/bookkeeper.db"

    @property
    def plan(self) -> Path:
        """The folder of the plan."""
        return self.folder / "plan"

    @property
    def log(self) -> str:
        """What the submitter said."""
        return (self.folder / "submit.log").read_text()

    def catalog(self) -> Catalog:
        """Open the catalog."""
        return bookkeeper.open_catalog(self.url)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.catalog() as catalog:
            return catalog.sql(query, parameters)

    def submit(self) -> None:
        """Start ``bookkeeper submit``, which follows the project to its end."""
        with (self.folder / "submit.log").open("ab") as log:
            self.submitter = subprocess.Popen(
                [sys.executable, "-P", "-m", "bookkeeper_cli.main", "--catalog", self.url, "submit", "pool.toml"],
                cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment,
                start_new_session=True,
            )  # fmt: skip

    def reached(self, name: str, seconds: float = 600) -> tuple[int, int, str]:
        """Wait until a job met what is planned for a file; return its payload's pid, its worker's, and its batch id."""
        mark = self.plan / f"{name}.reached"
        until(lambda: mark.exists() or self.fail_if_over(), f"a job that reads {name}", seconds)
        payload, worker = map(int, mark.read_text().split())
        query = "SELECT p.job_id FROM deliveries d JOIN processes p ON p.id = d.process_id JOIN files f ON f.id = d.file_id WHERE f.name = ? ORDER BY p.id"
        (job,) = [row["job_id"] for row in self.rows(query, name)][-1:]
        return payload, worker, job

    def fail_if_over(self) -> bool:
        """Fail where nobody runs the project any more: what is waited for will not come."""
        assert self.submitter is not None
        assert self.submitter.poll() is None, self.log
        return False

    def finished(self, seconds: float = 600) -> None:
        """Wait for the end; fail unless it is complete, without a human command, and each event is there once."""
        assert self.submitter is not None
        try:
            code = self.submitter.wait(seconds)
        except subprocess.TimeoutExpired:
            with self.catalog() as catalog:
                raise AssertionError(f"{catalog.project(PROJECT).status()}\n{self.log[-4000:]}") from None
        assert code == 0, self.log[-4000:]
        with self.catalog() as catalog:
            status = catalog.project(PROJECT).status()
            assert (status.complete, status.committed) == (True, FILES)
            proof = prove(catalog, PROJECT, self.out, self.entries, set())
            assert proof.problems == ()
            assert proof.events == sum(self.entries.values())
            assert catalog.check() == []

    def reasons(self, name: str) -> str:
        """Return all that the history says of a file, in one text."""
        query = (
            "SELECT p.reason FROM deliveries d JOIN processes p ON p.id = d.process_id JOIN files f ON f.id = d.file_id"
            " WHERE f.name = ? AND p.reason IS NOT NULL ORDER BY p.id"
        )
        return " | ".join(row["reason"] for row in self.rows(query, name))

    def stop(self) -> None:
        """End the submitter, if it still runs."""
        if self.submitter is not None and self.submitter.poll() is None:
            self.submitter.kill()
            self.submitter.wait()


def build(
    folder: Path,
    plan: dict[int, str],
    executor: str,
    environment: dict[str, str],
    *,
    lease: int = 20,
    out: Path | None = None,
) -> Scene:
    """Make the files, the catalog, the spec and the plan: what happens to the file of a number."""
    data = folder / "data"
    entries = make_files(data)
    scene = Scene(folder, out or folder / "out", entries, environment)
    scene.plan.mkdir()
    for number, word in plan.items():
        (scene.plan / f"{name_of(number)}.plan").write_text(word)
    with bookkeeper.create_catalog(scene.url) as catalog:
        catalog.declare_files(bookkeeper.scan([data]))
        catalog.define_dataset(PROJECT, files=list(entries))
    text = SPEC.format(
        python=json.dumps(sys.executable), payload=json.dumps(str(PAYLOAD)), plan=json.dumps(str(scene.plan)),
        out=json.dumps(str(scene.out)), lease=lease, executor=executor,
    )  # fmt: skip
    (folder / "pool.toml").write_text(text)
    return scene


def name_of(number: int) -> str:
    """The name of a file."""
    return f"events-{number:02}.root"


def make_files(folder: Path) -> dict[str, int]:
    """Write the files; return their entries by name."""
    import numpy
    import uproot

    folder.mkdir()
    for number in range(FILES):
        mass = numpy.full(EVENTS + number, 60.0 + number)
        with uproot.recreate(folder / name_of(number)) as file:
            file.mktree("events", {"M": "float64"}).extend({"M": mass})
    return {name_of(number): EVENTS + number for number in range(FILES)}
