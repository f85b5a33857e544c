"""Asynchronous stage-out: bring outputs from near storages to their destinations, while their jobs are long gone.

A job stores its output near, stages its process and ends. From then on it is ours: a `Crew` (of `bookkeeper watch`, `serve`,
`submit`) keeps transfer workers going, each a process of its own (`python -m bookkeeper.transfers CATALOG`),
which claims one output after the other, copies and proves it. With the last output of a process its commit takes place;
what it made is published, and the near copies go. None of them is needed: what a dead one left, another finds.
"""

from bookkeeper.transfers.crew import Crew
from bookkeeper.transfers.queue import Progress, Waiting, progress, totals

__all__ = ["Crew", "Progress", "Waiting", "progress", "totals"]
