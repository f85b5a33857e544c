"""HTCondor as a batch system, through its Python bindings (``htcondor2``, 25 or newer; the extra ``htcondor`` installs them).

A submission is one cluster, handed over in one transaction of the schedd: all of it is there, or nothing. The schedd is
never polled: what happens to jobs is read from their event log in the submission's folder
(https://htcondor.readthedocs.io/en/latest/codes-other-values/job-event-log-codes.html), and asked of the schedd only to
reconcile.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bookkeeper.executors.htcondor.system import HTCondor


def make(folder: Path, options: Mapping[str, Any]) -> HTCondor:
    """Return the batch system, by the table ``[executor.htcondor]``. Raises `UsageError` for what it does not know."""
    from bookkeeper.executors.htcondor.options import read
    from bookkeeper.executors.htcondor.system import HTCondor

    return HTCondor(read(options))
