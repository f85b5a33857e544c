"""The queue of the access point: submit a DAG, kill a node, run nodes once more. Through `htcondor2`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bookkeeper.dagman import folder as folders
from bookkeeper.dagman.folder import MAIN, Dag, Node, Place
from bookkeeper.dagman.making import dag_text, read_retries
from bookkeeper.dagman.standing import ACTIVE, look
from bookkeeper.errors import Conflict, ExecutorUnavailable, NotAllowed, UsageError

SUBMITTED: Final = "submitted.json"

OURS: Final = "BookkeeperDag"
DAG_NAME: Final = "BookkeeperDagName"


def submit(folder: Path) -> tuple[str, bool]:
    """Submit the DAG in a folder, or find it in the queue; return its batch id, and whether it was submitted now.

    One that ended incomplete goes on where it was: DAGMan reads the rescue DAG that it wrote. Killed in here, the same
    again finds what is in the queue, by the id of the DAG.
    """
    folder = folder.absolute()
    dag = folders.read(folder)
    with _alone(folder):
        return _submit(folder, dag, MAIN)


def kill(folder: Path, names: Sequence[str], reason: str) -> dict[str, int]:
    """Take nodes out: their jobs are removed, their files given back, and nobody tries them again; the others go on.

    Returns how many jobs were removed, by node. What a job had finished before counts.
    """
    dag = folders.read(folder)
    nodes = [dag.node(name) for name in names]
    views = {one.node: one for one in look(folder).nodes}
    for node in nodes:
        if views[node.name].state == "finished":
            raise NotAllowed(
                f"node {node.name} is finished", remedy="`bookkeeper project reopen` takes back what counts"
            )
    for node in nodes:
        folders.write_json(Place(folder, node.name).killed, {"reason": reason, "at": time.time()})
    found = {}
    for node in nodes:
        found[node.name] = _remove(f'{OURS} == "{dag.id}" && BookkeeperNode == "{node.name}"', reason)
    return found


def resubmit(folder: Path, names: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Run nodes once more that failed or were killed (all of them where none is named); return the batch id and them.

    While the DAG runs, they run as a small DAG of their own beside it: the other nodes go on. After its end, a DAG of
    them alone does the same.
    """
    folder = folder.absolute()
    dag = folders.read(folder)
    with _alone(folder):
        views = {one.node: one for one in look(folder).nodes}
        wanted = [dag.node(name) for name in names] or [one for one in dag.nodes if views[one.name].state == "failed"]
        if not wanted:
            raise NotAllowed(
                "no node of this DAG failed", remedy=f"`bookkeeper dag status {folder}` tells how it stands"
            )
        for node in wanted:
            state = views[node.name].state
            if state in ACTIVE or state == "finished":
                raise NotAllowed(f"node {node.name} is {state}", remedy="resubmit nodes that failed")
        number = len(list(folder.glob("again-*.dag"))) + 1
        name = f"again-{number:03d}"
        text = dag_text(name, folder, dag, tuple(wanted), read_retries(folder))
        for node in wanted:
            Place(folder, node.name).killed.unlink(missing_ok=True)
        folders.write_text(folder / f"{name}.dag", text)
        batch, _ = _submit(folder, dag, name)
        return batch, [node.name for node in wanted]


def _submit(folder: Path, dag: Dag, name: str) -> tuple[str, bool]:
    htcondor2 = _htcondor()
    with _asked():
        schedd = htcondor2.Schedd()
        running = schedd.query(f'{OURS} == "{dag.id}" && JobUniverse == 7', ["ClusterId", DAG_NAME])
        for one in running:
            if one.get(DAG_NAME) == name:
                return str(one["ClusterId"]), False
        if running and name == MAIN:
            raise Conflict(
                f"nodes of {folder} run once more as DAG {running[0]['ClusterId']}",
                remedy="wait for its end, then submit",
            )
        with contextlib.chdir(folder):  # DAGMan looks for the files of a DAG from where it is submitted
            said = htcondor2.Submit.from_dag(f"{name}.dag", {"force": False, "UpdateSubmit": True, "DoRescueFrom": 0})
            said["initialdir"] = str(folder)
            said[f"My.{OURS}"] = f'"{dag.id}"'
            said[f"My.{DAG_NAME}"] = f'"{name}"'
            batch = str(schedd.submit(said).cluster())
    ids = folders.read_json(folder / SUBMITTED)
    folders.write_json(folder / SUBMITTED, {**ids, name: [*ids.get(name, []), batch]})
    return batch, True


def _remove(constraint: str, reason: str) -> int:
    htcondor2 = _htcondor()
    with _asked():
        schedd = htcondor2.Schedd()
        answer = schedd.act(htcondor2.JobAction.Remove, constraint, reason=(reason, 1))
        return int(answer.get("TotalSuccess", 0))


def _htcondor() -> Any:
    dagman = "condor_dagman"
    try:
        import htcondor2
    except ImportError:
        raise UsageError(
            "the Python bindings of HTCondor are not installed here", remedy="pip install 'sam-bookkeeper[htcondor]'"
        ) from None
    import shutil

    if shutil.which(dagman) is None:
        raise UsageError(f"{dagman} is not in $PATH", remedy="do it on an access point of an HTCondor pool")
    return htcondor2


@contextlib.contextmanager
def _asked() -> Iterator[None]:
    import htcondor2

    try:
        yield
    except (htcondor2.HTCondorException, OSError, RuntimeError) as error:
        text = re.sub(r"\s+", " ", str(error))
        raise ExecutorUnavailable(f"HTCondor does not do what it is asked: {text}") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


__all__ = ["Node", "kill", "resubmit", "submit"]
