"""What follows from a failure: who is to blame, the file, the node, the storage or the command, and what to do next.

`decide` reads the history and returns a `Ruling`; it changes nothing itself. The ledger carries the ruling out in the
transaction of the roll back, and every ruling is an event that says which rule and which evidence.

=====================  =============================================================================================
the failure says       and so
=====================  =============================================================================================
something of a file    a strike for every file that was opened; for the named one alone, if the evidence names one.
                       Parked once it failed alone often enough, or alone on two nodes
that something passes  back-off, under a cap of its own; a file over the cap is delivered alone, and parked when that fails
                       too. Many of the kind in a row, of different files: the whole project rests, longer each time
that the command or    the project is paused: nothing that is tried again would help
its surroundings are
wrong
that a node is bad     the node is excluded for a while: different files failed there in a row, and others go on well
=====================  =============================================================================================
"""

from bookkeeper.retries.judging import Judge, judge, judge_of, nobody_failed, reclassified
from bookkeeper.retries.policy import Policy, policies_of, refusal
from bookkeeper.retries.ruling import Ended, Exclusion, Ruling

__all__ = [
    "Ended",
    "Exclusion",
    "Judge",
    "Policy",
    "Ruling",
    "judge",
    "judge_of",
    "nobody_failed",
    "policies_of",
    "reclassified",
    "refusal",
]
