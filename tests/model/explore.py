"""Breadth-first search through every reachable state; a violation found first is found by a shortest way."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .daemons import daemon_moves
from .environment import environment_moves
from .invariants import violations
from .jobs import job_moves
from .liveness import unfinished
from .rules import Rules, initial
from .state import Catalog, Moves, State, Store


def moves(rules: Rules, state: State) -> Moves:
    """Everything that may happen next."""
    for j in range(rules.jobs):
        yield from job_moves(rules, state, j)
    for j in range(rules.jobs, rules.jobs + rules.daemons):
        yield from daemon_moves(rules, state, j)
    yield from environment_moves(rules, state)


@dataclass
class Report:
    """What a search found. ``found`` names the first state that violates each invariant."""

    rules: Rules
    states: int = 0
    edges: int = 0
    completed: int = 0  # distinct catalogs and storages in which the request is complete
    exhausted: bool = False
    seconds: float = 0.0
    found: dict[str, State] = field(default_factory=dict)
    before: dict[State, State | None] = field(default_factory=dict, repr=False)

    def trace(self, violation: str) -> list[str]:
        """The steps, in words, from the start to the violation."""
        words: list[str] = []
        state = self.found[violation]
        while (earlier := self.before[state]) is not None:
            words.append(next(said for said, after in moves(self.rules, earlier) if after == state))
            state = earlier
        return words[::-1]


def explore(rules: Rules, *, until: str | None = None, limit: int = 1_500_000) -> Report:
    """Visit every state that the rules allow; or stop when the violation ``until`` is found, or at ``limit`` states.

    Invariants and liveness depend on the catalog and the storage alone and are tried once for each pair of them.
    """
    report = Report(rules)
    room = rules.with_room()
    begin = time.perf_counter()
    first = initial(rules)
    before: dict[State, State | None] = {first: None}
    states, checked, edges = [first], set[tuple[Catalog, Store]](), 0
    with _no_garbage_collection():
        for state in states:  # which grows
            visible = state[:2]
            if visible not in checked:
                checked.add(visible)
                _check(report, rules, room, state)
                if until in report.found:
                    break
            for _, after in moves(rules, state):
                edges += 1
                if after not in before:
                    before[after] = state
                    states.append(after)
            if len(states) > limit:
                break
        else:
            report.exhausted = True
    report.states, report.edges, report.before = len(states), edges, before
    report.seconds = time.perf_counter() - begin
    return report


def _check(report: Report, rules: Rules, room: Rules, state: State) -> None:
    """Note what is violated for the first time."""
    catalog, store = state.catalog, state.store
    for violation in violations(rules, catalog, store):
        report.found.setdefault(violation, state)
    if (lack := unfinished(room, catalog, store)) is not None:
        report.found.setdefault(lack, state)
    files_done = all(row.state == "committed" for row in catalog.ledger)
    if files_done and all(process.output not in ("staged", "committed") for process in catalog.processes):
        report.completed += 1


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """States are tuples without cycles, millions of them: looking for cycles would take most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
