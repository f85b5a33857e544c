"""Calls from jobs to the catalog: each may be lost, executed with its answer lost, or executed late and again."""

from __future__ import annotations

from collections.abc import Callable

from .rules import Rules
from .state import Catalog, Moves, Request, State
from .verbs import VERBS, Answer


def synced(rules: Rules, state: State, catalog: Catalog, step: str) -> State:
    """The state with a new catalog, which is on disk (with all before it) if this step is durable."""
    durable = catalog if rules.power_losses and step in rules.durable else state.durable
    return State(catalog, *state[1:6], durable)


def call(rules: Rules, state: State, request: Request) -> tuple[State, Answer]:
    """Execute a request; a refused or repeated one leaves the state itself."""
    catalog, answer = VERBS[request.verb](rules, state.catalog, request)
    if catalog is state.catalog or catalog == state.catalog:
        return state, answer
    step = {"committed": "commit", "fenced": "roll back"}.get(answer.kind, request.verb)
    return synced(rules, state, catalog, step), answer


def ask(rules: Rules, state: State, words: str, request: Request, told: Callable[[State, Answer], State]) -> Moves:
    """Every fate of one request but its loss, which changes nothing: the job asks again or dies."""
    after, answer = call(rules, state, request)
    yield words, told(after, answer)
    if after is not state:
        yield f"{words} (answer lost)", after
    if state.budget.late_copies and request not in state.late:
        budget = state.budget._replace(late_copies=state.budget.late_copies - 1)
        yield f"{words} (request delayed in the network)", state._replace(late=state.late | {request}, budget=budget)


def arrivals(rules: Rules, state: State) -> Moves:
    """Late copies arrive, and half-done transactions finish."""
    for request in state.late:
        there = state.catalog.projects if request.verb == "start" else state.catalog.processes
        if request.target < len(there):
            after, _ = call(rules, state, request)
            if after is not state:
                yield f"a late copy of `{request.verb}` by {request.key} arrives", after
    for request in state.half_done:
        after, _ = call(rules, state._replace(half_done=state.half_done - {request}), request)
        yield f"the half-done `{request.verb}` transaction writes and commits", after


def begun(state: State, words: str, request: Request) -> Moves:
    """A transaction that is not serialised has made its test, and pauses."""
    half = request._replace(checked=True)
    if half not in state.half_done:
        yield words, state._replace(half_done=state.half_done | {half})
