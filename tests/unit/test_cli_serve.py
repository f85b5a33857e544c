"""`bookkeeper serve`: says where it answers, refuses what is not safe, ends in good order."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from commandline import ok, run
from services import postgres
from services.servers import ServerProcess
from workbench import until


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/catalog.db"
    ok("--catalog", url, "init")
    return url


def test_it_prints_its_address_answers_and_ends_when_it_is_asked_to(catalog: str, tmp_path: Path) -> None:
    with ServerProcess(catalog, tmp_path, "--open") as server:
        assert httpx.get(server.url + "/healthz", timeout=60).json()["status"] == "ok"
        assert server.stop() == 0


def test_json(catalog: str, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "bookkeeper_cli.main",
        "--catalog",
        catalog,
        "serve",
        "--port",
        "0",
        "--open",
        "--json",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "{\n"
        assert '"url": "http://127.0.0.1:' in server.stdout.readline()
        server.terminate()


def test_an_open_server_is_not_reached_from_other_hosts(catalog: str) -> None:
    refused = run("--catalog", catalog, "serve", "--open", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 5
    assert "without tokens" in refused.err


def test_several_processes_do_not_write_to_sqlite(catalog: str) -> None:
    refused = run("--catalog", catalog, "serve", "--open", "--workers", "2")
    assert refused.code == 5
    assert "one writer" in refused.err
    assert "PostgreSQL" in refused.err


@pytest.mark.parametrize(
    "words", [["--tls-cert", "{}/no.pem"], ["--tls-cert", "{}/catalog.db", "--tls-key", "{}/catalog.db"]]
)
def test_tls_needs_files_that_are_right(catalog: str, tmp_path: Path, words: list[str]) -> None:
    refused = run("--catalog", catalog, "serve", "--open", "--port", "0", *(word.format(tmp_path) for word in words))
    assert refused.code == 2
    assert "certificate" in refused.err
    assert "Traceback" not in refused.err


def test_a_port_that_is_taken_is_told(catalog: str, tmp_path: Path) -> None:
    with ServerProcess(catalog, tmp_path, "--open") as server:
        port = server.url.rpartition(":")[2]
        refused = run("--catalog", catalog, "serve", "--open", "--port", port)
    assert refused.code == 2
    assert "--port" in refused.err


def children(parent: psutil.Process) -> set[int]:
    """The ids of the children that run; one may end meanwhile."""
    found = set()
    for child in parent.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child.pid)
    return found


def test_several_processes_serve_postgresql_and_one_that_dies_is_followed_by_another(tmp_path: Path) -> None:
    catalog = postgres.shared().new()
    with ServerProcess(catalog, tmp_path, "--open", "--workers", "2") as server:
        parent = psutil.Process(server.pid)
        first = until(lambda: len(found := children(parent)) == 2 and found, "both")
        assert httpx.get(server.url + "/healthz", timeout=60).json()["status"] == "ok"
        psutil.Process(min(first)).kill()
        until(lambda: len(children(parent) - first) == 1, "another", 300)
        assert httpx.get(server.url + "/healthz", timeout=60).json()["status"] == "ok"
        assert server.stop() == 0


ASKED_AT_BIRTH = """
import os, signal, sys
from bookkeeper.catalog import open_existing
from bookkeeper.server import several
from bookkeeper.server.running import Place
fork, forks = os.fork, 0
def fork_and_be_asked():
    global forks
    forks += 1
    pid = fork()
    if (forks == 1) == (pid == 0):
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork, several.SHORT_LIFE = fork_and_be_asked, 0.0
several.serve_several(open_existing(sys.argv[1]), Place(port=0), 1, print, open_to_all=True, settings=None)
print("over after", forks)
"""


def test_whoever_is_asked_to_end_while_a_process_is_started_ends(catalog: str) -> None:
    """The first child is asked as soon as it is there, the parent when the second is: neither forgets it."""
    said = subprocess.run([sys.executable, "-c", ASKED_AT_BIRTH, catalog], capture_output=True, text=True, timeout=300)
    assert (said.returncode, said.stdout) == (0, "over after 2\n"), said.stderr


def test_a_server_is_not_served_again() -> None:
    ran = run("--catalog", "http://127.0.0.1:1", "serve")
    assert ran.code == 2
    assert "a server already" in ran.err
