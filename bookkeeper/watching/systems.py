"""The batch systems that are spoken to, and submissions as they want to be asked about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bookkeeper import executors
from bookkeeper.catalog import Database
from bookkeeper.executors.batch import Asks, BatchSystem, Known
from bookkeeper_schema.states import JobState


class Systems:
    """Batch systems by kind and options, each made once."""

    def __init__(self, database: Database) -> None:
        self.folder = database.folder / "batch"
        self._made: dict[tuple[str, str], BatchSystem] = {}

    def of(self, kind: str, asks: Asks) -> BatchSystem:
        """Return the system that jobs of this kind, with what they ask for, were or are to be given to."""
        key = kind, json.dumps(dict(asks.options), sort_keys=True, default=str)
        if key not in self._made:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._made[key] = executors.batch_system(kind, self.folder, asks.options)
        return self._made[key]

    def of_submission(self, submission: Mapping[str, Any]) -> BatchSystem:
        """Return the system that a submission was, or is to be, given to."""
        return self.of(submission["executor"], asks_of(submission["asks"]))

    def close(self) -> None:
        """Let go of all; jobs go on."""
        for system in self._made.values():
            system.close()
        self._made.clear()


def asks_of(said: Mapping[str, Any]) -> Asks:
    """Return what the catalog keeps of what a batch system is asked for."""
    return Asks(**{**said, "extra": tuple(said.get("extra", ()))})


def known_of(submission: Mapping[str, Any]) -> Known:
    """Return a submission, as `bookkeeper.jobs.submissions` gives it, for its batch system to look at."""
    unfinished = submission.get("unfinished", ())
    return Known(
        id=submission["id"],
        tag=submission["tag"],
        folder=Path(submission["folder"]),
        batch_id=submission["batch_id"] or "",
        position=submission["position"],
        jobs=submission["jobs"],
        open={job["number"]: (job["batch_id"] or "", JobState(job["state"])) for job in unfinished},
        asks=asks_of(submission["asks"]),
    )
