"""A bad network between jobs and a real server: what is lost, doubled, late or out of order changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper.client.ledger import HttpLedger
from bookkeeper.client.transport import Transport
from bookkeeper.errors import Fenced
from bookkeeper.protocol import Fate
from clients import Crews, Work, verdict
from ledgers import World, sound
from services.proxy import EVERYTHING, Fault, Proxy
from services.servers import ServerProcess

pytestmark = pytest.mark.fault

FILES = 600


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World.create(tmp_path / "catalog.db", 6)
    yield made
    sound(made)
    made.close()


@pytest.fixture
def proxy(world: World, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy before a real server; the world speaks through it."""
    with (
        ServerProcess(world.database.url, tmp_path, "--open", "--rate", "1000000") as server,
        Proxy(server.url) as proxy,
        contextlib.closing(Transport(proxy.address, patience=30)) as transport,
    ):
        world.ledger = HttpLedger(transport, patience=30)
        yield proxy


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_file_counts_once_whatever_the_network_does(seed: int, tmp_path: Path) -> None:
    world = World.create(tmp_path / "catalog.db", FILES, max_attempts=10_000)
    with (
        ServerProcess(world.database.url, tmp_path, "--open", "--rate", "1000000") as server,
        Proxy(server.url, seed=seed, rates=EVERYTHING) as proxy,
        Crews(world, Work(proxy.address, tmp_path / "work"), 2, 8, seed) as crews,
    ):
        while len(proxy.counts) < len(Fault) or proxy.counts.total() < 600:
            crews.watch(0.1)
        crews.finish()
        proxy.deliver()
        assert proxy.held == 0
        assert server.stop() == 0
    verdict(world, crews.work, FILES)
    world.close()


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.CUT_ANSWER, Fault.TWICE, Fault.TWICE_IN_TURN])
def test_a_commit_that_comes_again_is_one_commit(fault: Fault, world: World, proxy: Proxy) -> None:
    job = world.start()
    names = job.take(3)
    proxy.plan("commit", fault)
    (output,) = job.commit()
    assert proxy.counts[fault] == 1
    assert world.files("committed") == names
    assert [one.id for one in world.ledger.outputs_of(job.key)] == [output.id]
    assert job.commit() == (output,)


def test_a_commit_that_arrives_a_day_late_is_fenced_and_changes_nothing(world: World, proxy: Proxy) -> None:
    job = world.start()
    names = job.take(3)
    proxy.plan("commit", Fault.LATE)
    with contextlib.closing(Transport(proxy.address, patience=0)) as hasty, pytest.raises(Exception, match="reached"):
        HttpLedger(hasty, patience=0).commit(job.key, job.manifest(job.output()))
    assert proxy.held == 1
    world.late(job)
    other = world.start()
    assert set(names) <= set(other.take(6))
    before = world.dump()
    (answer,) = proxy.deliver()
    assert (answer.status, b"Fenced" in answer.body) == (410, True)
    assert world.dump() == before
    other.commit()
    assert set(world.files("committed")) >= set(names)
    with pytest.raises(Fenced):
        job.commit()


def test_next_files_doubled_and_late_gives_the_same_files_once(world: World, proxy: Proxy) -> None:
    job = world.start()
    proxy.plan("next_files", Fault.TWICE, Fault.LATE)
    first = job.take(2)
    second = job.take(2)
    assert proxy.held == 1
    third = job.take(2)
    held = world.files("held")
    proxy.deliver()  # the second call again, behind the third
    assert world.files("held") == held == sorted(first + second + third)
    job.commit()
    assert len(world.files("committed")) == 6


def test_a_roll_back_behind_the_commit_is_told_of_the_commit(world: World, proxy: Proxy) -> None:
    job = world.start()
    names = job.take(2)
    proxy.plan("roll_back", Fault.LATE)
    with contextlib.closing(Transport(proxy.address, patience=0)) as hasty, pytest.raises(Exception, match="reached"):
        HttpLedger(hasty, patience=0).roll_back(job.key, "impatient")
    job.commit()
    (answer,) = proxy.deliver()
    assert (answer.status, answer.body) == (200, b'"committed"')
    assert job.roll_back() is Fate.COMMITTED
    assert world.files("committed") == names


@pytest.mark.parametrize("fault", [Fault.TWICE, Fault.LOSE_ANSWER, Fault.LATE])
def test_a_process_that_is_started_twice_is_one(fault: Fault, world: World, proxy: Proxy) -> None:
    proxy.plan("start_process", fault)
    world.start().take(1)
    proxy.deliver()
    assert world.value("SELECT count(*) FROM processes") == 1


def test_a_heartbeat_that_arrives_too_late_revives_nobody(world: World, proxy: Proxy) -> None:
    job = world.start()
    job.take(2)
    proxy.plan("heartbeat", Fault.LATE)
    with contextlib.closing(Transport(proxy.address, patience=0)) as hasty, pytest.raises(Exception, match="reached"):
        HttpLedger(hasty, patience=0).heartbeat(job.key)
    world.late(job)
    world.catalog.expire()
    (answer,) = proxy.deliver()
    assert answer.status == 410
    assert world.state(job) == "rolled_back"
