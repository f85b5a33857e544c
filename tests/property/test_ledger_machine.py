"""Many jobs at once, zombies, lost and repeated answers, expiries and operators, against a model of a few lines.

After every step the ledger says of every file what the model says, every invariant holds, and every verb that was
answered is answered the same again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bookkeeper.errors import Fenced, NotAllowed, Paused, RolledBack
from bookkeeper.ledger import outputs
from bookkeeper.protocol import Delivered, Fate, FileMark, Manifest, Mark, Status
from ledgers import Job, World, violations

# Read at import: a fixture keeps the settings of the developer's shell away from tests.
THOROUGH = os.environ.get("BOOKKEEPER_HYPOTHESIS") == "thorough"
FILES, ATTEMPTS = 6, 2
LIMITS = {"transient_io": 2, "executor": 1, "analysis_crash": 1}
"""How many failures that say nothing about a file are borne, by what failed."""
VERDICTS = st.sampled_from([Mark.CONSUMED] * 5 + [Mark.SKIPPED, Mark.FAILED, Mark.UNREAD])


POLICY = {"retry": {name: {"max_retries": limit, "base_delay": 0} for name, limit in LIMITS.items()}}


class Model:
    """What should be: per file its state, its holder, the failures charged to it, those alone, and its setbacks; per job
    its state."""

    def __init__(self, names: list[str]) -> None:
        self.state = dict.fromkeys(names, "available")
        self.holder: dict[str, int] = {}
        self.attempts = dict.fromkeys(names, 0)
        self.alone = dict.fromkeys(names, 0)
        self.setbacks = dict.fromkeys(names, 0)
        self.setbacks_alone = dict.fromkeys(names, 0)
        self.blamed_elsewhere: dict[str, list[str]] = {name: [] for name in names}  # while alone: by category
        self.job: dict[int, str] = {}

    def give_back(self, process: int, charged: set[str], *, alone: bool, limit: int | None = None) -> None:
        """What a process that ended still holds is free again, or parked where it failed alone too often.

        What is not charged has a setback where there is a limit of those.
        """
        for name in [name for name, holder in self.holder.items() if holder == process and self.state[name] == "held"]:
            self.attempts[name] += name in charged
            self.alone[name] += name in charged and alone
            tired = name in charged and alone and self.alone[name] >= ATTEMPTS
            if limit is not None and name not in charged:
                self.setbacks[name] += 1
                self.setbacks_alone[name] += alone
                tired = alone and self.setbacks_alone[name] > limit
            self.state[name] = "parked" if tired else "available"


class LedgerMachine(RuleBasedStateMachine):
    """Jobs and operators do what they like in any order."""

    request: ClassVar[dict[str, Any]] = {}
    backend: ClassVar[str] = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bookkeeper-"))
        self.world = World.create(
            self.folder / "c.db",
            FILES,
            backend=self.backend,
            max_attempts=ATTEMPTS,
            files_per_process=4,
            policy=POLICY,
            **self.request,
        )
        self.model = Model(self.world.files("available"))
        self.jobs: list[Job] = []
        self.answers: dict[int, dict[int, tuple[Delivered, dict[str, int]]]] = {}
        self.marked: dict[int, dict[str, Mark]] = {}
        self.ever_opened: dict[int, set[str]] = {}
        self.overdue: set[int] = set()
        self.project = "p"

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.folder)

    # -- helpers ---------------------------------------------------------------------------------------------------

    def pick(self, data: st.DataObject) -> Job:
        """A live job four times of five, else any: a zombie."""
        live = [job for job in self.jobs if self.lives(job)]
        zombie = not live or data.draw(st.integers(0, 4), "zombie") == 0
        return data.draw(st.sampled_from(self.jobs[-8:] if zombie else live), "job")

    def lives(self, job: Job, *states: str) -> bool:
        return self.model.job[job.key.id] in (states or ("active", "staged"))

    def expect(self, job: Job, verb: Callable[[], Any], *states: str) -> Any:
        """Say a verb that only a process in one of these states may say; None where it rightly may not."""
        state = self.model.job[job.key.id]
        before = self.world.dump(clocks=True)
        if state in states:
            return verb()
        kind = Fenced if state in ("rolled_back", "revoking", "revoked") else NotAllowed
        with pytest.raises(kind):
            verb()
        assert self.world.dump(clocks=True) == before
        return None

    def same_again(self, verb: Callable[[], Any], answer: Any) -> None:
        before = self.world.dump()
        assert verb() == answer
        assert self.world.dump() == before

    def all_parted(self, job: Job, charged: set[str]) -> set[str]:
        """A partition is charged whole or not at all."""
        return set(job.ids) if charged and job.started.partitioned else charged

    def rolled_back(self, job: Job, *, opened: bool, category: str | None = None, setback: bool = False) -> None:
        """What a roll back does; ``category`` is None where nothing failed, ``setback``: it says nothing of the files."""
        marked = self.marked[job.key.id]
        charged = {name for name, mark in marked.items() if mark in (Mark.SKIPPED, Mark.FAILED)}
        charged |= self.ever_opened[job.key.id] if opened else set()
        charged = self.all_parted(job, charged)
        alone = len(job.ids) == 1 or job.started.partitioned
        limit = None
        if setback and category is not None:
            history = self.model.blamed_elsewhere[min(job.ids)] if alone and job.ids else []
            limit = LIMITS[category] + sum(other != category for other in history)
        self.model.give_back(job.key.id, charged, alone=alone, limit=limit)
        if category is not None and alone:
            for name in job.ids.keys() - charged:
                self.model.blamed_elsewhere[name].append(category)
        self.model.job[job.key.id] = "rolled_back"
        self.overdue.discard(job.key.id)

    def expired(self, job: Job) -> None:
        """What the end of a lease does."""
        self.rolled_back(job, opened=False, category="executor", setback=bool(self.ever_opened[job.key.id]))

    def is_open(self) -> bool:
        return self.world.project_state(self.project)[0] == "open"

    def sweep_model(self) -> None:
        """What a sweep does: fewer than ten live processes here, or all that are late; never any grace."""
        for job in self.jobs:
            if job.key.id in self.overdue:
                self.expired(job)

    # -- jobs ------------------------------------------------------------------------------------------------------

    @initialize()
    def two_jobs(self) -> None:
        self.start(None)
        self.start(2)

    @rule(many=st.sampled_from([None, 1, 2, 4]))
    def start(self, many: int | None) -> None:
        live = sum(1 for job in self.jobs if self.lives(job))
        if live >= 5:
            return
        if self.world.project_state(self.project)[0] == "ended":
            self.project = self.world.recover(self.project) or self.project
        was_open = self.is_open()
        try:
            job = self.world.start(self.project, files_per_process=many)
        except (Paused, NotAllowed):
            self.sweep_model()
            assert not (was_open and self.is_open())
            if self.world.catalog.project(self.project).status().open_state == "paused":
                self.say_pause_or_resume(pause=False)
            return
        self.sweep_model()
        self.jobs.append(job)
        self.model.job[job.key.id] = "active"
        self.answers[job.key.id], self.marked[job.key.id], self.ever_opened[job.key.id] = {}, {}, set()
        self.same_again(lambda: self.world.ledger.start_process(job.introduction), job.started)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), limit=st.integers(1, 4))
    def take(self, data: st.DataObject, limit: int) -> None:
        job = self.pick(data)
        self.overdue.discard(job.key.id) if self.lives(job, "active") else None
        free = {name for name, state in self.model.state.items() if state == "available"}
        answer = self.expect(job, lambda: job.ask(limit), "active")
        if answer is None:
            job.seq -= 1
            return
        names = {info.name for info in answer.files}
        if not names <= free:  # it swept, and took what came free
            self.sweep_model()
            free = {name for name, state in self.model.state.items() if state == "available"}
        elif answer.status in (Status.NONE_NOW, Status.EXHAUSTED) and answer.project_state == "open":
            self.sweep_model()
        assert names <= free
        for name in names:
            self.model.state[name], self.model.holder[name] = "held", job.key.id
        held = [name for name, holder in self.model.holder.items() if holder == job.key.id and name in job.ids]
        if not job.started.partitioned:
            assert (
                len(held)
                <= min(
                    -(-job.started.files_per_process >> self.model.attempts[name] + self.model.setbacks[name]) or 1
                    for name in held
                )
                if held
                else True
            )
        self.answers[job.key.id][job.seq] = (answer, {info.name: info.id for info in answer.files})
        again = self.world.ledger.next_files(job.key, job.seq, limit)
        assert again.files == answer.files

    @precondition(lambda self: any(self.answers.values()))
    @rule(data=st.data())
    def take_again_late(self, data: st.DataObject) -> None:
        job = self.pick(data)
        if not self.answers[job.key.id] or not self.lives(job, "active"):
            return
        seq = data.draw(st.sampled_from(sorted(self.answers[job.key.id])), "seq")
        before = self.world.dump()
        answer = self.world.ledger.next_files(job.key, seq, 4)
        assert answer.files == self.answers[job.key.id][seq][0].files
        self.overdue.discard(job.key.id)
        if self.overdue and not answer.files:
            self.reconcile_sweep()
        else:
            assert self.world.dump() == before

    def reconcile_sweep(self) -> None:
        for job in self.jobs:
            if self.lives(job) and self.world.state(job) == "rolled_back":
                self.expired(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), mark=st.sampled_from([Mark.OPENED, Mark.OPENED, Mark.CONSUMED, Mark.SKIPPED, Mark.FAILED]))
    def mark(self, data: st.DataObject, mark: Mark) -> None:
        job = self.pick(data)
        if not job.ids:
            return
        name = data.draw(st.sampled_from(sorted(job.ids)), "file")
        known = self.marked[job.key.id]
        closing = (Mark.SKIPPED, Mark.FAILED)
        was = known.get(name)
        if self.lives(job, "active") and (
            (mark in closing and (job.started.partitioned or was not in (None, Mark.OPENED, mark)))
            or (mark is Mark.CONSUMED and was in closing)
        ):
            before = self.world.dump(clocks=True)
            with pytest.raises(NotAllowed):
                job.mark(mark, name, reason="r")
            assert self.world.dump(clocks=True) == before
            return
        self.expect(job, lambda: job.mark(mark, name, reason="r"), "active")
        if self.lives(job, "active"):
            self.overdue.discard(job.key.id)
            if was in (None, Mark.OPENED):
                known[name] = mark
                if mark in (Mark.OPENED, Mark.CONSUMED):
                    self.ever_opened[job.key.id].add(name)
            self.same_again(lambda: job.mark(mark, name, reason="r"), None)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        job = self.pick(data)
        if self.expect(job, lambda: self.world.ledger.heartbeat(job.key), "active", "staged"):
            self.overdue.discard(job.key.id)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def stage(self, data: st.DataObject) -> None:
        job = self.pick(data)
        if self.model.job[job.key.id] == "staged":
            return
        self.expect(job, job.stage, "active")
        if self.lives(job, "active"):
            self.model.job[job.key.id] = "staged"
            self.overdue.discard(job.key.id)
            self.same_again(job.stage, None)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), forced=st.booleans(), bare=st.booleans())
    def commit(self, data: st.DataObject, forced: bool, bare: bool) -> None:
        job = self.pick(data)
        known = self.marked[job.key.id]
        verdict = {name: data.draw(VERDICTS, name) for name in job.ids}
        if not forced:  # what an honest job says
            verdict = {
                name: Mark.CONSUMED if known.get(name, Mark.OPENED) is Mark.OPENED else known[name] for name in job.ids
            }
        staged = self.model.job[job.key.id] == "staged"
        outputs = [] if bare and not staged else [job.output()]
        manifest = Manifest([FileMark(job.ids[n], m, reason="r") for n, m in verdict.items()], outputs, not outputs)
        ready = self.lives(job)
        contradicted = any(not _fits(known.get(name), mark) for name, mark in verdict.items())
        broken = job.started.partitioned and any(mark is not Mark.CONSUMED for mark in verdict.values())
        if ready and (contradicted or broken):
            with pytest.raises(RolledBack):
                self.world.ledger.commit(job.key, manifest)
            known.update({name: mark for name, mark in verdict.items() if self.is_news(known.get(name), mark)})
            self.rolled_back(job, opened=False, category="configuration")
            return
        answer = self.expect(job, lambda: self.world.ledger.commit(job.key, manifest), "active", "staged", "committed")
        if not ready:
            return
        consumed = {name for name, mark in verdict.items() if mark is Mark.CONSUMED}
        for name in consumed:
            self.model.state[name] = "committed"
        charged = {name for name, mark in verdict.items() if mark in (Mark.SKIPPED, Mark.FAILED)}
        self.model.give_back(job.key.id, charged, alone=len(job.ids) == 1)
        self.model.job[job.key.id] = "committed"
        self.overdue.discard(job.key.id)
        self.same_again(lambda: self.world.ledger.commit(job.key, manifest), answer)

    def is_news(self, known: Mark | None, said: Mark) -> bool:
        """Whether the last words of a process tell something of a file that was not decided before."""
        return known in (None, Mark.OPENED) and said is not Mark.UNREAD

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), step=st.sampled_from([None, None, "analysis", "output-storage"]), counted=st.booleans())
    def roll_back(self, data: st.DataObject, step: str | None, counted: bool) -> None:
        job = self.pick(data)
        state = self.model.job[job.key.id]
        became = job.roll_back("crash", step=step, counted=counted)
        if state in ("active", "staged"):
            assert became is Fate.ROLLED_BACK
            began = bool(self.ever_opened[job.key.id])
            category = "transient_io" if step == "output-storage" else "analysis_crash"
            blames = began and category == "analysis_crash"
            self.rolled_back(
                job, opened=counted and blames, category=category if counted else None, setback=counted and not blames
            )
        else:
            assert became is (Fate.COMMITTED if state == "committed" else Fate.ROLLED_BACK)
        self.same_again(lambda: job.roll_back("again"), became)

    @precondition(lambda self: "committed" in self.model.job.values())
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        job = self.pick(data)
        self.expect(job, job.publish, "committed", "active")

    # -- time ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def fall_silent(self, data: st.DataObject) -> None:
        job = self.pick(data)
        self.world.change("UPDATE processes SET lease_until = -1 WHERE id = ?", [(job.key.id,)])
        if self.lives(job):
            self.overdue.add(job.key.id)

    @precondition(lambda self: self.overdue)
    @rule()
    def expire(self) -> None:
        expected = len(self.overdue)
        assert self.world.catalog.expire() == expected
        self.sweep_model()

    # -- operators -------------------------------------------------------------------------------------------------

    @rule(fence=st.booleans(), data=st.data())
    def recover(self, fence: bool, data: st.DataObject) -> None:
        names = self.world.column("SELECT name FROM projects ORDER BY id")
        old = data.draw(st.sampled_from(names[-2:]), "project")
        standing = self.world.column("SELECT name FROM projects WHERE state <> 'ended'")
        found = self.world.recover(old, fence=fence)
        if fence:
            self.fenced(standing if standing != [old] else [])
        if found is not None:
            self.project = found
        missing = any(state in ("available", "held") for state in self.model.state.values())
        assert (found is not None) == missing
        again = self.world.recover(old, fence=False) if found != old else found
        assert again == found

    @rule(fence=st.booleans(), sure=st.integers(0, 3))
    def end(self, fence: bool, sure: int) -> None:
        if sure:
            return
        self.world.end(self.project, fence=fence)
        if fence:
            self.fenced([])

    def fenced(self, spared: list[str]) -> None:
        for job in self.jobs:
            if self.lives(job) and job.project not in spared:
                self.rolled_back(job, opened=False)

    @rule(
        data=st.data(), many=st.sampled_from([1, 2, None]), fate=st.sampled_from(["commits", "crashes", "falls silent"])
    )
    def live_through(self, data: st.DataObject, many: int | None, fate: str) -> None:
        """A whole life of a job in one step."""
        before = len(self.jobs)
        self.start(many)
        if len(self.jobs) == before:
            return
        job = self.jobs[-1]
        only = _Only(job)
        self.take(only, 4)  # type: ignore[arg-type]
        for name in list(job.ids):
            known = self.marked[job.key.id]
            job.mark(Mark.OPENED, name)
            known[name] = Mark.OPENED
            self.ever_opened[job.key.id].add(name)
        if fate == "commits":
            self.commit(only, forced=False, bare=False)  # type: ignore[arg-type]
        elif fate == "crashes":
            self.roll_back(only, None, counted=True)  # type: ignore[arg-type]
        else:
            self.fall_silent(only)  # type: ignore[arg-type]

    @rule(pause=st.booleans())
    def pause_or_resume(self, pause: bool) -> None:
        if self.world.project_state(self.project)[0] != "ended":
            self.say_pause_or_resume(pause)

    def say_pause_or_resume(self, pause: bool) -> None:
        project = self.world.catalog.project(self.project)
        if pause:
            project.pause("lunch")
        elif project.resume():
            self.forget_setbacks("available")

    def forget_setbacks(self, state: str) -> None:
        """What a person mended counts no longer."""
        forgotten = {name: 0 for name, now in self.model.state.items() if now == state}
        self.model.setbacks.update(forgotten)
        self.model.setbacks_alone.update(forgotten)

    @rule(data=st.data())
    def park_or_unpark(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.state)), "file")
        project, state = self.world.catalog.project(self.project), self.model.state[name]
        if state == "available":
            assert project.park([name], "bad") == 1
            self.model.state[name] = "parked"
        elif state == "parked":
            project.unpark()
            self.forget_setbacks("parked")
            self.model.state.update(
                {name: "available" for name, state in self.model.state.items() if state == "parked"}
            )
        else:
            with pytest.raises(NotAllowed):
                project.park([name], "bad")

    @precondition(lambda self: "committed" in self.model.job.values())
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        job = self.pick(data)
        state = self.model.job[job.key.id]
        if state in ("committed", "revoking"):
            self.world.revoke(job)
            self.model.job[job.key.id] = "revoking"
        elif state == "revoked":
            assert self.world.revoke(job) == ()
        else:
            with pytest.raises(NotAllowed):
                self.world.revoke(job)

    @precondition(lambda self: "revoking" in self.model.job.values())
    @rule(data=st.data())
    def finish_revoking(self, data: st.DataObject) -> None:
        job = self.pick(data)
        with self.world.database.transaction() as tx:
            freed = outputs.finish_reopen(tx, job.key.id)
        if self.model.job[job.key.id] == "revoking":
            self.model.job[job.key.id] = "revoked"
            gone = [n for n, h in self.model.holder.items() if h == job.key.id and self.model.state[n] == "committed"]
            self.model.state.update(dict.fromkeys(gone, "available"))
            assert freed == len(gone)
        else:
            assert freed == 0

    # -- always ----------------------------------------------------------------------------------------------------

    @invariant()
    def the_catalog_is_sound(self) -> None:
        assert violations(self.world.database) == []

    @invariant()
    def the_catalog_says_what_the_model_says(self) -> None:
        _, rows = self.world.database.table(
            "SELECT f.name, l.state, l.process_id, l.attempts, l.alone, l.setbacks FROM ledger l JOIN files f ON f.id = l.file_id"
        )
        model = self.model
        for name, state, _, *counts in rows:
            expected = [model.attempts[name], model.alone[name], model.setbacks[name]]
            assert (name, state, counts) == (name, model.state[name], expected)
        for name, state, process, *_ in rows:
            if state in ("held", "committed"):
                assert process == model.holder[name]
        assert dict(self.world.database.table("SELECT id, state FROM processes")[1]) == model.job


class PartitionMachine(LedgerMachine):
    """The same where files come in whole partitions of two."""

    request: ClassVar[dict[str, Any]] = {"partition_by": {"files": 2}}


class PostgresMachine(LedgerMachine):
    """The same over PostgreSQL."""

    backend: ClassVar[str] = "postgresql"


class PostgresPartitionMachine(PostgresMachine, PartitionMachine):
    """Whole partitions over PostgreSQL."""


class _Only:
    """Draws one job whatever is asked."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def draw(self, strategy: object, label: str) -> object:
        """One job; the rest as the first of its kind."""
        return self.job if label == "job" else Mark.CONSUMED if label.startswith("f0") else 1


def _fits(marked: Mark | None, verdict: Mark) -> bool:
    """Whether a manifest may say this of a file that was marked so."""
    if marked is None:
        return True
    if marked is Mark.OPENED:
        return verdict is not Mark.UNREAD
    return verdict is marked


PROFILE = settings(
    max_examples=1000 if THOROUGH else 40,
    stateful_step_count=60 if THOROUGH else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
TestPull = LedgerMachine.TestCase
TestPull.settings = PROFILE
TestPartitions = PartitionMachine.TestCase
TestPartitions.settings = PROFILE
TestPullPostgres = PostgresMachine.TestCase
TestPullPostgres.settings = settings(PROFILE, max_examples=500 if THOROUGH else 8)
TestPartitionsPostgres = PostgresPartitionMachine.TestCase
TestPartitionsPostgres.settings = settings(PROFILE, max_examples=500 if THOROUGH else 8)
