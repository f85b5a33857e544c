"""Run one process from its start to its end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from bookkeeper import logs
from bookkeeper.catalog import Database
from bookkeeper.checksums import adler32_of
from bookkeeper.errors import (
    BookkeeperError,
    CatalogError,
    Fenced,
    NodeExcluded,
    NotAllowed,
    Paused,
    RolledBack,
    StorageError,
    UsageError,
    ValidationError,
)
from bookkeeper.ledger import ledger_of
from bookkeeper.process import DeliveredFile, Process, new_nonce, start
from bookkeeper.protocol import Fate, Mark, StartProcess, Status
from bookkeeper.worker import command, freight, inputs, job, measured, payload, report, surroundings
from bookkeeper.worker.evidence import CommandFailed, evidence_of, message_of
from bookkeeper.worker.freight import Landed
from bookkeeper.worker.job import Job, Outcome
from bookkeeper.worker.outputs import Made, in_general, is_there, require_destination, store
from bookkeeper.worker.scratch import scratch_folder
from bookkeeper.worker.steps import OnEvent, Steps
from bookkeeper.worker.watch import SIGNALS, Interrupted, Watch
from bookkeeper_schema.states import Step

BATCH_ID: Final = "BOOKKEEPER_JOB_ID"
"""The variable in which a job of a batch system finds what that calls it."""

UNCOUNTED: Final = (SIGNALS[0], SIGNALS[2])
"""Signals that a person sends: SIGINT and SIGHUP interrupt, they are no failure. SIGTERM, a batch system's, is one."""


def work(database: Database, job_: Job, *, on_event: OnEvent = lambda kind, body: None) -> Outcome:
    """Run one process of a project: take files, run the command, prove, store and commit its outputs, publish.

    ``on_event`` is told of every event, first ``process.started``. Signals are handled if this is the main thread.
    Raises `UsageError` for a job that makes no sense, and what `start_process` raises for a project that is ended or
    unknown; all else is in the outcome.
    """
    for problem in command.problems(job_.command, [one.key for one in job_.outputs], partitioned=True):
        raise UsageError(problem)
    if not job_.command:
        raise UsageError("there is no command to run", remedy="write it after --")
    with Watch() as watch:
        try:
            process = start(ledger_of(database), _introduction(job_))
        except Paused as error:
            return Outcome(job.PAUSED, reason=str(error))
        except NodeExcluded as error:
            return Outcome(job.EXCLUDED, reason=str(error))
        worker = _Worker(database, job_, process, watch, on_event)
        try:
            process.keep_alive(watch.on_fenced)
            with process:
                return worker.run()
        except Fenced as error:
            worker.steps.end("fenced", str(error))
            process.roll_back(str(error), counted=False)  # it is over already: this deletes what it had stored
            return worker.outcome(job.FENCED, str(error))


def _introduction(job_: Job) -> StartProcess:
    return StartProcess(
        project=job_.project,
        nonce=new_nonce(),
        node=_node(job_),
        executor=job_.executor,
        job_id=job_.job_id or os.environ.get(BATCH_ID) or str(os.getpid()),
        lease=job_.lease,
        files_per_process=job_.files_per_process,
        partition=job_.partition,
    )


def _node(job_: Job) -> str:
    return job_.node or socket.gethostname()


class _Worker:
    """One process on its way through the steps."""

    def __init__(self, database: Database, job_: Job, process: Process, watch: Watch, on_event: OnEvent) -> None:
        self._database, self._job, self._process, self._watch = database, job_, process, watch
        self._logs = logs.paths(database, process.id)
        self._recorder = measured.recorder_of(process)
        self._ended: payload.Ended | None = None
        self._said: report.Report | None = None
        self._consumed: list[DeliveredFile] = []
        self.steps = Steps(ledger_of(database), process.key, on_event)
        on_event("process.started", {"process": process.id, "project": process.project})

    def run(self) -> Outcome:
        """Go through the steps; roll back where one fails. `Fenced` goes through."""
        try:
            return self._steps()
        except Fenced:
            raise
        except Interrupted as error:
            return self._roll_back(error, "interrupted", counted=error.number not in UNCOUNTED)
        except RolledBack as error:  # the commit was refused
            return self._roll_back(error, "failed", counted=True)
        except CatalogError:
            raise
        except (BookkeeperError, OSError) as error:  # the latter of the scratch folder
            return self._roll_back(error, "failed", counted=True)

    def outcome(self, fate: str, reason: str = "") -> Outcome:
        """Return what became of the process."""
        committed = fate in (job.COMMITTED, job.STAGED)
        entries = (measured.entries_of([file]) or 0 for file in self._consumed)
        return Outcome(
            fate=fate,
            process_id=self._process.id,
            reason=reason,
            files=len(self._process.files),
            consumed=len(self._consumed) if committed else 0,
            entries=sum(entries) if committed else 0,
            outputs=tuple(output.final_url for output in self._process.outputs) if committed else (),
            code=self._ended.code if self._ended else None,
            step=self.steps.current.value if self.steps.current and fate in (job.ROLLED_BACK, job.FENCED) else None,
        )

    # -- the steps -------------------------------------------------------------------------------------------------

    def _steps(self) -> Outcome:
        self._tell_size()
        self.steps.begin(Step.STAGE_EXECUTABLE)
        with scratch_folder() as scratch:
            landed = freight.stage(self._job, scratch, self._watch.check)
            self._job = landed.job
            self.steps.begin(Step.STAGE_INPUTS)
            files = inputs.take(self._process, self._watch, wait=self._job.wait)
            if not files:
                return self._nothing()
            copies = scratch / "inputs" if self._job.stage_inputs else None
            partitioned = self._process.started.partitioned
            places = self._watch.run(lambda: inputs.within_reach(files, copies, self._watch.check, whole=partitioned))
            given = [file for file in files if file.id in places]
            outputs = surroundings.output_paths(scratch, self._process, self._job.outputs)
            self._require_destinations(outputs)
            self._analyse(landed, scratch, [places[file.id] for file in given], outputs)
            self._judge(scratch, given, places)
            made = self._prove(outputs)
            self.steps.begin(Step.OUTPUT_STORAGE)
            for one in made:
                self._watch.run(
                    partial(store, self._process, one, adopt=self._job.adopt, on_progress=self._watch.check)
                )
            self._watch.check()
            return self._commit(no_output=not made)

    def _tell_size(self) -> None:
        """Record what was asked for: after a kill the next job asks for more than that."""
        one = self._job
        if one.memory_mb is not None or one.wall_s is not None:
            body = {"memory_mb": one.memory_mb, "wall_s": one.wall_s, "because": dict(one.because)}
            self.steps.tell("job.sized", body)

    def _nothing(self) -> Outcome:
        """End a process that got no file."""
        fate, reason = job.NOTHING, "nothing to do"
        if self._process.status is Status.EXCLUDED:
            fate, reason = job.EXCLUDED, self._process.why
        elif self._process.project_state == "paused":
            fate, reason = job.PAUSED, "the project is paused"
        self.steps.end("nothing")
        self._process.roll_back(reason, counted=False)
        return self.outcome(fate, reason)

    def _analyse(self, landed: Landed, scratch: Path, places: list[str], outputs: list[Path]) -> None:
        """Run the command. All its inputs are opened, durably, right before."""
        environment = surroundings.environment(scratch, self._process, places, outputs, self._job.memory_mb)
        environment |= landed.environment
        values = surroundings.values(self._process, self._job.outputs, outputs)
        words = command.expand(self._job.command, places, values)
        out, err = (logs.CappedLog(path, self._job.log_cap) for path in self._logs)
        self.steps.begin(Step.ANALYSIS)
        try:
            self._process.opened_all()
            self._ended = payload.run(
                [landed.program, *words[1:]],
                workdir=self._job.workdir,
                environment=environment,
                scratch=scratch,
                logs=(out, err),
                watch=self._watch,
                grace=self._job.grace,
                recorder=self._recorder,
            )
        except UsageError:
            self.steps.current = Step.STAGE_EXECUTABLE  # it never ran: no file is to blame
            raise
        finally:
            out.close()
            err.close()

    def _judge(self, scratch: Path, given: list[DeliveredFile], places: Mapping[int, str]) -> None:
        """Look at how the command ended and at what it says of its files; what it cost is told in any case."""
        assert self._ended is not None
        measured.keep(self._recorder, given, logs.perf_path(self._database, self._process.id))
        try:
            self._watch.check()
            if self._ended.code != 0:
                self._last_words(scratch, given, places)
                raise CommandFailed(self._ended.reason)
            self.steps.begin(Step.VERIFICATION)
            self._said = report.read(scratch / surroundings.REPORT, given, places)
            self._believe(self._said, given)
        finally:
            said = self._said.said if self._said else {}
            body = measured.body_of(
                self._recorder,
                code=self._ended.code,
                node=_node(self._job),
                given=given,
                consumed=self._consumed,
                said=said,
            )
            self.steps.tell("perf.recorded", body)

    def _last_words(self, scratch: Path, given: list[DeliveredFile], places: Mapping[int, str]) -> None:
        """Let a command that failed say of single files what it knows: the reasons go into the history."""
        try:
            self._said = report.read(scratch / surroundings.REPORT, given, places)
        except UsageError as error:
            self.steps.tell("report.refused", {"problem": str(error)})
            return
        for file in given:
            one = self._said.said.get(file.id)
            if one is not None and one.mark in (Mark.SKIPPED, Mark.FAILED):
                file.decided(one.mark, entries=one.entries, bytes=one.bytes, reason=one.reason or "no reason given")

    def _believe(self, said: report.Report, given: list[DeliveredFile]) -> None:
        """Decide every file. What the command left out is free again; what it read wrongly spoils the output."""
        report.decide(said, given)
        if said.torn:
            self.steps.tell("report.torn", {"line": said.torn})
        wrong = [] if self._job.allow_entries_mismatch else report.mismatches(given)
        if wrong:
            raise ValidationError(f"{wrong[0].name} was not read as catalogued: {wrong[0].reason}")
        left_out = [file for file in given if file.state != "consumed"]
        if left_out and (self._process.started.partitioned or len(left_out) == len(given)):
            first = left_out[0]
            whole = (
                "a partition counts whole or not at all"
                if self._process.started.partitioned
                else "no file was consumed"
            )
            raise ValidationError(f"{whole}: {first.name} was {first.state}: {first.reason}")
        self._consumed = [file for file in given if file.state == "consumed"]

    def _prove(self, outputs: list[Path]) -> list[Made]:
        """Take the checksums of what the command left, then prove it."""
        left = [pair for pair in zip(self._job.outputs, outputs, strict=True) if is_there(*pair)]
        checksums = [self._watch.run(partial(adler32_of, path)) for _, path in left]
        made = []
        for (spec, path), checksum in zip(left, checksums, strict=True):
            try:
                ask = partial(self._process.validate, path, spec.validate, spec.expect, plugins=self._job.plugins)
                proof = self._watch.run(ask)
            except ValidationError as error:
                raise ValidationError(in_general(str(error), spec, path)) from error
            made.append(Made(spec, path, checksum, proof))
        return made

    def _require_destinations(self, outputs: list[Path]) -> None:
        """Spare the command a run whose outputs could not be stored anyway."""
        try:
            for spec, path in zip(self._job.outputs, outputs, strict=True):
                self._watch.run(partial(require_destination, self._process, spec, path, adopt=self._job.adopt))
        except (StorageError, NotAllowed):
            self.steps.current = Step.OUTPUT_STORAGE  # no file is to blame
            raise

    # -- the end ---------------------------------------------------------------------------------------------------

    def _commit(self, *, no_output: bool) -> Outcome:
        """Commit; while the catalog cannot be reached, try again for the length of a lease: the outputs are stored."""
        deadline = time.monotonic() + self._process.started.lease
        reason = ""
        while True:
            try:
                self._process.commit(no_output=no_output)
                break
            except CatalogError:
                if self._process.fate is not Fate.LIVE or time.monotonic() > deadline:
                    raise
                self._watch.wait(1.0)
            except (StorageError, NotAllowed) as error:
                if self._process.fate is not Fate.COMMITTED:
                    raise
                reason = f"committed; not published yet: {error}"
                break
        self.steps.end("ok", reason or None)
        return self.outcome(job.STAGED if self._process.staged else job.COMMITTED, reason)

    def _roll_back(self, error: Exception, how: str, *, counted: bool) -> Outcome:
        reason = message_of(error)
        self.steps.end(how, reason)
        step = self.steps.current
        evidence = evidence_of(error, step, self._ended, self._logs)
        try:
            became = self._process.roll_back(reason, step=step, counted=counted, evidence=evidence)
        except (StorageError, NotAllowed):  # it was committed before, and its publication has to wait
            if self._process.fate is not Fate.COMMITTED:
                raise
            became = Fate.COMMITTED
        return self.outcome(job.COMMITTED if became is Fate.COMMITTED else job.ROLLED_BACK, reason)
