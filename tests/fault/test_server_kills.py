"""A real server that is killed while its clients work: every file counts once, and nothing answered is lost."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper.client.ledger import HttpLedger
from bookkeeper.client.transport import Transport
from bookkeeper.errors import BookkeeperError
from bookkeeper.protocol import FileMark, Manifest, Mark, OutputRecord, StartProcess, Status
from ledgers import World, sound
from services.servers import ServerProcess

FILES, CLIENTS, KILLS = 240, 8, 4


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World.create(tmp_path / "catalog.db", FILES)
    yield made
    sound(made)
    made.close()


@pytest.mark.fault
def test_a_server_killed_under_its_clients_loses_and_doubles_nothing(world: World, tmp_path: Path) -> None:
    told: Counter[int] = Counter()
    failures: list[BaseException] = []
    with ServerProcess(world.database.url, tmp_path) as server:
        clients = [
            threading.Thread(target=work, args=(server.url, f"client-{number}", told, failures))
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for kill in range(KILLS):
            wait_until(lambda kill=kill: len(told) > FILES * (kill + 1) // (KILLS + 2) or bool(failures))
            server.restart()
        for client in clients:
            client.join(120)
            assert not client.is_alive()
        assert not failures
        assert server.stop() == 0
    assert world.files("committed") == sorted(f"f{number:03d}" for number in range(FILES))
    assert set(told.values()) == {1}
    assert len(told) == FILES  # nothing was committed that nobody was told of, and nobody was told twice


def work(url: str, name: str, told: Counter[int], failures: list[BaseException]) -> None:
    """Take three files, commit them, again and again, until there are no more."""
    try:
        with contextlib.closing(Transport(url)) as transport:
            ledger = HttpLedger(transport, patience=120)
            for number in range(FILES):
                started = ledger.start_process(StartProcess("p", f"{name}-{number}"))
                key, taken = started.key, []
                for seq in range(1, 4):
                    answer = ledger.next_files(key, seq, 1, [FileMark(one, Mark.CONSUMED) for one in taken[-1:]])
                    taken += [info.id for info in answer.files]
                if not taken:
                    ledger.roll_back(key, "nothing left", counted=False)
                    if answer.status is Status.EXHAUSTED:
                        return
                    continue
                manifest = Manifest([FileMark(one, Mark.CONSUMED) for one in taken], [output(key.id, started.tag)])
                ledger.commit(key, manifest)
                told.update(taken)
    except BookkeeperError as error:
        failures.append(error)


def output(process: int, tag: str) -> OutputRecord:
    name = f"out-{process}.root"
    return OutputRecord(
        "k", "/out", f"/out/.bookkeeper/{process}-{tag}-0/{name}", f"/out/{name}", 1, "adler32:0000000a"
    )


def wait_until(condition: object) -> None:
    """Wait for a condition; the test's own time limit is the longest."""
    assert callable(condition)
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")
