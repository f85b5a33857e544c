"""L: from every state a fair scheduler completes the request, once the disturbances stop.

All living jobs die, all leases expire, repair publishes, operators recover, and fresh jobs run to their end one after
another. That needs the catalog and the storage only, so it is tried once for each pair of them that is reached.
"""

from __future__ import annotations

from .environment import reopening
from .rules import Rules
from .state import Catalog, Content, Request, Store
from .storage import final_name, find, may_publish, publish, put
from .verbs import commit, commit_transfer, ended, mark, next_files, recovered, rolled_back, stage, start

STUCK = "L nothing can recover what is left"
UNCOMMITTED = "L files remain uncommitted"
UNPUBLISHED = "L committed but not published"
DID_NOT_COUNT = "L an uncommitted output is published"
DUPLICATE = "L a file contributes twice in the end"


def unfinished(rules: Rules, catalog: Catalog, store: Store) -> str | None:
    """What cannot be completed from here, or None. The rules must leave room for more processes and projects."""
    catalog, store = _settle(rules, catalog, store)
    for attempt in range(rules.files + 3):
        if all(row.state == "committed" for row in catalog.ledger):
            break
        if catalog.open_project() < 0:
            recoveries = [recovered(rules, catalog, number) for number in range(len(catalog.projects))]
            possible = [recovery for recovery in recoveries if recovery is not None]
            if not possible:
                return STUCK
            catalog = possible[-1]
        catalog, store = _settle(rules, *_fresh_job(rules, catalog, store, f"fresh{attempt}"))
    return _verdict(rules, catalog, store)


def _fresh_job(rules: Rules, catalog: Catalog, store: Store, key: str) -> tuple[Catalog, Store]:
    """A job that nothing disturbs; one that finds nothing to do ends the project."""
    project = catalog.open_project()
    catalog, born = start(rules, catalog, Request("start", project, key))
    number = born.value
    catalog, given = next_files(rules, catalog, Request("next", number, key))
    if not given.value:
        return ended(rules, rolled_back(rules, catalog, number), project), store
    name = f".bookkeeper/{number}-{key}"
    request = Request("commit", number, key, given.value, name)
    temporary = put(store.temporary, name, Content(number, -1, given.value, whole=True))
    for verb in (mark, stage, commit):
        catalog, _ = verb(rules, catalog, request)
    return catalog, Store(temporary, store.final)


def _settle(rules: Rules, catalog: Catalog, store: Store) -> tuple[Catalog, Store]:
    """Leases expire, daemons finish, revocations complete, repair publishes."""
    for number, process in enumerate(catalog.processes):
        if process.state == "active" or (process.state == "staged" and rules.transfer_deadline):
            catalog = rolled_back(rules, catalog, number)
        elif process.state == "staged" and (near := find(store.temporary, process.temporary)) is not None:
            name = f".bookkeeper/{number}-daemon"
            store = Store(put(store.temporary, name, near), store.final)
            catalog, _ = commit_transfer(rules, catalog, Request("commit", number, process.key, near.files, name))
    for number in range(len(catalog.processes)):
        while catalog.processes[number].state == "revoking":
            _, catalog, store = next(reopening(rules, catalog, store, number))
        catalog, store = _repair(rules, catalog, store, number)
    return catalog, store


def _repair(rules: Rules, catalog: Catalog, store: Store, number: int) -> tuple[Catalog, Store]:
    process = catalog.processes[number]
    if process.state != "committed" or process.output != "committed":
        return catalog, store
    final, content = final_name(rules, number), find(store.temporary, process.temporary)
    if content is not None and may_publish(rules, store, final):
        store = publish(store, process.temporary, final, content)
    if find(store.final, final) is not None:
        catalog = catalog.with_process(number, output="published")
    return catalog, store


def _verdict(rules: Rules, catalog: Catalog, store: Store) -> str | None:
    if any(row.state != "committed" for row in catalog.ledger):
        return UNCOMMITTED
    seen = 0
    for _, content in store.final:
        if content.process >= len(catalog.processes) or catalog.processes[content.process].state != "committed":
            return DID_NOT_COUNT
        if seen & content.files:
            return DUPLICATE
        seen |= content.files
    return None if seen == rules.every_file else UNPUBLISHED
