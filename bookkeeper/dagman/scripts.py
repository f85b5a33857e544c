"""What DAGMan runs around the job of a node, and at the end. Each decision is read off the ticket and the catalog anew.

========  ==================================================================================================
script    killed at any instruction, repeated, or doubled
========  ==================================================================================================
PRE       a ticket that was lent and not used is used; the draft of one is finished; of one whose job ran and left no
          end, the files are given back first. What was committed is not done again: the node is skipped
POST      takes in the journals again: the same verdict. Not run at all, the next PRE, or the FINAL, does its part
FINAL     the same again
========  ==================================================================================================

A job that ran twice leaves two journals of one ticket: the first to be taken in decides. A journal that comes late, after
its files were given back, is refused, and what it stored is deleted. DAGMan's own belief decides nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bookkeeper import projects, recovery
from bookkeeper.catalog import Database
from bookkeeper.dagman import folder as folders
from bookkeeper.dagman.ended import Ended, last_job
from bookkeeper.dagman.folder import Dag, Node, Place
from bookkeeper.dagman.left import partition_left
from bookkeeper.errors import BookkeeperError, CatalogError, Incomplete, NotAllowed, NothingToDo, Paused
from bookkeeper.journal import Ingested, SignedTicket, Verdict, ingest, ticket, tickets
from bookkeeper.ledger import ledger_of
from bookkeeper.protocol import Fate, ProcessKey
from bookkeeper.publishing import publish_pending

GO: Final = 0
"""PRE: submit the job. POST: the node is done."""
SKIP: Final = 80
"""PRE: nothing is left to do for this node; it is done (``PRE_SKIP``)."""
NEVER: Final = 81
"""The node is not to be tried again (``UNLESS-EXIT``)."""
LATER: Final = 82
"""Nothing can be decided now: DAGMan starts the script again after a while, and nothing waits in memory (``DEFER``)."""
AGAIN: Final = 83
"""POST: the node is to be tried again."""

REMOVED: Final = 4
"""``$DAG_STATUS`` of a DAG that a person removed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a script exits with, and why."""

    code: int
    reason: str = ""


def before(database: Database, folder: Path, dag_name: str, name: str) -> Decision:
    """PRE: see that the node has a ticket for its next try."""
    dag = folders.read(folder)
    script = _Script(database, folder, dag, dag.node(name), dag_name)
    with script.place.alone():
        return script.told("PRE", script.before)


def after(database: Database, folder: Path, dag_name: str, name: str, returned: int) -> Decision:
    """POST: take in what the job left, and decide."""
    dag = folders.read(folder)
    script = _Script(database, folder, dag, dag.node(name), dag_name)
    with script.place.alone():
        return script.told("POST", lambda: script.after(returned))


def last(database: Database, folder: Path, dag_name: str, dag_status: int) -> Decision:
    """FINAL: take in what came late, publish, end what is complete; else name what is missing, and recover it."""
    dag = folders.read(folder)
    for node in dag.nodes:
        script = _Script(database, folder, dag, node, dag_name)
        if script.place.ticket.exists():
            with script.place.alone():
                script.clear()
    publish_pending(database, dag.project)
    now = projects.status(database, dag.project)
    if now.complete:
        if now.open_project is not None:
            projects.finish(database, now.open_project)
        folders.write_json(folder / "missing.json", {"project": dag.project, "files": []})
        return Decision(GO, f"all {now.files} files are committed, and their outputs published")
    missing = [
        {"file": row["file"], "state": row["state"], "reason": row["reason"]}
        for row in recovery.uncommitted(database, dag.project)
    ]
    recovered = None
    if now.available and now.open_state == "open" and dag_status != REMOVED and not _underway(folder, dag, dag_name):
        recovered = recovery.recover(database, dag.project)
    said = {"project": dag.project, "recovery": recovered, "unpublished": now.unpublished, "files": missing}
    folders.write_json(folder / "missing.json", said)
    reason = f"{now.files - now.committed} of {now.files} files are not committed ({now.parked} parked)"
    return Decision(Incomplete.exit_code, reason + (f"; {recovered} takes them up" if recovered else ""))


def _underway(folder: Path, dag: Dag, dag_name: str) -> bool:
    """Tell whether another DAG of this folder has nodes to run, or to try again: it is the last, then."""
    for node in dag.nodes:
        said = Place(folder, node.name).state()
        if not said and dag_name != folders.MAIN:
            return True
        if said and said.get("dag") != dag_name and said.get("decided") not in ("done", "failed"):
            return True
    return False


class _Script:
    """One script of one node, that has the node for itself."""

    def __init__(self, database: Database, folder: Path, dag: Dag, node: Node, dag_name: str) -> None:
        self.database, self.dag, self.node, self.dag_name = database, dag, node, dag_name
        self.place = Place(folder, node.name)
        self.ledger = ledger_of(database)
        self.verdicts: list[Ingested] = []
        self.gave_back = ""

    def told(self, script: str, decide: Any) -> Decision:
        """Decide, and write it down for people."""
        try:
            decision: Decision = decide()
        except CatalogError as error:  # the catalog is away: nothing is lost
            return Decision(LATER, str(error))
        words = {GO: "done" if script == "POST" else "lent", SKIP: "done", NEVER: "failed", AGAIN: "again"}
        self.place.write(
            script=script, decided=words.get(decision.code, "waits"), reason=decision.reason, at=time.time()
        )
        return decision

    def before(self) -> Decision:
        if (killed := self._killed()) is not None:
            return Decision(NEVER, killed)
        signed = self._ticket()
        if signed is not None:
            fate = self._settle(signed)
            if fate is Fate.COMMITTED and self.node.partition is not None:
                return Decision(SKIP, f"process {signed.ticket.process} is committed")
            if fate is Fate.LIVE and self._waits(signed):
                return Decision(LATER, self._said(signed))
            if fate is Fate.LIVE and self._unused(signed):
                self.place.write(dag=self.dag_name)
                return Decision(GO, f"process {signed.ticket.process} was lent its files before")
            if fate is Fate.LIVE:
                self._give_back(signed, last_job(self.place.path / "job.log"))
        return self._lend()

    def after(self, returned: int) -> Decision:
        signed = self._ticket()
        if signed is None:  # the PRE script that lends it always comes before
            return Decision(AGAIN, "it had no ticket")
        if (killed := self._killed()) is not None and not self.place.finished():
            self._give_back(signed, Ended(), killed)  # before its journal says that it failed: it did not
        fate = self._settle(signed)
        if fate is Fate.LIVE and self._waits(signed):
            return Decision(LATER, self._said(signed))
        if fate is Fate.LIVE:
            if returned == 0 and killed is None and self._late(signed):
                return Decision(LATER, "its job ended well, and its journal has not come yet")
            ended = last_job(self.place.path / "job.log").returned(returned)
            fate = self._give_back(signed, ended, killed)
        if fate is Fate.COMMITTED:
            return self._committed(signed)
        return self._ruled(signed) if killed is None else Decision(NEVER, killed)

    def clear(self) -> None:
        """At the end: take in what there is; where this DAG had the ticket, its job is over, and holds nothing any more."""
        signed = self._ticket()
        if signed is None:
            return
        fate = self._settle(signed)
        if fate is Fate.LIVE and not self._waits(signed) and self.place.state().get("dag") == self.dag_name:
            self._give_back(signed, last_job(self.place.path / "job.log"), self._killed())

    # -- what became of a ticket ---------------------------------------------------------------------------------------

    def _ticket(self) -> SignedTicket | None:
        return tickets.read(self.place.ticket) if self.place.ticket.exists() else None

    def _settle(self, signed: SignedTicket) -> Fate:
        """Take in every journal that came home, of whatever try; tell what became of the newest ticket's process."""
        self.verdicts = ingest(self.database, self.place.journals())
        return self.ledger.fate(ProcessKey(signed.ticket.process, signed.token))

    def _of(self, signed: SignedTicket) -> list[Ingested]:
        return [one for one in self.verdicts if one.process == signed.ticket.process]

    def _waits(self, signed: SignedTicket) -> bool:
        """Tell whether a journal is there that counts, but for a storage that cannot be reached now."""
        return any(one.verdict is Verdict.WAITING for one in self._of(signed))

    def _unused(self, signed: SignedTicket) -> bool:
        """Tell whether no job has begun with a ticket, and there is time enough for one."""
        return not self._of(signed) and signed.ticket.expires_at - time.time() >= self.dag.wall

    def _late(self, signed: SignedTicket) -> bool:
        """Tell whether the journal of a job that ended well may still come: a shared folder shows it late."""
        state, process = self.place.state(), signed.ticket.process
        since = state.get("late", {}).get(str(process), time.time())
        self.place.write(late={str(process): since})
        return bool(time.time() - since < self.dag.late)

    def _said(self, signed: SignedTicket) -> str:
        return next((one.reason for one in self._of(signed) if one.reason), "")

    def _give_back(self, signed: SignedTicket, ended: Ended, killed: str | None = None) -> Fate:
        """Roll back a process whose job is over and left no end record. Should the job live after all, it is fenced."""
        reason = killed or ended.words()
        self.gave_back = reason
        counted = killed is None and not ended.by_person
        evidence = ended.evidence() if counted else None
        key = ProcessKey(signed.ticket.process, signed.token)
        return self.ledger.roll_back(key, reason, counted=counted, evidence=evidence)

    def _killed(self) -> str | None:
        said = folders.read_json(self.place.killed)
        return str(said.get("reason") or "killed by a person") if self.place.killed.exists() else None

    # -- what is next --------------------------------------------------------------------------------------------------

    def _committed(self, signed: SignedTicket) -> Decision:
        reason = f"process {signed.ticket.process} is committed"
        if self.node.partition is None and projects.status(self.database, self.dag.project).available:
            others = (Place(self.place.path.parent.parent, one.name) for one in self.dag.nodes)
            if all(other.ticket.exists() for other in others):  # nobody else will come for what is left
                return Decision(AGAIN, f"{reason}; it takes more of what is left")
        return Decision(GO, reason)

    def _ruled(self, signed: SignedTicket) -> Decision:
        """Decide after a roll back: what follows from it was ruled in its transaction, by the policy of the request."""
        row = self.gave_back or self._said(signed) or f"process {signed.ticket.process} was rolled back"
        now = projects.status(self.database, self.dag.project)
        if now.open_state == "paused":
            return Decision(NEVER, f"{row}; the project is paused: {now.pause_reason}")
        if self.node.partition is not None:
            left = partition_left(self.database, self.dag.project, self.node.partition)
            if left.parked:
                return Decision(NEVER, left.reason or row)
            return Decision(GO if left.committed == left.files else AGAIN, row)
        if now.available:
            return Decision(AGAIN, row)
        return Decision(NEVER if now.parked else GO, row)

    def _lend(self) -> Decision:
        """Lend the node its files. Killed in between, the draft or the new ticket is found, and used."""
        now = projects.status(self.database, self.dag.project)
        if now.open_project is None:
            return self._nothing("the project has ended")
        if self.place.next.exists():
            waiting = tickets.read(self.place.next)
            if self.ledger.fate(ProcessKey(waiting.ticket.process, waiting.token)) is not Fate.LIVE:
                self.place.next.unlink()
        if not self.place.next.exists():
            try:
                ticket(
                    self.database,
                    now.open_project,
                    out=self.place.next,
                    wall=self.dag.wall,
                    grace=self.dag.grace,
                    files_per_process=self.dag.files_per_process,
                    partition=self.node.partition,
                    destination=self.dag.destination,
                    validate=self.dag.validate,
                    adopt=self.dag.adopt,
                )
            except NothingToDo as error:
                return self._nothing(str(error))
            except (Paused, NotAllowed) as error:
                return Decision(NEVER, str(error))
        process = tickets.read(self.place.next).ticket.process
        self.place.write(
            dag=self.dag_name, process=process, tries=[*self.place.state().get("tries", []), process], late={}
        )
        self.place.next.replace(self.place.ticket)
        return Decision(GO, f"process {process} was lent its files")

    def _nothing(self, why: str) -> Decision:
        """Decide where no file can be lent: they are done, or parked, or have to wait."""
        now = projects.status(self.database, self.dag.project)
        if self.node.partition is None:
            if now.available == 0:
                return Decision(SKIP, "no file is left")
            return Decision(LATER if now.open_project is not None else NEVER, why)
        left = partition_left(self.database, self.dag.project, self.node.partition)
        if left.committed == left.files:
            return Decision(SKIP, "it is committed")
        if left.parked or now.open_project is None:
            return Decision(NEVER, left.reason or why)
        return Decision(LATER, why)


def problem(error: BookkeeperError) -> Decision:
    """Return what a script exits with that cannot do its part: its catalog is away, or what it needs is wrong."""
    return Decision(LATER if isinstance(error, CatalogError) else error.exit_code, str(error))
