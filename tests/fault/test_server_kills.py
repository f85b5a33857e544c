"""A real server that is killed while its clients work: every file counts once, and nothing that was answered is lost."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from bookkeeper.api import create_catalog, open_catalog
from clients import Crews, Work, verdict
from ledgers import World
from services import postgres
from services.servers import ServerProcess
from services.warm import WarmServer

pytestmark = [pytest.mark.fault, pytest.mark.slow]

PROCESSES, THREADS = 4, 8
FILES = 12_000
KILLS = 100
"""Over SQLite; the servers are forked with everything imported (see `services.warm`)."""
COLD_KILLS = 6
"""Of a server that is started as people start it, which takes a second each time."""
POSTGRES_KILLS = 12
DATABASE_KILLS = 6

FREE = ("--open", "--rate", "1000000")


def kill_at_random(server: ServerProcess, crews: Crews, times: int) -> None:
    """Kill it that often and start it again: while it answers, and one time of five while it is about to."""
    chance = random.Random(4)
    for _ in range(times):
        crews.watch(chance.uniform(0.0, 0.4))
        server.kill()
        while chance.random() < 0.2:
            server.spawn()
            crews.watch(chance.uniform(0.0, 0.2))
            server.kill()
        server.start()


def the_end(world: World, crews: Crews, server: ServerProcess, files: int) -> None:
    """All clients finish, the server ends in good order, and all is as they were told."""
    crews.finish()
    assert server.stop() == 0
    told = verdict(world, crews.work, files)
    assert told["committed"] >= PROCESSES
    assert told["rolled_back"]


@pytest.mark.parametrize(("kind", "kills"), [(WarmServer, KILLS), (ServerProcess, COLD_KILLS)])
def test_a_server_killed_under_its_clients_loses_and_doubles_nothing(
    kind: type[ServerProcess], kills: int, tmp_path: Path
) -> None:
    with (
        World.create(tmp_path / "catalog.db", FILES, max_attempts=10_000) as world,
        kind(world.database.url, tmp_path, *FREE) as server,
        Crews(world, Work(server.url, tmp_path / "work"), PROCESSES, THREADS) as crews,
    ):
        kill_at_random(server, crews, kills)
        the_end(world, crews, server, FILES)


def test_a_server_over_postgresql_killed_under_its_clients_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with (
        postgres.running() as database,
        on_postgres(database) as world,
        WarmServer(world.database.url, tmp_path, *FREE) as server,
        Crews(world, Work(server.url, tmp_path / "work"), PROCESSES, THREADS) as crews,
    ):
        kill_at_random(server, crews, POSTGRES_KILLS)
        the_end(world, crews, server, FILES // 4)


def test_a_server_goes_on_when_its_postgresql_is_killed_in_the_middle_of_commits(tmp_path: Path) -> None:
    """The server stays up, its clients wait, and what they were told is there."""
    chance = random.Random(5)
    with (
        postgres.running(("fsync=on",)) as database,
        on_postgres(database) as world,
        ServerProcess(world.database.url, tmp_path, *FREE) as server,
        Crews(world, Work(server.url, tmp_path / "work", forgets=True), PROCESSES, THREADS) as crews,
    ):
        for _ in range(DATABASE_KILLS):
            crews.watch(chance.uniform(0.3, 1.0))
            database.stop(signal.SIGKILL)
            crews.watch(chance.uniform(0.0, 1.0))
            database.start()
        the_end(world, crews, server, FILES // 4)


def on_postgres(database: postgres.Server) -> World:
    """Make a catalog on this server of a quarter of the files."""
    url = database.url("catalog")
    create_catalog(url).close()
    world = World(open_catalog(url))
    world.fill(FILES // 4, max_attempts=10_000)
    return world
