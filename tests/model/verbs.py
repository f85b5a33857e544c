"""The catalog's verbs: pure functions from a catalog and a request to a catalog and an answer.

Each is one transaction. A verb that is refused, or that has nothing to change, gives back an equal catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from .rules import Rules
from .state import LIVE, Catalog, Mask, Process, Project, Request, Row, replaced


class Answer(NamedTuple):
    """What the caller is told; ``value`` is a process's number or a set of files."""

    kind: Literal["process", "files", "ok", "committed", "fenced", "closed", "full"]
    value: int = 0


Result = tuple[Catalog, Answer]
OK, COMMITTED, FENCED = Answer("ok"), Answer("committed"), Answer("fenced")


# --- what a job may ask -----------------------------------------------------------------------------------------------


def start(rules: Rules, catalog: Catalog, request: Request) -> Result:
    """A new process of an open project; the key that was seen before gets the answer of then."""
    if rules.start_key != "none":
        for number, process in enumerate(catalog.processes):
            if process.key == request.key and process.project == request.target:
                return catalog, Answer("process", number) if process.state in LIVE else FENCED
    if not request.checked and catalog.projects[request.target].state != "open":
        return catalog, Answer("closed")
    if len(catalog.processes) >= rules.processes:
        return catalog, Answer("full")
    process = Process("active", request.target, request.key, 0, 0, "none", "")
    grown = Catalog(catalog.projects, catalog.ledger, (*catalog.processes, process))
    return grown, Answer("process", len(catalog.processes))


def next_files(rules: Rules, catalog: Catalog, request: Request) -> Result:
    """Up to a group of available files of the project; asked again, the same files."""
    number = request.target
    if not request.checked and not _is(rules, catalog, request, "active"):
        return catalog, _fate(rules, catalog, request)
    process = catalog.processes[number]
    if process.given:
        return catalog, Answer("files", process.given)
    if not request.checked and catalog.projects[process.project].state != "open":
        return catalog, Answer("files", 0)
    ledger, given, room = catalog.ledger, 0, rules.group
    for f, row in enumerate(ledger):
        if room and row.state == "available" and row.project == process.project:
            ledger = replaced(ledger, f, Row("held", process.project, number))
            given |= 1 << f
            room -= 1
    held = Catalog(catalog.projects, ledger, catalog.processes).with_process(number, given=given)
    return held, Answer("files", given)


def mark(rules: Rules, catalog: Catalog, request: Request) -> Result:
    """Delivered files become consumed; only without a manifest does that decide anything."""
    if not _is(rules, catalog, request, "active"):
        return catalog, _fate(rules, catalog, request)
    process = catalog.processes[request.target]
    consumed = process.consumed | (request.files & process.given)
    return catalog.with_process(request.target, consumed=consumed), OK


def stage(rules: Rules, catalog: Catalog, request: Request) -> Result:
    """The output is on record. The process is staged: no more files for it, and where daemons transfer, it is theirs."""
    if not _is(rules, catalog, request, "active"):
        return catalog, _fate(rules, catalog, request)
    state = "staged" if rules.daemons or rules.stages else "active"
    staged = catalog.with_process(request.target, state=state, output="staged", temporary=request.temporary)
    return staged, OK


def commit(rules: Rules, catalog: Catalog, request: Request) -> Result:
    """The files that count, the others free, the output and the process committed, in one transaction."""
    number = request.target
    if not _is(rules, catalog, request, *LIVE):
        return catalog, _fate(rules, catalog, request)
    process, counted = catalog.processes[number], request.files
    if not rules.manifest:
        counted = process.consumed
    else:
        if rules.guard_rows and not _holds(catalog, number, counted):
            return roll_back(rules, catalog, request)
        catalog = catalog.with_process(number, output="staged", temporary=request.temporary)
    if rules.whole_partition and rules.partitioned and counted != rules.every_file:
        return roll_back(rules, catalog, request)
    home, ledger = _home(rules, catalog, process.project), catalog.ledger
    for f, row in enumerate(ledger):
        mine = row.state == "held" and row.process == number
        if counted >> f & 1 and row.state != "committed" and (mine or not rules.guard_rows):
            ledger = replaced(ledger, f, Row("committed", process.project, number))
        elif mine:
            ledger = replaced(ledger, f, Row("available", home, -1))
    output = "committed" if catalog.processes[number].output == "staged" else process.output
    catalog = Catalog(catalog.projects, ledger, catalog.processes)
    changes = {"state": "committed", "given": process.given | counted, "consumed": counted, "output": output}
    return catalog.with_process(number, **changes), COMMITTED


def commit_transfer(rules: Rules, catalog: Catalog, request: Request) -> Result:
    """A daemon's commit: of a staged process, with the copy that the daemon made as its output."""
    if not _is(rules, catalog, request, "staged"):
        return catalog, _fate(rules, catalog, request)
    catalog, answer = commit(rules, catalog, request)
    if answer == COMMITTED and not rules.manifest:
        catalog = catalog.with_process(request.target, output="committed", temporary=request.temporary)
    return catalog, answer


def roll_back(rules: Rules, catalog: Catalog, request: Request) -> Result:
    """Give every file back; a committed process answers so, and the worker goes on to publish."""
    if not _is(rules, catalog, request, *LIVE):
        return catalog, _fate(rules, catalog, request)
    return rolled_back(rules, catalog, request.target), FENCED


VERBS: dict[str, Callable[[Rules, Catalog, Request], Result]] = {
    "start": start,
    "next": next_files,
    "mark": mark,
    "stage": stage,
    "commit": commit,
    "commit transfer": commit_transfer,
    "roll back": roll_back,
}


# --- what others may do to the catalog --------------------------------------------------------------------------------


def rolled_back(rules: Rules, catalog: Catalog, number: int) -> Catalog:
    """A live process is rolled back, by itself, by expiry or by a fence; any other stays as it is."""
    process = catalog.processes[number]
    if process.state not in LIVE:
        return catalog
    home, ledger = _home(rules, catalog, process.project), catalog.ledger
    for f, row in enumerate(ledger):
        if row.state == "held" and row.process == number:
            ledger = replaced(ledger, f, Row("available", home, -1))
    output = "discarded" if process.output == "staged" else process.output
    catalog = Catalog(catalog.projects, ledger, catalog.processes)
    return catalog.with_process(number, state="rolled back", output=output)


def ended(rules: Rules, catalog: Catalog, number: int) -> Catalog:
    """The project ends; what its live processes hold stays theirs."""
    projects = replaced(catalog.projects, number, catalog.projects[number]._replace(state="ended"))
    return Catalog(projects, catalog.ledger, catalog.processes)


def recovered(rules: Rules, catalog: Catalog, number: int) -> Catalog | None:
    """A recovery of an ended project with the free files, or None if it is refused or there is nothing to recover."""
    projects = catalog.projects
    if len(projects) >= rules.projects or catalog.open_project() >= 0:
        return None
    if any(project.recovers == number for project in projects):
        return None
    ledger, new, found = catalog.ledger, len(projects), False
    for f, row in enumerate(ledger):
        if row.state == "available" and (rules.free_to_open or row.project == number):
            ledger, found = replaced(ledger, f, Row("available", new, -1)), True
    if not found and not (rules.free_to_open and any(row.state == "held" for row in ledger)):
        return None
    return Catalog((*projects, Project("open", number)), ledger, catalog.processes)


def revoked(rules: Rules, catalog: Catalog, number: int) -> Catalog:
    """What the process committed no longer counts; its files are free."""
    ledger = catalog.ledger
    for f, row in enumerate(ledger):
        if row.state == "committed" and row.process == number:
            ledger = replaced(ledger, f, Row("available", _home(rules, catalog, row.project), -1))
    catalog = Catalog(catalog.projects, ledger, catalog.processes)
    return catalog.with_process(number, state="revoked", output="revoked")


# --- guards -----------------------------------------------------------------------------------------------------------


def _known(rules: Rules, catalog: Catalog, request: Request) -> bool:
    """The token: the process exists (its number may have been given twice) and is this incarnation's."""
    if request.target >= len(catalog.processes):
        return False
    return not rules.tokens or catalog.processes[request.target].key == request.key


def _is(rules: Rules, catalog: Catalog, request: Request, *states: str) -> bool:
    return _known(rules, catalog, request) and catalog.processes[request.target].state in states


def _fate(rules: Rules, catalog: Catalog, request: Request) -> Answer:
    """What a process is told whose guard failed."""
    if not _known(rules, catalog, request):
        return FENCED
    state = catalog.processes[request.target].state
    return OK if state in LIVE else COMMITTED if state == "committed" else FENCED


def _holds(catalog: Catalog, number: int, files: Mask) -> bool:
    rows = enumerate(catalog.ledger)
    return all(row.state == "held" and row.process == number for f, row in rows if files >> f & 1)


def _home(rules: Rules, catalog: Catalog, project: int) -> int:
    """The project that files given back belong to."""
    if rules.free_to_open and (leaf := catalog.open_project()) >= 0:
        return leaf
    return project
