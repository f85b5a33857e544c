"""A worker that is cut off past its lease, and returns: others did its files, and nothing of its own is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bookkeeper
from commandline import ok
from services.proxy import Proxy
from services.servers import ServerProcess
from workbench import until

pytestmark = [pytest.mark.fault, pytest.mark.slow]

SLOW = """
import pathlib, shutil, sys, threading
pathlib.Path("began").touch()
while not pathlib.Path("go").exists():
    threading.Event().wait(0.05)
shutil.copy(sys.argv[2], sys.argv[1])
pathlib.Path("ended").touch()
"""


def worker(url: str, *command: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-P", "-m", "bookkeeper_cli.main", "--catalog", url, "work", "p", "--lease", "2s"]
    words += ["--files-per-process", "1", "--output-name", "m-{process}.root", "--destination", "out", "--", *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize("ends", ["while it is cut off", "after it came back"])
def test_a_worker_cut_off_past_its_lease_is_fenced(
    ends: str, tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    address = f"sqlite:///{tmp_path}/catalog.db"
    with bookkeeper.create_catalog(address) as catalog:
        catalog.declare_files(bookkeeper.scan([zmumu_folder]))
        catalog.define_dataset("all", names=["*"])
        project = catalog.start_project("p", "all", lease="2s")
        with ServerProcess(address, tmp_path) as server, Proxy(server.url) as proxy:
            cut_off = worker(proxy.address, sys.executable, "slow.py", "{output}", "{inputs}")
            try:
                until(Path("began").exists, "the worker at work", 60)
                proxy.cut()
                if ends == "while it is cut off":
                    Path("go").touch()
                    until(Path("ended").exists, "the end of its command", 60)
                while not project.status().complete:
                    other = worker(server.url, "cp", "{inputs}", "{output}")
                    _, words = other.communicate(timeout=60)
                    assert other.returncode in (0, 12), words
                proxy.restore()
                Path("go").touch()
                _, words = cut_off.communicate(timeout=90)
                assert cut_off.returncode == 7, words
            finally:
                if cut_off.poll() is None:
                    os.killpg(cut_off.pid, signal.SIGKILL)
                    cut_off.communicate()
        counting = "SELECT file, process_id FROM consumption WHERE committed = 1"
        assert len(rows := catalog.sql(counting)) == len({row["file"] for row in rows}) == 6
        assert 1 not in {row["process_id"] for row in rows}
        assert len(list(Path("out").glob("*.root"))) == 6
        assert not list(Path("out").glob(".bookkeeper/*/*.root"))
        assert catalog.check() == []
    assert ok("--catalog", address, "check").code == 0
