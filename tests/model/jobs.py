"""What a worker may do next: one function for each place in its program."""

from __future__ import annotations

from collections.abc import Callable

from .network import ask, begun
from .rules import Rules
from .state import Content, Job, Moves, Request, State
from .storage import final_name, find, finish_write, may_publish, publish, put, remove, temporary_name
from .verbs import Answer


def job_moves(rules: Rules, state: State, j: int) -> Moves:
    """Every next step of job ``j``; each may be its last."""
    job = state.jobs[j]
    if job.at in ("gone", "dead"):
        return
    if job.at != "idle" and rules.crash:
        yield f"job{j} dies", state.with_job(j, at="dead")
    yield from STEPS[job.at](rules, state, j, job)


def token(rules: Rules, j: int) -> str:
    """What makes the job's calls its own: the nonce of this run, or only the batch system's id for the job."""
    return "batch-job" if rules.start_key == "batch job" else f"job{j}"


def told_fenced(rules: Rules, state: State, j: int) -> State:
    """The job was answered `rolled back`: it deletes its temporary and stops."""
    job = state.jobs[j]
    if job.temporary:
        state = state.with_store(temporary=remove(state.store.temporary, job.temporary))
    return state.with_job(j, at="gone")


def _start(rules: Rules, state: State, j: int, job: Job) -> Moves:
    project = state.catalog.open_project()
    if project < 0:
        return
    request = Request("start", project, token(rules, j))
    if not rules.serialised_start:
        yield from begun(state, f"job{j} start_process: its transaction reads that the project is open", request)

    def told(after: State, answer: Answer) -> State:
        if answer.kind == "process":
            return after.with_job(j, at="asking", process=answer.value)
        return after if answer.kind == "full" else after.with_job(j, at="gone")

    yield from ask(rules, state, f"job{j} start_process", request, told)


def _next(rules: Rules, state: State, j: int, job: Job) -> Moves:
    request = Request("next", job.process, token(rules, j))
    if not rules.serialised_next:
        process = state.catalog.processes[job.process]
        if process.state == "active" and not process.given:
            yield from begun(state, f"job{j} next_files: its transaction reads that the process is active", request)

    def told(after: State, answer: Answer) -> State:
        if answer.kind != "files":
            return told_fenced(rules, after, j)
        return after.with_job(j, at="reading" if answer.value else "rolling back", knows=answer.value)

    yield from ask(rules, state, f"job{j} next_files", request, told)


def _read(rules: Rules, state: State, j: int, job: Job) -> Moves:
    choices = [job.knows]
    if rules.partial_work:
        choices += [1 << f for f in range(rules.files) if job.knows >> f & 1 and 1 << f != job.knows]
    for files in choices:
        names = ", ".join(str(f) for f in range(rules.files) if files >> f & 1)
        yield f"job{j} reads files {names} and fills its output", state.with_job(j, at="marking", read=files)


def _mark(rules: Rules, state: State, j: int, job: Job) -> Moves:
    ready = state.with_job(j, at="opening")
    if rules.manifest:
        yield f"job{j} has read everything", ready
        return

    def told(after: State, answer: Answer) -> State:
        return told_fenced(rules, after, j) if answer.kind == "fenced" else after.with_job(j, at="opening")

    request = Request("mark", job.process, token(rules, j), job.read)
    yield from ask(rules, state, f"job{j} marks its files consumed", request, told)
    if rules.lossy_marks:
        yield f"job{j} marks its files consumed, which gets lost", ready


def _open(rules: Rules, state: State, j: int, job: Job) -> Moves:
    name = f"near/{job.process}-job{j}" if rules.daemons else temporary_name(rules, job.process, f"job{j}")
    begun_object = Content(job.process, j, job.read, whole=False)
    after = state.with_store(temporary=put(state.store.temporary, name, begun_object))
    yield f"job{j} opens {name} for writing", after.with_job(j, at="writing", temporary=name)


def _write(rules: Rules, state: State, j: int, job: Job) -> Moves:
    store = finish_write(rules, state.store, job.temporary, Content(job.process, j, job.read, whole=True))
    yield (
        f"job{j} finishes writing {job.temporary} and validates it",
        state.with_store(*store).with_job(j, at="staging"),
    )


def _stage(rules: Rules, state: State, j: int, job: Job) -> Moves:
    if rules.manifest and not rules.daemons and not rules.stages:
        yield f"job{j} has its output ready", state.with_job(j, at="committing")
        return

    def told(after: State, answer: Answer) -> State:
        if answer.kind == "fenced":
            return told_fenced(rules, after, j)
        return after.with_job(j, at="gone" if rules.daemons else "committing")

    request = Request("stage", job.process, token(rules, j), 0, job.temporary)
    yield from ask(rules, state, f"job{j} stage", request, told)


def _commit(rules: Rules, state: State, j: int, job: Job) -> Moves:
    request = Request("commit", job.process, token(rules, j), job.read, job.temporary)
    yield from ask(rules, state, f"job{j} commit", request, lambda after, answer: _fate(rules, after, j, answer))
    if not rules.give_up:
        return
    weary = state.with_job(j, at="rolling back")
    if rules.delete_when_answered:
        yield f"job{j} gives up on the commit", weary
    else:
        left = remove(state.store.temporary, job.temporary)
        yield f"job{j} gives up on the commit and deletes its temporary", weary.with_store(temporary=left)


def _roll_back(rules: Rules, state: State, j: int, job: Job) -> Moves:
    request = Request("roll back", job.process, token(rules, j))
    yield from ask(rules, state, f"job{j} roll_back", request, lambda after, answer: _fate(rules, after, j, answer))


def _fate(rules: Rules, state: State, j: int, answer: Answer) -> State:
    """Committed, even if the job asked for a roll back: it goes on to publish."""
    return state.with_job(j, at="publishing") if answer.kind == "committed" else told_fenced(rules, state, j)


def _publish(rules: Rules, state: State, j: int, job: Job) -> Moves:
    if rules.one_publisher and not rules.atomic_rename:
        yield f"job{j} leaves the publication to the catalog", state.with_job(j, at="gone")
    else:
        yield from publication(rules, state, j, f"job{j}", lambda after: after.with_job(j, at="gone"))


def publication(rules: Rules, state: State, j: int, who: str, done: Callable[[State], State]) -> Moves:
    """What one who was told `committed` does with its temporary."""
    job = state.jobs[j]
    final, content = final_name(rules, job.process), find(state.store.temporary, job.temporary)
    if content is None:
        yield f"{who} finds nothing to rename", done(state)
    elif may_publish(rules, state.store, final):
        if rules.atomic_rename:
            store = publish(state.store, job.temporary, final, content)
            yield f"{who} renames {job.temporary} to {final}", done(state.with_store(*store))
        else:
            yield f"{who} starts to copy {job.temporary} to {final}", state.with_job(j, at="copying")


def _copy(rules: Rules, state: State, j: int, job: Job) -> Moves:
    """A copy that was started completes, however late."""
    final = final_name(rules, job.process)
    after = state.with_store(final=put(state.store.final, final, Content(job.process, j, job.read, whole=True)))
    yield f"the copy of job{j} completes at {final}", after.with_job(j, at="deleting")


def _delete(rules: Rules, state: State, j: int, job: Job) -> Moves:
    after = state.with_store(temporary=remove(state.store.temporary, job.temporary))
    yield f"job{j} deletes {job.temporary}", after.with_job(j, at="gone")


STEPS: dict[str, Callable[[Rules, State, int, Job], Moves]] = {
    "idle": _start,
    "asking": _next,
    "reading": _read,
    "marking": _mark,
    "opening": _open,
    "writing": _write,
    "staging": _stage,
    "committing": _commit,
    "rolling back": _roll_back,
    "publishing": _publish,
    "copying": _copy,
    "deleting": _delete,
}
