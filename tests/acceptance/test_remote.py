"""An analysis whose catalog is behind a server: commands, workers and scripts reach it by its address alone."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uproot

import bookkeeper
from bookkeeper.errors import CatalogOutdated, CatalogTooNew, Fenced, ServerUnreachable, UsageError
from commandline import ok, run
from leftovers import none_left
from services.reach import BUSY, served
from services.servers import ServerProcess
from workbench import until

pytestmark = pytest.mark.acceptance

COPY = """
import shutil, sys, json, os
output, *inputs = sys.argv[1:]
shutil.copy(inputs[0], output)
with open(os.environ["BOOKKEEPER_REPORT"], "a") as report:
    for path in inputs:
        report.write(json.dumps({"file": path, "state": "consumed", "entries": 500}) + "\\n")
"""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerProcess]:
    """``bookkeeper serve`` in a process and a folder of its own; the environment names it."""
    place = tmp_path / "host"
    place.mkdir()
    bookkeeper.create_catalog(f"sqlite:///{place}/bookkeeper.db").close()
    monkeypatch.chdir(tmp_path)
    with ServerProcess(f"sqlite:///{place}/bookkeeper.db", place) as started:
        monkeypatch.setenv("BOOKKEEPER_CATALOG", started.url)
        yield started


def test_an_analysis_by_commands_alone(server: ServerProcess, tmp_path: Path, zmumu_folder: Path) -> None:
    """Declared, worked on by several workers at once, one of them killed; recovered, and every file is there once."""
    (tmp_path / "payload.py").write_text(COPY)
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "zmumu", "--names", "zmumu-*")
    ok("project", "start", "mass", "--dataset", "zmumu", "--lease", "60s")
    words = ["--files-per-process", "1"]
    words += ["--output-name", "m-{process}.root", "--destination", "out"]
    words += ["--expect-tree", "events", "--expect-entries", "consumed", "--"]
    waits = [sys.executable, "-c", "import time, pathlib; pathlib.Path('began').touch(); time.sleep(600)"]
    killed = started(["work", "mass", "--lease", "10s", *words, *waits])
    until(Path("began").exists, "the first worker at work", 180)
    os.killpg(killed.pid, 9)
    killed.communicate()
    ended = set[int]()
    while ok("status", "mass", "--json").json["committed"] < 6:
        copy = ["work", "mass", *words, sys.executable, "payload.py", "{output}", "{inputs}"]
        workers = [started(copy) for _ in range(3)]
        for worker in workers:
            worker.communicate(timeout=180)
        ended |= {worker.returncode for worker in workers}
    assert ended <= {0, 12}
    told = ok("status", "mass", "--json").json
    assert (told["complete"], told["committed"], told["unpublished"]) == (True, 6, 0)
    outputs = ok("outputs", "mass", "--paths").lines
    assert len(outputs) == 6 and all(Path(path).parent == tmp_path / "out" for path in outputs)
    names = []
    for path in outputs:
        assert uproot.open(path)["events"].num_entries == 500
        names += [row["file"] for row in ok("lineage", Path(path).name, "--json").json]
    assert sorted(names) == [f"zmumu-{n}.root" for n in range(1, 7)]
    assert "nothing is missing" in ok("recover", "mass").out
    assert ok("check", "--json").json["sound"]
    assert not list((tmp_path / "out").glob(".bookkeeper/*/*.root")) or ok("check")


def started(words: list[str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    program = [sys.executable, "-P", "-m", "bookkeeper_cli.main", *words]
    return subprocess.Popen(program, stdout=pipe, stderr=pipe, start_new_session=True)


SPEC = """
[project]
name = "copies"
files = ["data/*.root"]
[job]
command = ["{python}", "payload.py", "{{output}}", "{{inputs}}"]
files_per_process = 1
[output]
name = "c-{{process}}.root"
destination = "out"
[executor]
kind = "local"
jobs = 3
"""


def test_submit_ends_when_it_is_told_to_also_while_the_server_is_away(
    server: ServerProcess, tmp_path: Path, zmumu_folder: Path
) -> None:
    (tmp_path / "data").symlink_to(zmumu_folder)
    (tmp_path / "payload.py").write_text("import pathlib, time; pathlib.Path('began').touch(); time.sleep(600)")
    (tmp_path / "copies.toml").write_text(SPEC.format(python=sys.executable))
    running = started(["submit", "copies.toml"])
    until(Path("began").exists, "a job at work", 180)
    server.kill()
    began = time.monotonic()
    os.kill(running.pid, signal.SIGTERM)
    out, err = running.communicate(timeout=180)
    assert time.monotonic() - began < 45, "it waits neither for its jobs nor for the server"
    assert (running.returncode, b"cannot be reached" in err) == (6, True), (out, err)
    server.restart()
    until(lambda: ok("status", "copies", "--json").json["held"] == 0, "its jobs rolled back", 180)


def test_submit_goes_on_while_the_server_is_killed_and_comes_back(
    server: ServerProcess, tmp_path: Path, zmumu_folder: Path
) -> None:
    (tmp_path / "payload.py").write_text(COPY)
    (tmp_path / "data").symlink_to(zmumu_folder)
    (tmp_path / "copies.toml").write_text(SPEC.format(python=sys.executable))
    submitted = started(["submit", "copies.toml", "--json"])
    until(lambda: list((tmp_path / "out").glob("*.root")), "the first output", 180)
    server.restart()
    out, err = submitted.communicate(timeout=180)
    assert submitted.returncode == 0, err
    assert json.loads(out)["committed"] == 6
    assert len(list((tmp_path / "out").glob("*.root"))) == 6
    assert ok("recover", "copies", "--submit", "--json").json["recovery"] is None
    assert ok("check", "--json").json["sound"]


def test_the_python_api_over_http(server: ServerProcess, tmp_path: Path, zmumu_folder: Path) -> None:
    with bookkeeper.open_catalog(server.url) as catalog:
        assert catalog.url == server.url
        assert catalog.declare_files(bookkeeper.scan([zmumu_folder])).new == 6
        catalog.define_dataset("zmumu", where="entries = 500")
        project = catalog.start_project("sum", "zmumu", files_per_process=2)
        with project.start_process() as process:
            for file in process:
                with file.open() as path:
                    assert Path(path).exists()
            (tmp_path / "sum.txt").write_text("1000")
            process.stage_out("sum.txt", "out", "sum-{process}.txt")
        assert [row["url"] for row in project.outputs()] == [f"{tmp_path}/out/sum-1.txt"]
        late = project.start_process()
        late.next_files(1)
        assert project.end(fence=True) == 1
        with pytest.raises(Fenced):
            late.next_files(1)
        recovery = project.recover()
        assert recovery is not None and recovery.status().available == 4
        with recovery.start_process(files_per_process=9) as process:
            for file in process:
                file.consumed(entries=500)
            process.commit(no_output=True)
        assert project.status().complete and catalog.check() == []
        assert [row["committed"] for row in catalog.sql("SELECT committed FROM requests")] == [6]
        assert {row["state"] for row in project.processes()} == {"committed", "rolled_back"}


def test_what_belongs_to_the_host_is_refused_with_the_reason(server: ServerProcess) -> None:
    for words, what in (
        (("init",), "created, and upgraded, on its own host"),
        (("backup", "copy.db"), "is not backed up through a server"),
        (("serve", "--open"), "a server already"),
    ):
        ran = run(*words)
        assert (ran.code, what in ran.err, "→" in ran.err) == (2, True, True), ran
    assert "host of the catalog" in ok("check").out
    assert "host of the catalog" in ok("check", "--repair").out


# -- servers that are others --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(status: int, headers: dict[str, str], body: bytes) -> Iterator[str]:
    """Something that answers every request the same."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as there:
        thread = threading.Thread(target=there.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{there.server_address[1]}"
        finally:
            there.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("spoken", "error", "words"),
    [
        ("2", CatalogTooNew, "speaks protocol 2; this bookkeeper speaks 1"),
        ("0", CatalogOutdated, "speaks protocol 0; this bookkeeper needs 1"),
        (None, ServerUnreachable, "is no bookkeeper server"),
    ],
)
def test_a_server_of_another_version_is_told_from_ours(spoken: str | None, error: type, words: str) -> None:
    headers = {"bookkeeper-version": "9.9"} | ({} if spoken is None else {"bookkeeper-protocol": spoken})
    with answering(200, headers, b"{}") as url:
        with pytest.raises(error, match=words) as raised:
            bookkeeper.open_catalog(url)
        assert spoken is None or "9.9" in str(raised.value)
        ran = run("--catalog", url, "project", "list")
        assert (ran.code, words in ran.err, "→" in ran.err) == (6, True, True)


@pytest.mark.parametrize("url", ["http://", "https://user:secret@host/", "http://host?token=x", "http://[::1"])
def test_an_address_with_a_secret_or_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as error:
        bookkeeper.open_catalog(url)
    assert "secret" not in str(error.value)


def test_an_older_server_says_that_it_does_not_know_an_operation(tmp_path: Path) -> None:
    from bookkeeper.operations import REGISTRY, operation

    with (
        bookkeeper.create_catalog(f"sqlite:///{tmp_path}/c.db") as here,
        served(here.database, settings=BUSY) as url,
        bookkeeper.open_catalog(url) as there,
    ):

        @operation("read", name="tests.invent")
        def invent(database: object) -> int:
            """Do what is new."""
            return 1

        try:
            with pytest.raises(CatalogOutdated, match=r"knows no operation 'tests\.invent'"):
                invent(there.database)
        finally:
            del REGISTRY["tests.invent"]
