"""DAGs for the tests without DAGMan: the folder of one, its scripts called as DAGMan would, jobs in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bookkeeper.api import open_catalog
from bookkeeper.dagman import folder as folders
from bookkeeper.dagman import scripts
from bookkeeper.dagman.folder import FORMAT, Dag, Node, Place
from journaling import work
from ledgerfaults import Fuse, breakable, broken
from ledgers import World

QUICK = {"retry": {one: {"base_delay": 0.0} for one in ("executor", "unknown", "analysis_crash")}}
"""A policy without back-off."""


class Folder:
    """The folder of a DAG for the project ``p``, one node a partition, or ``groups`` of them."""

    def __init__(self, world: World, path: Path, *, groups: int = 0, **terms: Any) -> None:
        self.world, self.path = world, path / "dag"
        nodes = tuple(
            Node(f"n{number}", None if groups else number)
            for number in range(groups or world.catalog.project("p").summary()["files"])
        )
        said = {"wall": 3600.0, "grace": 3600.0, "later": 1.0, "late": 600.0, "files_per_process": None, **terms}
        self.dag = Dag(
            format=FORMAT,
            id="d",
            catalog=world.database.url,
            project="p",
            destination=str(path / "out"),
            validate="deep",
            adopt=False,
            nodes=nodes,
            **said,
        )
        for node in nodes:
            (self.path / "nodes" / node.name / "journals").mkdir(parents=True)
        (self.path / "dag.json").write_bytes(msgspec.json.encode(self.dag))

    def place(self, node: str) -> Place:
        return Place(self.path, node)

    def pre(self, node: str, dag: str = "all") -> int:
        return scripts.before(self.world.database, self.path, dag, node).code

    def post(self, node: str, returned: int = 0) -> int:
        return scripts.after(self.world.database, self.path, "all", node, returned).code

    def final(self, status: int = 0) -> int:
        return scripts.last(self.world.database, self.path, "all", status).code

    def job(self, node: str, journal: str = "a", **how: Any) -> None:
        """Run the job of a node; its journal comes home."""
        work(self.place(node).ticket, self.place(node).path / "journals" / f"{journal}.journal", **how).close()

    def process(self, node: str) -> int:
        """The process of its ticket."""
        return int(self.place(node).state()["process"])

    def run(self, node: str, journal: str = "a") -> None:
        """A try of a node that goes well."""
        assert self.pre(node) == scripts.GO
        self.job(node, journal)
        assert self.post(node) == scripts.GO


def until_killed(url: str, folder: Path, script: str, n: int) -> None:
    """In a child: run a script of the node ``n0``, and die at the n-th statement."""
    assert folders.read(folder)
    with breakable():
        catalog = open_catalog(url)
        catalog.database.rows("SELECT 1")
        with broken(Fuse(n, "kills")):
            if script == "pre":
                scripts.before(catalog.database, folder, "all", "n0")
            elif script == "post":
                scripts.after(catalog.database, folder, "all", "n0", 0)
            else:
                scripts.last(catalog.database, folder, "all", 0)
