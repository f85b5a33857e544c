"""How a DAG stands, node by node: read from the files that DAGMan and the scripts write; nobody is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bookkeeper.dagman import folder as folders
from bookkeeper.dagman.folder import MAIN, Place
from bookkeeper.errors import UsageError

ACTIVE: Final = ("idle", "running", "held", "starting", "ending")

STATES: Final = {
    0: "waiting",
    1: "waiting",
    2: "starting",
    3: "idle",
    4: "ending",
    5: "finished",
    6: "failed",
    7: "failed",
}
"""What people call the states of nodes in DAGMan's node status file: its PRE script runs, its POST script, ….."""

DAG_STATES: Final = {
    0: "not started",
    1: "not started",
    2: "starting",
    3: "running",
    4: "ending",
    5: "finished",
    6: "failed",
    7: "failed",
}


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node: its state, how often it was tried, the process of its last ticket, and why it is as it is.

    ``state`` is waiting, starting (its PRE script), idle, running, held, ending (its POST script), finished or failed.
    """

    node: str
    state: str
    partition: int | None = None
    tries: int = 0
    process: int | None = None
    reason: str = ""
    dag: str = MAIN


@dataclass(frozen=True, slots=True)
class View:
    """A DAG: ``state`` is that of DAGMan, as it wrote it at ``at`` (epoch seconds, None where it never did)."""

    project: str
    state: str
    at: float | None
    batch: tuple[str, ...]
    nodes: tuple[NodeView, ...] = ()
    missing: dict[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes are in each state."""
        return dict(Counter(one.state for one in self.nodes))

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "counts": self.counts}


def look(folder: Path) -> View:
    """Return how the DAG in a folder stands. Raises `NotFound`."""
    dag = folders.read(folder)
    names = [MAIN, *sorted(path.stem for path in folder.glob("again-*.dag"))]
    told: dict[str, tuple[str, dict[str, Any]]] = {}
    state, at = "not submitted" if not (folder / "submitted.json").exists() else "submitted", None
    for name in names:
        for ad in status_ads(folder / f"{name}.status"):
            if ad.get("Type") == "NodeStatus":
                told[str(ad["Node"])] = (name, ad)
            elif ad.get("Type") == "DagStatus" and name == MAIN:
                state, at = DAG_STATES.get(int(ad["DagStatus"]), "running"), float(ad["Timestamp"])
    nodes = tuple(_node(folder, one.name, one.partition, told.get(one.name)) for one in dag.nodes)
    ids = folders.read_json(folder / "submitted.json")
    batch = tuple(one for name in names for one in ids.get(name, []))
    return View(dag.project, state, at, batch, nodes, folders.read_json(folder / "missing.json"))


def _node(folder: Path, name: str, partition: int | None, told: tuple[str, dict[str, Any]] | None) -> NodeView:
    place = Place(folder, name)
    said = place.state()
    dag, ad = told or (MAIN, {})
    state = STATES.get(int(ad.get("NodeStatus", 0)), "waiting")
    details = str(ad.get("StatusDetails", ""))
    if state == "idle":
        state = "held" if int(ad.get("JobProcsHeld", 0)) else "running" if details == "not_idle" else "idle"
    if state != "finished" and said.get("decided") == "done":  # DAGMan writes it later, or was killed before
        state = "finished"
    reason = str(said.get("reason", "")) if state not in ("idle", "running") else ""
    if state == "failed" and not reason:
        reason = details
    if place.killed.exists() and state not in ("finished", "failed") and state not in ACTIVE:
        state = "failed"
    return NodeView(name, state, partition, len(said.get("tries", [])), said.get("process"), reason, dag)


def status_ads(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what DAGMan wrote into a node status file; nothing where there is none yet. Raises `UsageError`."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    try:
        import classad2
    except ImportError:
        raise UsageError(
            "the Python bindings of HTCondor are not installed here", remedy="pip install 'sam-bookkeeper[htcondor]'"
        ) from None
    for ad in classad2.parseAds(text):
        yield dict(ad)
