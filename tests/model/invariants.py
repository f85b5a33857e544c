"""What must hold in every state, whatever happened before. They look at the catalog and the storage only.

==  ====================================================================================================
I1  A file is committed by one process, and the ledger agrees with the deliveries.
I2  What a reader lists is whole, counts, and holds exactly the committed files, each once.
I3  Only a live process holds files.
I4  The output of a committed process is published, or still can be.
I5  A fenced project has no live process.
I6  Every file that is not committed can be freed and handed out again, by some recovery.
I7  `recover` never says that nothing is missing while something is.
==  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .rules import Rules
from .state import LIVE, Catalog, Content, Store
from .storage import final_name, find

COMMITTED_TWICE = "I1 a file is committed by two processes"
LEDGER_DISAGREES = "I1 the ledger disagrees with the deliveries"
TRUNCATED = "I2 a reader sees a truncated output"
DID_NOT_COUNT = "I2 a reader sees an output that did not count"
OTHER_BYTES = "I2 the published bytes differ from the files committed"
DUPLICATE = "I2 a file contributes twice"
STUCK = "I3 a file is held by a dead process"
OUTPUT_LOST = "I4 the output of a committed process can no longer be published"
LIVE_IN_FENCED = "I5 a live process in a fenced project"
NOBODY_FREES = "I6 a held file that nobody can free"
NOBODY_RECOVERS = "I6 an available file in an ended project that can never be recovered"
RECOVER_DENIES = "I7 recover answers `none` though files are uncommitted"

Check = Callable[[Rules, Catalog, Store], Iterator[str]]


def violations(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    """The invariants that do not hold."""
    for check in CHECKS:
        yield from check(rules, catalog, store)


def _committed_once(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    for f, row in enumerate(catalog.ledger):
        counting = [
            number
            for number, process in enumerate(catalog.processes)
            if process.consumed >> f & 1 and process.state in ("committed", "revoking")
        ]
        if len(counting) > 1:
            yield COMMITTED_TWICE
        elif counting and (row.state != "committed" or row.process != counting[0]):
            yield LEDGER_DISAGREES


def _exactly_once(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    listed = store.final if rules.hidden_temporaries else store.final + store.temporary
    seen = 0
    for _, content in listed:
        known = content.process < len(catalog.processes)  # a power loss may have undone its birth
        state = catalog.processes[content.process].state if known else "unknown"
        if state == "revoking":
            continue  # declared unreadable, not yet deleted
        if not content.whole:
            yield TRUNCATED
        elif state != "committed":
            yield DID_NOT_COUNT
        elif content.files != catalog.committed_by(content.process):
            yield OTHER_BYTES
        if content.files & seen:
            yield DUPLICATE
        seen |= content.files


def _held_by_the_living(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    for row in catalog.ledger:
        if row.state == "held" and not _lives(catalog, row.process):
            yield STUCK


def _rolls_forward(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    for number, process in enumerate(catalog.processes):
        files = catalog.committed_by(number) if process.state == "committed" else 0
        if not files:
            continue

        def good(content: Content | None, number: int = number, files: int = files) -> bool:
            return content is not None and content.whole and (content.process, content.files) == (number, files)

        published = good(find(store.final, final_name(rules, number)))
        if not published and not (process.output == "committed" and good(find(store.temporary, process.temporary))):
            yield OUTPUT_LOST


def _fenced(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    if rules.plain_end:
        return  # then a live process may rightly finish in an ended project
    for process in catalog.processes:
        if process.state in LIVE and catalog.projects[process.project].state == "ended":
            yield LIVE_IN_FENCED


def _recoverable(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    leaf = catalog.open_project()
    for row in catalog.ledger:
        if row.state == "committed":
            continue
        home = row.project
        if row.state == "held":
            if not _lives(catalog, row.process) or _waits_forever(rules, catalog, store, row.process):
                yield NOBODY_FREES
                continue
            if rules.free_to_open and leaf >= 0:
                home = leaf
        recovered_already = any(project.recovers == home for project in catalog.projects)
        if catalog.projects[home].state == "ended" and recovered_already and not rules.free_to_open:
            yield NOBODY_RECOVERS


def _recover_tells(rules: Rules, catalog: Catalog, store: Store) -> Iterator[str]:
    if not rules.ends or rules.free_to_open or catalog.open_project() >= 0:
        return
    last = len(catalog.projects) - 1
    nothing = not any(row.state == "available" and row.project == last for row in catalog.ledger)
    if nothing and any(row.state != "committed" for row in catalog.ledger):
        yield RECOVER_DENIES


def _lives(catalog: Catalog, process: int) -> bool:
    return process < len(catalog.processes) and catalog.processes[process].state in LIVE


def _waits_forever(rules: Rules, catalog: Catalog, store: Store, number: int) -> bool:
    """Staged without a deadline, and what the daemons should transfer is gone."""
    process = catalog.processes[number]
    left = find(store.temporary, process.temporary)
    return process.state == "staged" and not rules.transfer_deadline and left is None


CHECKS: tuple[Check, ...] = (
    _committed_once,
    _exactly_once,
    _held_by_the_living,
    _rolls_forward,
    _fenced,
    _recoverable,
    _recover_tells,
)
