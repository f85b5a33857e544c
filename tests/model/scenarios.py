"""What is tried: for each rule the smallest world in which its absence shows, then the whole protocol of ``whole``."""

from __future__ import annotations

from typing import Any

from . import invariants as inv
from . import liveness as live
from .rules import Rules
from .scenario import Run, Scenario, holds
from .whole import ABLATIONS, WHOLE_PROTOCOL

ALL_DURABLE = Rules().durable | {"next", "mark"}

#: No rule beyond the transaction itself: what a first implementation might do.
BARE: dict[str, Any] = {
    "manifest": False,
    "guard_rows": False,
    "whole_partition": False,
    "free_to_open": False,
    "unique_temporaries": False,
    "never_replace": False,
    "two_phase_reopen": False,
    "one_publisher": False,
    "durable": frozenset({"commit"}),
}
#: Few disturbances, so that the one in question shows.
QUIET: dict[str, Any] = {
    **BARE,
    "processes": 2,
    "projects": 1,
    "ends": False,
    "late_copies": 0,
    "lossy_marks": False,
    "give_up": False,
}


def _pair(
    name: str,
    what: str,
    base: dict[str, Any],
    without: dict[str, Any],
    rule: dict[str, Any],
    shows: str,
    *,
    small: bool = True,
) -> Scenario:
    """The world without the rule, which must show a violation, and with it."""
    runs = Run("without", Rules(**{**base, **without}), shows), Run("with", Rules(**{**base, **rule}))
    return Scenario(name, what, runs, small)


_PARTITION = {**QUIET, "partitioned": True}
_POWER = {**QUIET, "power_losses": 1, "collector": True, "group": 1}
_POWER_RULES: dict[str, Any] = {
    "manifest": True,
    "guard_rows": True,
    "unique_temporaries": True,
    "durable": frozenset({"start", "commit", "roll back"}),
}
_ONE_JOB = {**QUIET, "jobs": 1, "processes": 1}

ONE_RULE: tuple[Scenario, ...] = (
    _pair(
        "core", "two jobs, a recovery, late copies: recover takes its project's rows only",
        {**BARE, "processes": 2, "lossy_marks": False}, {}, {"free_to_open": True}, inv.RECOVER_DENIES, small=False,
    ),
    _pair(
        "marks", "marks that travel apart from the commit may be lost",
        {**QUIET, "give_up": True}, {"lossy_marks": True}, {"manifest": True}, inv.DUPLICATE,
    ),
    holds(
        "late", "two late copies of any request",
        Rules(**{**QUIET, "give_up": True, "late_copies": 2, "group": 1}),
    ),
    _pair(
        "partition-temp", "names by partition; the temporary is the final name and a suffix",
        _PARTITION, {}, {"unique_temporaries": True}, inv.TRUNCATED,
    ),
    _pair(
        "partition-partial", "a process commits a part of its partition",
        {**_PARTITION, "partial_work": True, "unique_temporaries": True}, {}, {"whole_partition": True}, live.UNPUBLISHED,
    ),
    _pair(
        "partition-noreplace", "the same, publication never replaces",
        {**_PARTITION, "partial_work": True, "unique_temporaries": True, "never_replace": True},
        {}, {"whole_partition": True}, live.UNPUBLISHED,
    ),
    _pair(
        "partition-collector", "the collector deletes a discarded temporary by its shared name",
        {**_PARTITION, "collector": True}, {}, {"unique_temporaries": True}, inv.OUTPUT_LOST,
    ),
    _pair(
        "restart-jobid", "the batch system runs a job twice; start_process goes by its job id",
        {**QUIET, "partial_work": True}, {"start_key": "batch job"}, {}, live.DUPLICATE,
    ),
    Scenario(
        "start-nokey", "start_process without a key leaves a spare process: harmless",
        (
            Run("without", Rules(**{**QUIET, "processes": 3, "start_key": "none"})),
            Run("with", Rules(**{**QUIET, "processes": 3})),
        ),
    ),
    _pair(
        "giveup", "the commit was executed, its answer lost; the job cleans up and rolls back",
        {**_ONE_JOB, "give_up": True, "late_copies": 1}, {"delete_when_answered": False}, {}, inv.OUTPUT_LOST,
    ),
    _pair(
        "recover-late-return", "end, recover, and then a live process gives its files back",
        {**QUIET, "projects": 2, "group": 1, "ends": True}, {}, {"free_to_open": True}, inv.NOBODY_RECOVERS, small=False,
    ),
    _pair(
        "race-start", "end --fence between the test and the insert of start_process",
        {**_ONE_JOB, "ends": True, "plain_end": False, "free_to_open": True},
        {"serialised_start": False}, {}, inv.LIVE_IN_FENCED,
    ),
    _pair(
        "race-next", "expiry between the test and the update of next_files",
        {**QUIET, "jobs": 1}, {"serialised_next": False}, {}, inv.STUCK,
    ),
    _pair(
        "temp-visible", "temporaries are listed in the destination",
        _ONE_JOB, {"hidden_temporaries": False}, {}, inv.TRUNCATED,
    ),
    _pair(
        "reopen", "an output is reopened; a paused worker renames later",
        {**QUIET, "reopens": 1, "unique_temporaries": True}, {}, {"two_phase_reopen": True}, inv.DID_NOT_COUNT,
    ),
    _pair(
        "reopen-s3", "the same in two phases, where publication is a copy",
        {**QUIET, "reopens": 1, "unique_temporaries": True, "atomic_rename": False, "two_phase_reopen": True},
        {}, {"one_publisher": True}, inv.DID_NOT_COUNT,
    ),
    _pair(
        "power", "power loss; only commit is durable, numbers are given again",
        _POWER, {}, _POWER_RULES, inv.OUTPUT_LOST,
    ),
    _pair(
        "power-manifest", "the same with the manifest alone",
        {**_POWER, "manifest": True}, {}, _POWER_RULES, inv.OUTPUT_LOST,
    ),
    _pair(
        "power-guard", "the same with the manifest and the guard on each row",
        {**_POWER, "manifest": True, "guard_rows": True}, {}, _POWER_RULES, inv.OUTPUT_LOST,
    ),
    _pair(
        "power-collector", "the collector acts on a roll back that the power loss undoes",
        {**_POWER, "unique_temporaries": True, "guard_rows": True},
        {"durable": ALL_DURABLE - {"roll back"}}, {"durable": ALL_DURABLE}, inv.OUTPUT_LOST,
    ),
    _pair(
        "power-noguard", "all rules of power but the guard on each row",
        {**_POWER, **_POWER_RULES}, {"guard_rows": False}, {}, inv.COMMITTED_TWICE,
    ),
    _pair(
        "power-token", "a power loss undoes a start; the number is given again, without tokens",
        {**_POWER, **_POWER_RULES, "durable": _POWER_RULES["durable"] - {"start"}, "group": 2, "partial_work": True},
        {"tokens": False, "crash": False}, {"crash": False}, inv.OTHER_BYTES,
    ),
    _pair(
        "daemons", "two transfer daemons, one temporary name",
        {**_ONE_JOB, "daemons": 2}, {}, {"unique_temporaries": True}, inv.TRUNCATED,
    ),
    _pair(
        "daemons-lease", "a staged process without a deadline; its copy near by is lost",
        {**_ONE_JOB, "daemons": 1, "unique_temporaries": True, "near_losses": True},
        {"transfer_deadline": False}, {}, live.STUCK,
    ),
)  # fmt: skip

EVERYTHING: dict[str, Scenario] = {scenario.name: scenario for scenario in (*ONE_RULE, *WHOLE_PROTOCOL, *ABLATIONS)}
