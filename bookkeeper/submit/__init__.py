"""Run a spec: start or resume its project, keep workers going until nothing is left, publish, end.

Killed at any instruction: its workers go on, and the next `submit` counts them; nothing of what it knew is needed.
"""

from bookkeeper.submit.batch import written
from bookkeeper.submit.planning import Plan, plan, program_missing
from bookkeeper.submit.preparing import audience, prepare, unreachable
from bookkeeper.submit.progress import Progress, Submitted
from bookkeeper.submit.run import submit

__all__ = [
    "Plan",
    "Progress",
    "Submitted",
    "audience",
    "plan",
    "prepare",
    "program_missing",
    "submit",
    "unreachable",
    "written",
]
