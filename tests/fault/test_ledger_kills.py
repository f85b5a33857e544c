"""Eight processes at work at once, killed by the hundred: at statements and at any other instant. Exactly once, all the same."""

from __future__ import annotations

import random
import signal
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from forking import forks
from ledgerfaults import work_until_complete
from ledgers import World, sound

pytestmark = pytest.mark.fault

WORKERS, KILLS, SECONDS = 8, 250, 14.0
LEAST = {"sqlite": 50, "postgresql": 15}  # PostgreSQL takes longer over a statement


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_hundreds_of_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path, backend: str) -> None:
    world = World.create(tmp_path / "c.db", 500, backend=backend, max_attempts=10_000, files_per_process=5)
    context, chance = forks(), random.Random(1)
    children: dict[int, object] = {}
    kills, seed, deadline = 0, 0, time.monotonic() + SECONDS
    while True:
        mortal = kills < LEAST[backend] or (kills < KILLS and time.monotonic() < deadline)
        while len(children) < WORKERS and (mortal or not world.catalog.project("p").status().complete):
            seed += 1
            lifetime = chance.choice([0, 40, 150, 600]) if mortal else 0
            child = context.Process(target=work_until_complete, args=(world.database.url, seed, lifetime))
            child.start()
            children[child.sentinel] = child
        if not children:
            break
        for sentinel in wait(list(children), timeout=chance.uniform(0.0, 0.1) if mortal else 60.0):
            child = children.pop(sentinel)
            child.join()
            assert child.exitcode in (0, -signal.SIGKILL)
            kills += child.exitcode != 0
        if mortal and children:
            chance.choice(list(children.values())).kill()
    assert kills >= LEAST[backend]
    status = world.catalog.project("p").status()
    assert status.complete
    assert status.committed == status.files == 500
    world.catalog.expire()
    sound(world)
    counting = "SELECT count(*) FROM consumption WHERE committed = 1 AND state = 'consumed'"
    assert world.value(counting) == world.value(counting.replace("count(*)", "count(DISTINCT file)")) == 500
    print(f"{kills} kills, {seed} workers, {status.rollbacks} rollbacks")
    world.close()
