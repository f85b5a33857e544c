"""`bookkeeper serve`: says where it answers, refuses what is not safe, ends in good order."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from commandline import ok, run
from services import postgres
from services.servers import ServerProcess


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


def test_several_processes_serve_postgresql_and_one_that_dies_is_followed_by_another(tmp_path: Path) -> None:
    catalog = postgres.shared().new()
    with ServerProcess(catalog, tmp_path, "--open", "--workers", "2") as server:
        parent = psutil.Process(server.pid)
        first = {child.pid for child in parent.children()}
        assert len(first) == 2
        assert httpx.get(server.url + "/healthz", timeout=60).json()["status"] == "ok"
        psutil.Process(min(first)).kill()
        for _ in range(3000):
            if len({child.pid for child in parent.children() if child.status() != psutil.STATUS_ZOMBIE} - first) == 1:
                break
            threading.Event().wait(0.01)
        else:
            raise AssertionError("no other was started")
        assert httpx.get(server.url + "/healthz", timeout=60).json()["status"] == "ok"
        assert server.stop() == 0


def test_a_server_is_not_served_again() -> None:
    ran = run("--catalog", "http://127.0.0.1:1", "serve")
    assert ran.code == 2
    assert "a server already" in ran.err
