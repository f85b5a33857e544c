"""Games against an adversary: does isolation by halving park the bad files, and only those, and does it end?

The catalog chooses each group as the protocol says: the file with the fewest charged attempts first, and with it at
most as many as the smallest limit in the group allows. A file in ``poison`` fails every process that holds it. Beside
that the adversary fails any processes it likes, ``node_failures`` of them in all. Every game that can be played is.

A failure is a strike for the files, or, where it says nothing about them (``silent``), a setback.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple


class File(NamedTuple):
    """A file, the failures that were charged to it, those among them while it was alone; and its setbacks in the same way."""

    state: Literal["available", "committed", "parked"] = "available"
    attempts: int = 0
    alone: int = 0
    setbacks: int = 0
    setbacks_alone: int = 0


@dataclass(frozen=True, kw_only=True)
class Game:
    """The rules of one game."""

    files: int = 4
    group: int = 4  # files_per_process
    max_attempts: int = 3
    poison: frozenset[int] = frozenset({0})
    node_failures: int = 0
    parks: Literal["alone", "any"] = "alone"  # what counts: failures while alone; or any, once the file is alone
    charges: bool = True  # a failure charges the files the process had opened
    limit_of_process: bool = True  # the limit holds for all that a process is given, not for one next_files
    partitioned: bool = False  # the partition is delivered and parked whole
    destination_full: bool = False  # every process fails, whatever it reads
    pauses: bool = True  # three failures in a row of steps that are not the files' pause the project
    silent: bool = False  # failures say nothing about the files: a job was killed, or heard of no more
    cap: int = 3  # setbacks a file may have
    isolates: bool = True  # setbacks make groups smaller, and a file over the cap comes alone
    setbacks_park: Literal["alone", "any"] = "alone"  # what counts: setbacks while alone; or any, once it is alone
    endless_after: int = 12  # attempts

    def delivered(self, files: tuple[File, ...]) -> list[int]:
        """The files that the next process is given."""
        group: list[int] = []
        for f in sorted(_available(files), key=lambda f: (files[f].attempts, f)):
            limit = min(self._limit(files[g]) for g in (*group, f))
            if self.partitioned or not self.limit_of_process or len(group) < limit:
                group.append(f)
        return group

    def _limit(self, file: File) -> int:
        if not self.isolates:
            return self.group
        return 1 if file.setbacks > self.cap else -(-self.group // 2 ** (file.attempts + file.setbacks))

    def after(self, files: tuple[File, ...], group: list[int], fails: bool) -> tuple[File, ...]:
        """The files after a process that had this group."""
        result = list(files)
        for f in group:
            if fails and self.silent:
                setbacks = files[f].setbacks + 1
                alone = files[f].setbacks_alone + (len(group) == 1)
                counts = alone if self.setbacks_park == "alone" else setbacks
                state: Literal["parked", "available"] = (
                    "parked" if len(group) == 1 and counts > self.cap else "available"
                )
                result[f] = files[f]._replace(state=state, setbacks=setbacks, setbacks_alone=alone)
            elif fails:
                attempts = files[f].attempts + self.charges
                alone = files[f].alone + (self.charges and len(group) == 1)
                bad = self._is_bad(len(group) == 1, attempts, alone)
                result[f] = File("parked" if bad else "available", attempts, alone)
            else:
                result[f] = files[f]._replace(state="committed")
        return tuple(result)

    def _is_bad(self, is_alone: bool, attempts: int, alone: int) -> bool:
        if self.parks == "any":
            return is_alone and attempts >= self.max_attempts
        return (attempts if self.partitioned else alone) >= self.max_attempts


class Position(NamedTuple):
    """A moment of a game."""

    files: tuple[File, ...]
    failures_left: int
    uncharged: int = 0  # in a row


class Outcome(NamedTuple):
    """What can happen in a game: ``ends`` are the ways it can end badly."""

    positions: int
    ends: frozenset[str]
    longest: int  # processes until the game is over, at most


INNOCENT = "an innocent file is parked"
ENDLESS = "it never ends"
PAUSED = "the project is paused"


def play(game: Game) -> Outcome:
    """Play every game, breadth-first."""
    first = Position((File(),) * game.files, game.node_failures)
    processes, positions, ends = {first: 0}, [first], set[str]()
    for position in positions:  # which grows
        files = position.files
        if any(file.state == "parked" for f, file in enumerate(files) if f not in game.poison):
            ends.add(INNOCENT)
        if game.pauses and position.uncharged == 3:
            ends.add(PAUSED)
        elif any(file.attempts + file.setbacks >= game.endless_after for file in files):
            ends.add(ENDLESS)
        elif _available(files):
            for following in _turns(game, position):
                if following == position:
                    ends.add(ENDLESS)
                elif following not in processes:
                    processes[following] = processes[position] + 1
                    positions.append(following)
    return Outcome(len(positions), frozenset(ends), max(processes.values()))


def _turns(game: Game, position: Position) -> Iterator[Position]:
    """What may become of the next process."""
    files, left, uncharged = position
    group = game.delivered(files)
    doomed = game.destination_full or not game.poison.isdisjoint(group)
    if not doomed:
        yield Position(game.after(files, group, fails=False), left)
    if doomed or left:
        row = uncharged + 1 if game.pauses and not game.charges else 0
        yield Position(game.after(files, group, fails=True), left if doomed else left - 1, row)


def _available(files: tuple[File, ...]) -> list[int]:
    return [f for f, file in enumerate(files) if file.state == "available"]


def deadlocks(*, waits_while_holding: bool, jobs: int = 2, files: int = 2) -> int:
    """Pull mode: each job asks for one file after another and commits in the end. How often can nobody move?

    The question is what a job does that holds files when it is told `none now`: wait, or commit what it holds.
    A row of the ledger is -1 for available, -2 for committed, else the job that holds it.
    """
    first = ((-1,) * files, (True,) * jobs)
    positions, known, stuck = [first], {first}, 0
    for ledger, running in positions:  # which grows
        following = []
        for j in (j for j in range(jobs) if running[j]):
            holds, others = j in ledger, any(row >= 0 and row != j for row in ledger)
            if -1 in ledger:
                f = ledger.index(-1)
                following.append(((*ledger[:f], j, *ledger[f + 1 :]), running))
            elif not others or (holds and not waits_while_holding):
                done = tuple(-2 if row == j else row for row in ledger)
                following.append((done, tuple(run and i != j for i, run in enumerate(running))))
        stuck += not following and any(running)
        for position in following:
            if position not in known:
                known.add(position)
                positions.append(position)
    return stuck


#: The rules as designed (first), and what goes wrong with others: what it is, the game, its bad ends.
GAMES: tuple[tuple[str, Game, frozenset[str]], ...] = (
    ("one poison", Game(), frozenset()),
    ("one poison, 2 node failures", Game(node_failures=2), frozenset()),
    ("two poisons, 2 node failures", Game(poison=frozenset({0, 2}), node_failures=2), frozenset()),
    ("no poison, 2 node failures", Game(poison=frozenset(), node_failures=2), frozenset()),
    ("one poison among 100 files", Game(files=100, group=100, endless_after=40), frozenset()),
    (
        "full destination, which charges nothing",
        Game(poison=frozenset(), destination_full=True, charges=False),
        frozenset({PAUSED}),
    ),
    ("a poison that kills its worker in silence", Game(silent=True), frozenset()),
    ("two silent poisons, 2 node failures", Game(silent=True, poison=frozenset({0, 2}), node_failures=2), frozenset()),
    ("no poison, 3 silent node failures", Game(silent=True, poison=frozenset(), node_failures=3), frozenset()),
    ("a silent poison among 40 files", Game(silent=True, files=40, group=40, endless_after=40), frozenset()),
    ("partition with one poison: parked whole", Game(partitioned=True), frozenset({INNOCENT})),
    ("as many node failures as max_attempts", Game(node_failures=3), frozenset({INNOCENT})),
    ("any failures count: one poison, 1 node failure", Game(node_failures=1, parks="any"), frozenset({INNOCENT})),
    (
        "any failures count: 3 node failures",
        Game(poison=frozenset(), node_failures=3, parks="any"),
        frozenset({INNOCENT}),
    ),
    ("a full destination charges", Game(poison=frozenset(), destination_full=True), frozenset({INNOCENT})),
    (
        "more silent node failures than the cap",
        Game(silent=True, poison=frozenset(), node_failures=6),
        frozenset({INNOCENT}),
    ),
    ("setbacks isolate nothing", Game(silent=True, isolates=False), frozenset({ENDLESS})),
    (
        "any setbacks count: two silent poisons, 2 node failures",
        Game(silent=True, poison=frozenset({0, 2}), node_failures=2, setbacks_park="any"),
        frozenset({INNOCENT}),
    ),
    ("a dead worker charges nothing, nor does it pause", Game(charges=False, pauses=False), frozenset({ENDLESS})),
    ("the limit holds for each next_files only", Game(limit_of_process=False), frozenset({ENDLESS})),
)
