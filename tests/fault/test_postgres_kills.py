"""PostgreSQL is killed, again and again, while eight processes commit to it. Exactly once, all the same."""

from __future__ import annotations

import random
import signal
from multiprocessing.connection import wait

import pytest

from bookkeeper.api import create_catalog, open_catalog
from forking import forks
from ledgerfaults import work_until_complete
from ledgers import World, sound
from services import postgres

pytestmark = pytest.mark.fault

WORKERS, KILLS, LEAST, FILES = 6, 8, 3, 600


def test_a_server_that_is_killed_in_the_middle_of_commits_loses_nothing_that_was_answered() -> None:
    """Where the work is done before the server was killed often enough, there is more of it."""
    chance, files = random.Random(7), FILES
    with postgres.running(("fsync=on",)) as server:
        while killed_at_work(server, files, chance) < LEAST:
            files *= 4


def killed_at_work(server: postgres.Server, files: int, chance: random.Random) -> int:
    """Have so many files committed while the server is killed; return how often it was."""
    url = server.url(f"catalog_{files}")
    create_catalog(url).close()
    world = World(open_catalog(url))
    world.fill(files, max_attempts=10_000, files_per_process=5)
    children = {}
    for seed in range(WORKERS):
        child = forks().Process(target=work_until_complete, args=(url, seed, 0), kwargs={"crashes": True})
        child.start()
        children[child.sentinel] = child
    while world.value("SELECT count(DISTINCT process_id) FROM deliveries") < WORKERS:
        wait(list(children), timeout=0.05)
    kills = 0
    while kills < KILLS:
        ended = wait(list(children), timeout=chance.uniform(0.3, 1.0))
        assert not [children[one].exitcode for one in ended if children[one].exitcode]
        if ended:
            break
        server.stop(signal.SIGKILL)
        server.start()
        kills += 1
    for child in children.values():
        child.join()
        assert child.exitcode == 0
    status = world.catalog.project("p").status()
    assert status.complete
    assert status.committed == status.files == files
    sound(world)
    counting = "SELECT count(*) FROM consumption WHERE committed = 1 AND state = 'consumed'"
    assert world.value(counting) == world.value(counting.replace("count(*)", "count(DISTINCT file)")) == files
    world.close()
    return kills
