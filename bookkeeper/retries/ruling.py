"""What was decided about a process that failed, in plain words that the ledger can carry out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that just left the live states: who it was, and what its files go back by. Times are epoch seconds."""

    id: int
    request: int
    project: int
    delivered: int
    partition: int | None
    max_attempts: int
    node: str | None
    started_at: float

    @property
    def alone(self) -> bool:
        """Whether its failure points at one file, or at one partition."""
        return self.delivered == 1 or self.partition is not None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A node that is to be given nothing for some seconds, and why."""

    node: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of what a process held, and of its project and its node.

    ``strike``: opened files get a strike, or only the ``suspects`` among them (ids), which are delivered alone next.
    ``strikes`` alone park a file (None: the request's ``max_attempts``). ``setback``: the others count one failure that says nothing about them; over ``cap``
    of those a file is delivered alone, and parked if it was alone. Nothing of it is delivered for ``delay`` seconds.
    ``brake`` pauses the project and ``rest`` (seconds, why) lets it rest.
    """

    strike: bool = False
    suspects: tuple[int, ...] = ()
    strikes: int | None = None
    setback: bool = False
    cap: int = 0
    delay: float = 0.0
    brake: str | None = None
    rest: tuple[float, str] | None = None
    exclude: Exclusion | None = None
