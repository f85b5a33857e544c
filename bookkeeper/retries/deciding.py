"""Weigh one failure against what happened before: the file, the node, the storage, or the command?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bookkeeper.catalog import Tx
from bookkeeper.failures import Evidence, FailureCategory
from bookkeeper.retries import history
from bookkeeper.retries.history import BLAMELESS_CATEGORIES, BLAMELESS_STEPS, PASSING, Failed, Standing
from bookkeeper.retries.policy import Policy
from bookkeeper.retries.ruling import Ended, Exclusion, Ruling

GONE: Final = "lease expired"
"""How a process ends whose job was heard of no more: its lease was wait enough."""

TWO_NODES: Final = 2
"""Nodes on which a file has to fail alone to be believed bad."""


@dataclass(frozen=True, slots=True)
class Case:
    """One failure to be judged: who failed, how it was explained, the files (ids) that its evidence names, and whether
    any was opened at all."""

    ended: Ended
    category: FailureCategory
    fingerprint: str
    evidence: Evidence
    policy: Policy
    suspects: Sequence[int]
    opened: bool

    @property
    def passing(self) -> bool:
        """Whether time may mend it."""
        return self.category in PASSING

    @property
    def blames_files(self) -> bool:
        """Whether it says something about the files: not before one was opened, unless it names one."""
        read = self.opened or bool(self.suspects)
        return read and self.category not in BLAMELESS_CATEGORIES and self.evidence.step not in BLAMELESS_STEPS

    @property
    def vanished(self) -> bool:
        """Whether nothing is known but that the job was heard of no more."""
        return self.evidence.message == GONE


def decide(tx: Tx, case: Case) -> tuple[Ruling, list[str]]:
    """Return what follows from a failure, and the names of the decisions it is made of."""
    excluded = _bad_node(tx, case)
    brake, rest = (None, None) if excluded else _halt(tx, case)
    stops = {"exclude node": excluded, "brake": brake, "rest": rest}
    decisions = [name for name, taken in stops.items() if taken]
    if case.blames_files:
        strike = Ruling(strike=True, suspects=tuple(case.suspects), strikes=_strikes(tx, case))
        return replace(strike, brake=brake, exclude=excluded), ["isolate" if case.suspects else "strike", *decisions]
    setback = _is_setback(case)
    # With a command that is wrong, too: only other files can tell that it is not this one.
    waits = case.passing or case.category is FailureCategory.CONFIGURATION
    delay = _back_off(tx, case) if setback and waits and not case.vanished else 0.0
    ruling = Ruling(
        setback=setback,
        cap=_cap(tx, case) + history.other_setbacks(tx, case.ended, case.category),
        delay=delay,
        brake=brake,
        rest=rest,
        exclude=excluded,
    )
    return ruling, ["back off" if delay else "free", *decisions]


def _cap(tx: Tx, case: Case) -> int:
    """Return how many setbacks alone a file may have: more if others failed alike, since then it is hardly the file.

    Also where others got further meanwhile: what is wrong may come and go, or they began before it was. Where others are
    at work, they are yet to tell.
    """
    retries = case.policy.retry[case.category].max_retries
    if case.passing:
        return retries
    similar = _similar(tx, case, history.standing(tx, case.ended.project).resumed_at)
    several = len(history.of_different_files(tx, similar, 2)) > 1 or history.others_at_work(tx, case.ended)
    return max(retries, case.policy.identical + 1) if several else retries


def _is_setback(case: Case) -> bool:
    """Tell whether the files have a part in it: not where a step failed that has nothing to do with them, unless nothing
    else would end that; nor where the job was heard of no more before it opened one."""
    if case.vanished:
        return case.opened
    return case.passing or case.evidence.step not in BLAMELESS_STEPS or case.policy.identical == 0


def _alike(tx: Tx, case: Case, now: Standing) -> list[Failed]:
    """Return the failures in a row that are like this one, this one first, the newest first.

    What passes is alike whatever it says, and any commit ends the row: the storage answers. Otherwise the row ends where
    a later process got further.
    """
    if case.passing:
        run = history.run_of(tx, case.ended.project, now.run_since)
        return [one for one in run if not one.blames_files]
    run = _similar(tx, case, now.resumed_at)
    return list(itertools.takewhile(lambda one: not history.got_further(tx, case.ended, one), run))


def _similar(tx: Tx, case: Case, since: float) -> list[Failed]:
    """Return the failures that blame files in the same words, or that, like this one, blame none; the newest first."""
    run = history.run_of(tx, case.ended.project, since)
    if case.blames_files:
        return [one for one in run if (one.category, one.fingerprint) == (case.category, case.fingerprint)]
    return [one for one in run if not one.blames_files and one.category not in PASSING]


def _halt(tx: Tx, case: Case) -> tuple[str | None, tuple[float, str] | None]:
    """Return why the project is to be paused, or how long and why it is to rest; neither where failures are too few.

    One node alone does not stop a project while others have work: it is that node's matter.
    """
    if case.policy.identical == 0:
        return None, None
    now = history.standing(tx, case.ended.project)
    needed = _needed(case, worked_before=now.committed > 0)
    alike = history.of_different_files(tx, _alike(tx, case, now), needed)
    if len(alike) < needed:
        return None, None
    on_one_node = case.ended.node is not None and {one.node for one in alike} == {case.ended.node}
    if on_one_node and history.live_elsewhere(tx, case.ended) is not None:
        return None, None
    message = case.evidence.message or case.fingerprint
    if not case.passing:
        what = "alike" if case.blames_files else "not the files'"
        return f"{needed} failures in a row that are {what} ({case.category}): {message}", None
    if case.ended.started_at < now.rest_until:
        return None, None  # it ran before the project went to rest: that rest is its answer
    if now.rests >= case.policy.retry[case.category].max_retries:
        return f"{now.rests} rests did not help ({case.category}): {message}", None
    return None, (case.policy.delay(case.category, now.rests + 1), message)


def _needed(case: Case, *, worked_before: bool) -> int:
    """Return how many failures alike stop a project: more once something was committed, yet more where files are named."""
    few = case.policy.identical
    if case.category is FailureCategory.CONFIGURATION:
        return few
    if case.suspects:
        return 3 * few
    return few + 2 if worked_before else few


def _bad_node(tx: Tx, case: Case) -> Exclusion | None:
    """Return the exclusion of the process's node, if different files failed there in a row and other nodes do well.

    A file that failed alone elsewhere too says nothing about this node, and one that the evidence calls corrupted half.
    It takes more where something was committed before: by chance alone, three failures in a row happen to any node that
    is used long enough.
    """
    ended, few = case.ended, case.policy.node_failures
    if few == 0 or ended.node is None or case.vanished:
        return None
    needed = few + 2 if history.worked_before(tx, ended) else few
    now = history.standing(tx, ended.project)
    run = [
        one
        for one in history.run_on_node(tx, ended, now.resumed_at, 2 * needed)
        if not history.failed_elsewhere(tx, one, ended.request)
    ]
    different = history.of_different_files(tx, run, 2 * needed)
    weight = sum(0.5 if one.category == FailureCategory.CORRUPTED_INPUT else 1.0 for one in different)
    if weight < needed:
        return None
    others_since = history.live_elsewhere(tx, ended)
    others_commit = now.last_commit_at > different[-1].ended_at
    others_run = others_since is not None and others_since <= ended.started_at
    if not (others_commit or others_run):
        return None
    count = len(different)
    reason = f"{count} processes in a row failed there on different files: {case.evidence.message or case.fingerprint}"
    return Exclusion(ended.node, case.policy.exclude, reason)


def _strikes(tx: Tx, case: Case) -> int:
    """Return how many strikes while alone park a file: fewer once it failed alone on two nodes."""
    ended, most = case.ended, case.ended.max_attempts
    if ended.delivered != 1:
        return most
    for (file,) in tx.run(history.FILES, {"process": ended.id}):
        nodes = history.nodes_failed_alone(tx, ended.request, file) | {ended.node or ""}
        if len(nodes) >= TWO_NODES:
            return min(most, case.policy.retry[case.category].max_retries + 1)
    return most


def _back_off(tx: Tx, case: Case) -> float:
    """Return the seconds until the next try: longer each time, up to the last of the policy's retries."""
    setbacks = tx.run(history.SETBACKS, {"process": case.ended.id}).fetchone()[0] or 0
    most = max(1, case.policy.retry[case.category].max_retries)
    return case.policy.delay(case.category, min(setbacks + 1, most))
