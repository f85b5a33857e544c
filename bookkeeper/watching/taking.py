"""Take in what a batch system tells of jobs: the one way, for those who look after a request and for people's own verbs."""

from __future__ import annotations

from collections.abc import Sequence

from bookkeeper import jobs
from bookkeeper.catalog import Database
from bookkeeper.executors.batch import BatchSystem, Known, Seen
from bookkeeper.watching import printed
from bookkeeper_schema.states import OVER


def follow(database: Database, project: str, system: BatchSystem, known: Known) -> None:
    """Take in what happened to the jobs of a submission since somebody looked last."""
    position, seen = system.follow(known)
    if seen or position != known.position:
        take_in(database, project, system, known, position, seen)


def take_in(
    database: Database, project: str, system: BatchSystem, known: Known, position: str | None, seen: Sequence[Seen]
) -> None:
    """Record what happened to jobs of a submission, and keep what those that are over printed."""
    jobs.observe(database, project, known.id, known.position, position, seen)
    over = {told.number for told in seen if told.state in OVER}
    printed.keep(database, system, known, sorted(over & known.open.keys()))
