"""What may happen beside the jobs: expiry, repair, the collector, operators, the batch system, power loss."""

from __future__ import annotations

from collections.abc import Iterator

from .network import arrivals, synced
from .rules import Rules
from .state import LIVE, Catalog, Moves, State, Store
from .storage import final_name, find, may_publish, publish, remove
from .verbs import ended, recovered, revoked, rolled_back


def environment_moves(rules: Rules, state: State) -> Moves:
    """Everything that anybody but the jobs may do next."""
    yield from arrivals(rules, state)
    for number in range(len(state.catalog.processes)):
        yield from _to_process(rules, state, number)
    if rules.ends:
        for number in range(len(state.catalog.projects)):
            yield from _to_project(rules, state, number)
    if state.budget.restarts:
        budget = state.budget._replace(restarts=state.budget.restarts - 1)
        for j, job in enumerate(state.jobs):
            if job.at == "dead":
                yield f"the batch system restarts job{j}", state.with_new_job(j)._replace(budget=budget)
    if state.durable is not None and state.budget.power_losses and state.catalog != state.durable:
        budget = state.budget._replace(power_losses=state.budget.power_losses - 1)
        after = state._replace(catalog=state.durable, budget=budget)
        yield "power loss: the catalog returns to its last synced commit", after
    if rules.near_losses:
        for name, _ in state.store.temporary:
            if name.startswith("near/"):
                yield f"the near storage loses {name}", state.with_store(temporary=remove(state.store.temporary, name))


def _to_process(rules: Rules, state: State, number: int) -> Moves:
    process, store = state.catalog.processes[number], state.store
    if rules.expiry and (process.state == "active" or (process.state == "staged" and rules.transfer_deadline)):
        after = synced(rules, state, rolled_back(rules, state.catalog, number), "roll back")
        yield f"the lease of process {number} expires", after
    if process.output == "committed":
        final, content = final_name(rules, number), find(store.temporary, process.temporary)
        if content is not None and may_publish(rules, store, final):
            after = state.with_store(*publish(store, process.temporary, final, content, keep=not rules.atomic_rename))
            yield f"repair publishes the output of process {number} as {final}", after
        if find(store.final, final) is not None:
            catalog = state.catalog.with_process(number, output="published")
            yield f"the output of process {number} is recorded as published", state.with_catalog(catalog)
    elif process.output == "discarded" and rules.collector and find(store.temporary, process.temporary) is not None:
        after = state.with_store(temporary=remove(store.temporary, process.temporary))
        yield f"the collector deletes {process.temporary} of process {number}, which was rolled back", after
    counts = process.state == "committed" and process.output in ("committed", "published")
    if (state.budget.reopens and counts) or process.state == "revoking":
        budget = state.budget._replace(reopens=0)
        for words, catalog, left in reopening(rules, state.catalog, store, number):
            yield words, state._replace(catalog=catalog, store=left, budget=budget)


def _to_project(rules: Rules, state: State, number: int) -> Moves:
    if state.catalog.projects[number].state == "ended":
        if (recovery := recovered(rules, state.catalog, number)) is not None:
            yield f"project {number} is recovered by a new one", state.with_catalog(recovery)
        return
    after = state.with_catalog(ended(rules, state.catalog, number))
    if rules.plain_end:
        yield f"project {number} ends", after
    for p, process in enumerate(after.catalog.processes):
        if process.project == number and process.state in LIVE:
            after = synced(rules, after, rolled_back(rules, after.catalog, p), "roll back")
    yield f"project {number} ends, its live processes are fenced", after


def reopening(rules: Rules, catalog: Catalog, store: Store, number: int) -> Iterator[tuple[str, Catalog, Store]]:
    """An operator takes a committed output back because it was lost or is bad: each next step."""
    process, final = catalog.processes[number], final_name(rules, number)
    if not rules.two_phase_reopen:
        left = Store(store.temporary, remove(store.final, final))
        yield f"process {number} is reopened: its output deleted, its files free", revoked(rules, catalog, number), left
    elif process.state == "committed":
        words = f"process {number} is being revoked: its files stay committed, its output may not be published"
        yield words, catalog.with_process(number, state="revoking"), store
    else:
        published, temporary = find(store.final, final), find(store.temporary, process.temporary)
        mine = published is not None and published.process == number
        if mine:
            yield (
                f"revoking process {number} deletes {final}",
                catalog,
                Store(store.temporary, remove(store.final, final)),
            )
        if temporary is not None:
            left = Store(remove(store.temporary, process.temporary), store.final)
            yield f"revoking process {number} deletes {process.temporary}", catalog, left
        if temporary is None and not mine:
            yield (
                f"process {number} is revoked: nothing is left of it, its files are free",
                revoked(rules, catalog, number),
                store,
            )
