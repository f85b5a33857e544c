"""Look after requests whose jobs are in a batch system: follow, record, bury, submit what is missing, publish, finish.

A step reads what is and does what follows; nothing of it is kept in memory but how long to wait. So whoever looks after
a request may be killed at any instruction, and several may do it at once.
"""

from bookkeeper.watching.babysitter import Babysitter, Standing
from bookkeeper.watching.printed import log_of_job
from bookkeeper.watching.systems import Systems
from bookkeeper.watching.waiting import deliverable, waiting
from bookkeeper.watching.watch import Watch, sole

__all__ = ["Babysitter", "Standing", "Systems", "Watch", "deliverable", "log_of_job", "sole", "waiting"]
