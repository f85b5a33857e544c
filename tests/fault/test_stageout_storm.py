"""A storm of outputs through a near storage to a real XRootD server, which is frozen, restarted, fills up, and damages one.

In the end every output is published once, the damaged copy was never published, and nobody waited behind stuck transfers.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bookkeeper import stageout, transfers
from bookkeeper.api import create_catalog
from bookkeeper.check import check, repair
from bookkeeper.protocol import OutputRecord
from goodcatalog import declare
from ledgers import World
from services import xrootd

OUTPUTS, OTHERS = 500, 10
SIZE, LARGE = 2_000, 64_000_000
DISK = 120_000_000
SOON = {
    "retry": {name: {"base_delay": 0.2, "backoff_factor": 1.0} for name in ("transient_io", "configuration", "unknown")}
}
CLIENT = {
    "XRD_CONNECTIONWINDOW": "1",
    "XRD_CONNECTIONRETRY": "1",
    "XRD_STREAMERRORWINDOW": "1",
    "XRD_TIMEOUTRESOLUTION": "1",
}

HESITATES = """
import sys
from bookkeeper.catalog import open_existing
from bookkeeper.stageout.local import LocalStore
from bookkeeper.transfers import carrying
whole = LocalStore.pieces
def pieces(store, url):
    for number, piece in enumerate(whole(store, url)):
        if number == 1:
            print("begun", flush=True)
            sys.stdin.readline()
        yield piece
LocalStore.pieces = pieces
database = open_existing(sys.argv[1])
carrying.carry(database, carrying.claim_next(database, seconds=3600), seconds=3600)
"""
"""A transfer worker that carries the first output of all, and goes on after its first piece when it has heard of it.

While it waits it says no word of its try, so it claims the output for longer than that can last."""


@pytest.fixture
def server() -> Iterator[xrootd.XRootD]:
    """A server whose disk is small."""
    server = xrootd.new()
    server.kill()
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", str(server.data)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("privilege: mounting is not allowed here")
    try:
        subprocess.run(["chown", "xrootd:xrootd", str(server.data)], check=True)
        server.start()
        yield server
        server.kill()
    finally:
        server.kill()
        subprocess.run(["umount", "-l", str(server.data)], check=True)


class Storm:
    """A catalog, the outputs of two projects at a near storage, and a crew that is stepped until something is so."""

    def __init__(self, folder: Path, out: str) -> None:
        self.world = World(create_catalog(f"sqlite:///{folder}/c.db"))
        self.database, self.catalog = self.world.database, self.world.catalog
        self.near, self.out, self.local = folder / "near", out, folder / "local"
        declare(self.catalog, OUTPUTS)
        self.catalog.define_dataset("all", names=["f*"])
        self.catalog.define_dataset("few", names=["f0*"])
        self.catalog.start_project("storm", "all", files_per_process=1, policy=SOON)
        self.catalog.start_project("other", "few", files_per_process=1, policy=SOON)
        for place in (self.near, self.local):
            stageout.claim(place, self.database.id)
        stageout.claim(out, self.database.id)
        self.crew = transfers.Crew(self.database)

    @contextlib.contextmanager
    def hesitating(self) -> Iterator[Callable[[], None]]:
        """A worker that has begun to carry the one output that there is; what is given lets it go on."""
        words, pipe = [sys.executable, "-c", HESITATES, self.database.url], subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as worker:
            try:
                assert worker.stdin is not None and worker.stdout is not None
                assert worker.stdout.readline() == "begun\n"
                yield worker.stdin.close
            finally:
                worker.kill()

    def produce(self, project: str, destination: str, number: int, size: int = SIZE) -> int:
        """Let a job store near what it made, and end; its process."""
        job = self.world.start(project, nonce=f"{project}-{number}")
        job.take(1)
        process, source = job.key.id, self.near.parent / "payload"
        source.write_bytes(os.urandom(1000) * (size // 1000))
        name = f"o-{process}.bin"
        temporary = stageout.temporary_url(self.near, process, job.started.tag, 0, name)
        made = stageout.stage_out(source, temporary)
        final = stageout.final_url(destination, name)
        job.stage_near(OutputRecord("o", destination, made.url, final, made.size, made.checksum, near=str(self.near)))
        return process

    def until(self, so: Callable[[], object], what: str, seconds: float = 900.0) -> float:
        """Let transfers go on until something is so; return how long it took."""
        began = time.monotonic()
        while not so():
            assert time.monotonic() - began < seconds, f"it took too long: {what}"
            self.crew.step()
            self.crew.wait(0.02)
        return time.monotonic() - began

    def totals(self, project: str) -> transfers.Progress:
        return transfers.totals(self.database, project)

    def failed(self, words: str) -> int:
        return int(
            self.world.value("SELECT count(*) FROM events WHERE kind = 'transfer.failed' AND body LIKE ?", f"%{words}%")
        )


@pytest.fixture
def storm(tmp_path: Path, server: xrootd.XRootD, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storm]:
    """A storm over the server, whose clients give up soon."""
    for name, value in CLIENT.items():
        monkeypatch.setenv(name, value)
    storm = Storm(tmp_path, f"{server.url}/out")
    try:
        yield storm
    finally:
        storm.crew.close()
        storm.world.close()


def test_a_storm_of_outputs_arrives_once_whatever_the_server_does(
    storm: Storm, server: xrootd.XRootD, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    folder = server.data / "out"

    # One file is damaged while it is under transfer.
    victim = storm.produce("storm", storm.out, 0, LARGE)
    with storm.hesitating() as go_on:
        for number in range(1, OUTPUTS):
            storm.produce("storm", storm.out, number)
        stored = time.monotonic() - began
        [part] = folder.glob(f".bookkeeper/*/o-{victim}.bin")
        server.freeze()
        assert 0 < part.stat().st_size < LARGE
        with part.open("r+b") as stream:
            stream.write(bytes(255 - byte for byte in part.read_bytes()[:16]))

        # Those who go elsewhere do not wait for those that are stuck.
        for number in range(OTHERS):
            storm.produce("other", str(storm.local), number)
        stuck = storm.until(lambda: storm.totals("other").arrived == OTHERS, "others arrive while the server is frozen")
        longest = max(one.waited for one in transfers.progress(storm.database, "other"))
        server.thaw()
        go_on()  # only now: what it asks a frozen server for would fail, at its client's leisure
        storm.until(lambda: storm.failed("other than it was written"), "the damage is seen")

    # It is killed.
    server.kill()
    seen = storm.failed("")
    storm.until(lambda: storm.failed("") > seen, "a transfer fails while there is no server")

    # Its disk is full when it comes back, and for a while; the large one has not arrived yet.
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        while True:
            stream.write(bytes(1 << 16))
    server.start()
    storm.until(lambda: storm.failed("full"), "the disk is full")
    filler.unlink()
    storm.until(lambda: not storm.totals("storm").open, "everything arrives")
    storm.until(lambda: not storm.crew.running, "nothing is left to do")

    repair(storm.database, older_than=0.0)
    assert all(storm.catalog.project(name).status().complete for name in ("storm", "other"))
    assert storm.totals("storm").arrived == OUTPUTS
    assert storm.world.column("SELECT DISTINCT state FROM outputs") == ["published"]
    assert len(list(folder.glob("o-*.bin"))) == OUTPUTS
    assert not [one for one in storm.near.rglob("*") if one.is_file() and one.name != "claim"]
    assert check(storm.database, checksum=True) == []
    with capsys.disabled():
        print(
            f"\n{OUTPUTS} outputs stored near in {stored:.1f} s, all published in {time.monotonic() - began:.1f} s; "
            f"{storm.failed('')} tries failed; while the server was stuck, the longest of {OTHERS} others "
            f"waited {longest:.2f} s (all within {stuck:.2f} s)"
        )
