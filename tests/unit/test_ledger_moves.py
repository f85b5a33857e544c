"""Moves of the kernel between whose two halves somebody else comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.ledger import SqlLedger, giveback
from bookkeeper.protocol import Fate, Manifest, ProcessKey
from bookkeeper.retries import judge
from ledgers import World, sound


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path / "c.db")
    yield world
    sound(world)
    world.close()


@pytest.mark.parametrize("sign", ["heartbeat", "commit"])
def test_a_process_that_gives_a_sign_between_the_look_and_the_expiry_is_spared(world: World, sign: str) -> None:
    job = world.start()
    job.take()
    world.late(job)
    with world.database.transaction() as tx:
        assert giveback.overdue(tx, grace=False) == [job.key.id]
    world.ledger.heartbeat(job.key) if sign == "heartbeat" else job.commit()
    with world.database.transaction(durable=True) as tx:
        assert giveback.expire(tx, job.key.id, judge()) is False
    assert world.state(job) == ("active" if sign == "heartbeat" else "committed")


def test_only_who_is_live_is_fenced_and_only_once(world: World) -> None:
    live, done = world.start(), world.start()
    live.take(1)
    done.take(1)
    done.commit()
    for expected in (True, False):
        with world.database.transaction(durable=True) as tx:
            assert giveback.fence(tx, live.key.id, "an operator said so") is expected
            assert giveback.fence(tx, done.key.id, "an operator said so") is False
    assert world.reason("f000") == f"process {live.key.id} rolled back: an operator said so"


class Overtaken(SqlLedger):
    """A real ledger in which, after a commit was refused, another call of the job commits before the roll back."""

    def __init__(self, world: World, good: Manifest) -> None:
        super().__init__(world.database)
        self.good = good

    def roll_back(self, key: ProcessKey, *words: Any, **more: Any) -> Fate:
        SqlLedger(self._database).commit(key, self.good)
        return super().roll_back(key, *words, **more)


def test_a_refused_commit_that_was_overtaken_by_a_good_one_is_told_of_the_commit(world: World) -> None:
    job = world.start()
    job.take()
    answer = Overtaken(world, job.manifest(job.output())).commit(job.key, job.manifest())
    assert [one.record for one in answer] == [job.output()]
    assert world.state(job) == "committed"
