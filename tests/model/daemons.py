"""Transfer daemons: a job leaves its output near by and stages it; a daemon copies, commits and publishes."""

from __future__ import annotations

from .jobs import publication
from .network import ask
from .rules import Rules
from .state import Content, Moves, Request, State
from .storage import find, finish_write, put, temporary_name
from .verbs import Answer


def daemon_moves(rules: Rules, state: State, j: int) -> Moves:
    """Every next step of the daemon in place ``j`` of the jobs. A daemon that dies is started again, knowing nothing."""
    job, who = state.jobs[j], f"daemon{j - rules.jobs}"
    if job.at == "idle":
        for number, process in enumerate(state.catalog.processes):
            if process.state == "staged":
                yield f"{who} takes the transfer of process {number}", state.with_job(j, at="opening", process=number)
        return
    if rules.crash:
        yield f"{who} dies", state.with_new_job(j)
    process = state.catalog.processes[job.process]
    if job.at == "opening":
        near = find(state.store.temporary, process.temporary)
        if near is None or not near.whole or process.state != "staged":
            yield f"{who} gives up", state.with_new_job(j)
            return
        writer = f"{who}" if rules.unique_temporaries else ""
        name = temporary_name(rules, job.process, writer)
        begun = Content(near.process, j, near.files, whole=False)
        after = state.with_store(temporary=put(state.store.temporary, name, begun))
        yield f"{who} opens {name} for writing", after.with_job(j, at="writing", temporary=name, read=near.files)
    elif job.at == "writing":
        store = finish_write(rules, state.store, job.temporary, Content(job.process, j, job.read, whole=True))
        after = state.with_store(*store).with_job(j, at="committing")
        yield f"{who} finishes the copy {job.temporary} and validates it", after
    elif job.at == "committing":

        def told(after: State, answer: Answer) -> State:
            mine = after.catalog.processes[job.process].temporary == job.temporary
            if answer.kind == "committed" and mine:
                return after.with_job(j, at="publishing")
            return after.with_new_job(j)

        request = Request("commit transfer", job.process, process.key, job.read, job.temporary)
        yield from ask(rules, state, f"{who} commit", request, told)
    elif job.at == "publishing":
        yield from publication(rules, state, j, who, lambda after: after.with_new_job(j))
