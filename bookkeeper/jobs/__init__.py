"""What was handed to batch systems, as the catalog has it: submissions, their jobs, and what became of them.

Nothing here decides anything in the ledger, and nothing here speaks to a batch system. Every change is one guarded
transaction: two that look after the same request submit a job once, and take in once what happened to it.

=============  ======================================================================================================
killed         and then
=============  ======================================================================================================
after          the jobs are `intended`: whoever comes next asks the batch system for the tag, and submits them where it
`intend`       knows none
after the      the same: the batch system tells which jobs it has, and `submitted` records them
submission
in `observe`   the position has not moved: the same is told again, and taken in
after it       processes whose jobs died are found again by `dead`: it reads what is, not what happened
=============  ======================================================================================================
"""

from bookkeeper.jobs.causes import name_causes
from bookkeeper.jobs.findings import BY_HAND, LEAST, QUIET, dead, decide, judge, summary
from bookkeeper.jobs.looking import fruitless, of_process, over, standing, submissions, table
from bookkeeper.jobs.observing import observe
from bookkeeper.jobs.seen import Seen
from bookkeeper.jobs.submitting import intend, not_submitted, submitted

__all__ = [
    "BY_HAND",
    "LEAST",
    "QUIET",
    "Seen",
    "dead",
    "decide",
    "fruitless",
    "intend",
    "judge",
    "name_causes",
    "not_submitted",
    "observe",
    "of_process",
    "over",
    "standing",
    "submissions",
    "submitted",
    "summary",
    "table",
]
