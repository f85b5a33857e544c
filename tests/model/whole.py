"""The whole protocol in larger worlds, and then less one rule at a time: does something notice that it is gone?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import invariants as inv
from . import liveness as live
from .rules import Rules
from .scenario import Run, Scenario, holds

_CALM: dict[str, Any] = {"processes": 2, "late_copies": 0, "give_up": False}
WHOLE: dict[str, Rules] = {
    "whole": Rules(processes=2, collector=True),
    "whole-restart": Rules(**{**_CALM, "processes": 3}, collector=True, restarts=1),
    "whole-3files": Rules(**_CALM, files=3, projects=3),
    "whole-partition": Rules(processes=2, late_copies=0, collector=True, partitioned=True, partial_work=True),
    "whole-reopen": Rules(**_CALM, collector=True, reopens=1),
    "whole-power": Rules(**_CALM, collector=True, power_losses=1),
    "whole-stage": Rules(**_CALM, collector=True, power_losses=1, stages=True, group=1),
    "whole-daemons": Rules(**{**_CALM, "projects": 1}, ends=False, daemons=2, near_losses=True),
}

WHOLE_PROTOCOL: tuple[Scenario, ...] = (
    holds("whole", "every rule: two jobs, a recovery, late copies, the collector", WHOLE["whole"]),
    holds("whole-restart", "three processes by a batch restart, a recovery", WHOLE["whole-restart"]),
    holds("whole-3files", "three files, a recovery of a recovery", WHOLE["whole-3files"]),
    holds("whole-partition", "names by partition, a recovery, the collector", WHOLE["whole-partition"]),
    holds("whole-reopen", "an output taken back, a recovery, the collector", WHOLE["whole-reopen"], small=True),
    holds("whole-power", "power loss, a recovery, the collector", WHOLE["whole-power"]),
    holds("whole-stage", "the same with outputs on record before the commit", WHOLE["whole-stage"]),
    holds("whole-daemons", "two daemons that may die, near copies that get lost", WHOLE["whole-daemons"]),
)


def _less(name: str, what: str, world: str, shows: str | None, *, small: bool = True, **changes: Any) -> Scenario:
    """The whole protocol less one rule."""
    run = Run("without", replace(WHOLE[world], **changes), shows, stops=shows is not None)
    return Scenario(f"less-{name}", f"{world}, but {what}", (run,), small)


ABLATIONS: tuple[Scenario, ...] = (
    _less(
        "nonce", "start_process goes by the batch job's id", "whole", inv.OTHER_BYTES, small=False,
        start_key="batch job", partial_work=True,
    ),
    _less(
        "locked-start", "start_process tests and inserts in two steps", "whole", inv.LIVE_IN_FENCED,
        serialised_start=False, plain_end=False,
    ),
    _less(
        "locked-next", "next_files tests and updates in two steps", "whole", inv.STUCK,
        serialised_next=False,
    ),
    _less("manifest", "marks decide what counts", "whole", live.DUPLICATE, manifest=False),
    _less(
        "row-guard", "commit does not look at each row", "whole-power", inv.COMMITTED_TWICE, small=False,
        guard_rows=False,
    ),
    _less(
        "whole-partition", "a part of a partition may be committed", "whole-partition", live.UNPUBLISHED,
        whole_partition=False,
    ),
    _less(
        "free-to-open", "files go back to the project they came from", "whole", inv.RECOVER_DENIES,
        free_to_open=False,
    ),
    _less(
        "own-name", "the temporary is the final name and a suffix", "whole-partition", inv.OUTPUT_LOST, small=False,
        unique_temporaries=False,
    ),
    _less(
        "own-transfer", "daemons share the temporary name", "whole-daemons", inv.OUTPUT_LOST,
        unique_temporaries=False,
    ),
    _less(
        "hidden", "readers see temporaries", "whole", inv.TRUNCATED,
        hidden_temporaries=False,
    ),
    _less(
        "answer", "a worker deletes when it gives up", "whole", inv.OUTPUT_LOST, small=False,
        delete_when_answered=False,
    ),
    _less(
        "two-phases", "reopen frees the files at once", "whole-reopen", inv.DID_NOT_COUNT,
        two_phase_reopen=False,
    ),
    _less(
        "one-publisher", "workers publish by copying", "whole-reopen", inv.DID_NOT_COUNT,
        one_publisher=False, atomic_rename=False,
    ),
    _less(
        "deadline", "a staged process never expires", "whole-daemons", inv.NOBODY_FREES,
        transfer_deadline=False,
    ),
    _less(
        "durable-commit", "a power loss may undo a commit", "whole-power", inv.DID_NOT_COUNT, small=False,
        durable=Rules().durable - {"commit"},
    ),
    _less(
        "durable-rollback", "a power loss may undo a roll back", "whole-stage", inv.OUTPUT_LOST, small=False,
        durable=Rules().durable - {"roll back"},
    ),
    _less(
        "durable-start", "a power loss may undo a start", "whole-stage", None, small=False,
        durable=Rules().durable - {"start"},
    ),
    _less(
        "durable-stage", "a power loss may undo a stage", "whole-stage", None, small=False,
        durable=Rules().durable - {"stage"},
    ),
    _less(
        "never-replace", "publication replaces what is there", "whole-partition", None, small=False,
        never_replace=False,
    ),
)  # fmt: skip
