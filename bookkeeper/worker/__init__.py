"""The job wrapper: any command as one process, in five steps. What every batch job runs.

``work`` takes files, brings them within reach, runs the command, proves its outputs, stores and commits them::

    stage-executable → stage-inputs → analysis → verification → output-storage → commit → publish

Killed at any instruction: before the commit the process is live until its lease runs out, then its files are free;
after it, whoever comes next publishes. The command does not outlive its worker (see ``guardian.py``).
"""

from bookkeeper.worker.job import Job, Outcome, OutputSpec
from bookkeeper.worker.work import work

__all__ = ["Job", "Outcome", "OutputSpec", "work"]
