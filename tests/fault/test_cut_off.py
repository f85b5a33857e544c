"""A worker that is cut off past its lease, and returns: others did its files, and nothing of its own is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import bookkeeper
from bookkeeper.api import Catalog
from commandline import ok
from services.proxy import Proxy
from services.servers import ServerProcess
from workbench import kill, to_its_end, until

pytestmark = [pytest.mark.fault, pytest.mark.slow]

LEASE = "600s"
"""Longer than anything here takes: the one that is cut off is made to have outlived its own."""

SLOW = """
import pathlib, shutil, sys, threading
pathlib.Path("began").touch()
while not pathlib.Path("go").exists():
    threading.Event().wait(0.05)
shutil.copy(sys.argv[2], sys.argv[1])
pathlib.Path("ended").touch()
"""


def worker(url: str, *command: str, inside: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    words = [*inside, sys.executable, "-P", "-m", "bookkeeper_cli.main", "--catalog", url, "work", "p"]
    words += ["--lease", LEASE, "--files-per-process", "1"]
    words += ["--output-name", "m-{process}.root", "--destination", "out", "--", *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


class Network:
    """Where the worker is: it reaches the proxy at ``host``, and its commands run ``inside``."""

    host = "127.0.0.1"
    inside: Sequence[str] = ()

    def cut(self, proxy: Proxy) -> None:
        """Let nothing pass."""
        proxy.cut()

    def restore(self, proxy: Proxy) -> None:
        """Let everything pass again."""
        proxy.restore()


class Namespace(Network):
    """A network namespace of the worker's own, behind a pair of virtual cards: to cut it off is to pull the cable."""

    def __init__(self, number: int) -> None:
        self.name, self.host, self._theirs = f"bk{number}", f"10.213.{number % 250}.1", f"10.213.{number % 250}.2"
        self.inside = ("ip", "netns", "exec", self.name)

    def __enter__(self) -> Namespace:
        """Make it."""
        for words in (
            f"netns add {self.name}",
            f"link add {self.name}a type veth peer name {self.name}b netns {self.name}",
            f"addr add {self.host}/30 dev {self.name}a",
            f"link set {self.name}a up",
            f"-n {self.name} addr add {self._theirs}/30 dev {self.name}b",
            f"-n {self.name} link set {self.name}b up",
            f"-n {self.name} link set lo up",
        ):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it; the cards go with it."""
        subprocess.run(["ip", "netns", "delete", self.name], check=True, capture_output=True)

    def cut(self, proxy: Proxy) -> None:
        """Pull the cable: packets are lost, nobody is told."""
        subprocess.run(["ip", "link", "set", f"{self.name}a", "down"], check=True, capture_output=True)

    def restore(self, proxy: Proxy) -> None:
        """Plug it in again."""
        subprocess.run(["ip", "link", "set", f"{self.name}a", "up"], check=True, capture_output=True)


def privileged() -> bool:
    """Whether namespaces can be made here."""
    if os.getuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", f"bkprobe{os.getpid()}"], capture_output=True)
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "delete", f"bkprobe{os.getpid()}"], check=True, capture_output=True)
    return made.returncode == 0


@pytest.fixture(params=["behind a proxy", "in a namespace"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Where the worker is."""
    if request.param == "behind a proxy":
        yield Network()
        return
    if not privileged():
        pytest.skip("privilege: network namespaces cannot be made here")
    with Namespace(os.getpid() % 10_000) as namespace:
        yield namespace


def lease_is_over(catalog: Catalog, process: int) -> None:
    """Let so much time pass for a process that the lease it has is over."""
    with catalog.database.transaction() as tx:
        tx.many("UPDATE processes SET lease_until = lease_until - lease - 1e6 WHERE id = ?", [(process,)])


@pytest.mark.parametrize("ends", ["while it is cut off", "after it came back"])
def test_a_worker_cut_off_past_its_lease_is_fenced(
    ends: str, network: Network, tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    address = f"sqlite:///{tmp_path}/catalog.db"
    with bookkeeper.create_catalog(address) as catalog:
        catalog.declare_files(bookkeeper.scan([zmumu_folder]))
        catalog.define_dataset("all", names=["*"])
        project = catalog.start_project("p", "all", lease=LEASE)
        with ServerProcess(address, tmp_path) as server, Proxy(server.url, host=network.host) as proxy:
            command = (sys.executable, "slow.py", "{output}", "{inputs}")
            cut_off = worker(proxy.address, *command, inside=network.inside)
            try:
                until(Path("began").exists, "the worker at work", 600)
                network.cut(proxy)
                lease_is_over(catalog, 1)
                if ends == "while it is cut off":
                    Path("go").touch()
                    until(Path("ended").exists, "the end of its command", 600)
                while not project.status().complete:
                    other = worker(server.url, "cp", "{inputs}", "{output}")
                    _, words = to_its_end(other)
                    assert other.returncode in (0, 12), words
                network.restore(proxy)
                Path("go").touch()
                _, words = to_its_end(cut_off)
                assert cut_off.returncode == 7, words
            finally:
                kill(cut_off)
        counting = "SELECT file, process_id FROM consumption WHERE committed = 1"
        assert len(rows := catalog.sql(counting)) == len({row["file"] for row in rows}) == 6
        assert 1 not in {row["process_id"] for row in rows}
        assert len(list(Path("out").glob("*.root"))) == 6
        assert not list(Path("out").glob(".bookkeeper/*/*.root"))
        assert catalog.check() == []
    assert ok("--catalog", address, "check").code == 0
