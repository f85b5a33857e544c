"""Jobs on nodes that share no folder with this host, and on which nothing is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import access, cargo, logs
from bookkeeper.access.http import Gate
from bookkeeper.catalog import create, open_existing
from bookkeeper.errors import CatalogBusy, UsageError
from bookkeeper.ledger import SqlLedger
from bookkeeper.server.operations import router
from bookkeeper.server.running import Parts, Place
from bookkeeper.worker import Job, OutputSpec
from leftovers import none_left
from nodes import PYTHON, Node, hides
from services.reach import BUSY, served
from services.servers import serving
from workbench import Bench, until

pytestmark = pytest.mark.acceptance


class Far(Bench):
    """A catalog behind a server, the spec's folder, and nodes."""

    def __init__(self, folder: Path, data: Path, url: str, cache: Path) -> None:
        super().__init__(folder, data, lambda path: url, files_per_process=1)
        self.cache, self.base, self._count = cache, folder / "spec", 0
        self.base.mkdir()
        self.text = OutputSpec("m-{process}.txt", str(self.out), validate="quick")

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def load(self, job: Job, **options: Any) -> cargo.Loaded:
        self._count += 1
        self.last = self.folder / f"submission{self._count}"
        self.last.mkdir()
        return cargo.load(job, self.last, catalog=self.catalog.url, base=self.base, cache=self.cache, **options)

    def node(self, job: Job, **options: Any) -> Node:
        return Node(self.folder / f"node{self._count + 1}", self.load(job, **options))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worker is made once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def far(tmp_path: Path, zmumu_folder: Path, cache: Path) -> Iterator[Far]:
    database = create(f"sqlite:///{tmp_path}/catalog.db")
    with served(database) as url:
        bench = Far(tmp_path, zmumu_folder, url, cache)
        yield bench
        bench.catalog.close()
    database.close()


def test_nothing_of_ours_can_be_imported_there(tmp_path: Path) -> None:
    for module in ("bookkeeper", "msgspec", "httpx"):
        words = [*hides(), PYTHON, "-I", "-c", f"import {module}"]
        done = subprocess.run(words, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in done.stderr


SCRIPT = """#!/usr/bin/env python3
import helper, os, shutil, sys
print("here is", __file__, [name for name in os.environ if "STATE_HOME" in name])
print("it costs", file=sys.stderr)
shutil.copy(sys.argv[2], sys.argv[1])
"""


def test_a_script_its_modules_and_a_root_file_as_output(far: Far) -> None:
    far.write("mass.py", SCRIPT)
    far.write("helper.py", "")
    job = far.job("python3", "mass.py", "{output}", "{inputs}")
    ran = (node := far.node(job, files=["*.py"])).run()
    assert ran.code == 0, ran
    assert ran.outcome["fate"] == "committed"
    assert ran.outcome["entries"] == 500
    assert far.published() == ["m-1.root"]
    assert node.left() == []
    assert "==> standard output of the command <==\nhere is " in ran.said
    assert "/job/mass.py []\n" in ran.said  # the worker's own variables are not the command's
    assert ran.said.endswith("==> standard error of the command <==\nit costs\n")
    (node.folder / "err").write_text(ran.said)  # what its batch system brings back
    assert logs.keep_job(far.catalog.database, 1, [node.folder / "out", node.folder / "err"])
    printed = logs.read(far.catalog.database, 1)
    assert (printed.stdout.startswith("here is /"), printed.stderr) == (True, "it costs\n")
    steps = [body["step"] for body in far.events("step.ended", 1)]
    assert steps[:2] == ["stage-executable", "stage-inputs"]


def test_a_binary_comes_with_its_private_libraries_and_not_with_those_of_the_system(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``sed`` with a library of its own: where it is mapped from, the process itself tells."""
    program, library = shutil.which("sed"), own_library(far.folder / "private")
    assert program is not None
    shutil.copy(program, far.base / "tool")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library.parent))
    job = far.job("./tool", "-n", "w{output}", "/proc/self/maps", outputs=(far.text,))
    node = far.node(job)
    monkeypatch.delenv("LD_LIBRARY_PATH")
    with tarfile.open(far.last / "cargo.tar.gz") as members:
        assert sorted(members.getnames()) == [f".bookkeeper/lib/{library.name}", "tool"]
    ran = node.run(environment={"LD_LIBRARY_PATH": "/lib/of/the/node"})
    assert ran.code == 0, ran
    maps = (far.out / "m-1.txt").read_text()
    mapped = {line.split()[-1] for line in maps.splitlines() if library.name in line}
    assert len(mapped) == 1
    assert mapped.pop().startswith(str(node.tmp))


def own_library(folder: Path) -> Path:
    """Return a copy of the library, besides C's, that ``sed`` is linked to."""
    told = subprocess.run(["ldd", shutil.which("sed") or ""], capture_output=True, text=True, check=True).stdout
    wanted = [line.split()[2] for line in told.splitlines() if "=> /" in line and "libc.so" not in line]
    folder.mkdir()
    return Path(shutil.copy(wanted[0], folder))


def test_an_archive_is_unpacked_and_the_files_of_the_spec_win(far: Far) -> None:
    inside = far.write("build/analysis/run.sh", '#!/bin/sh\ncat data/word "$2" > "$1"\n', 0o755)
    far.write("build/data/word", "archived ")
    with tarfile.open(far.base / "analysis.tar.xz", "w:xz") as members:
        members.add(inside, "analysis/run.sh")
        members.add(far.base / "build/data/word", "data/word")
    far.write("data/word", "mine ")
    far.write("check.sh", "#!/bin/sh\ngrep -q '^mine ' \"$1\"\n", 0o755)
    output = replace(far.text, validate=("./check.sh", "{path}"))
    job = far.job("analysis/run.sh", "{output}", "{inputs}", outputs=(output,))
    ran = (node := far.node(job, files=["data"], archives=["analysis.tar.xz"])).run()
    assert ran.code == 0, ran
    assert (far.out / "m-1.txt").read_bytes().startswith(b"mine root")
    assert node.left() == []


def test_what_did_not_arrive_whole_is_uncharged_and_named(far: Far) -> None:
    far.write("run.sh", '#!/bin/sh\ncp "$2" "$1"\n', 0o755)
    job = far.job("./run.sh", "{output}", "{inputs}")
    said = {}
    for damage in ("cut", "changed", "missing"):
        node = far.node(job)
        pack = node.folder / "cargo.tar.gz"
        data = pack.read_bytes()
        if damage == "missing":
            pack.unlink()
        else:
            pack.write_bytes(data[:-3] if damage == "cut" else data[:-3] + b"xyz")
        ran = node.run()
        assert (ran.code, ran.outcome["step"]) == (13, "stage-executable"), ran
        said[damage] = ran.outcome["reason"]
        assert node.left() == []
    assert far.attempts() == [0] * 6
    assert "cargo.tar.gz did not arrive whole on this node: " in said["cut"]
    assert "cargo.tar.gz is not what was sent with the job" in said["changed"]
    assert "cargo.tar.gz did not travel with the job" in said["missing"]
    judged = far.catalog.sql("SELECT category FROM failures WHERE step = 'stage-executable' ORDER BY process_id")
    assert [row["category"] for row in judged] == ["transient_io", "configuration", "transient_io"]


def test_a_worker_that_is_killed_while_it_unpacks_leaves_nothing_that_the_next_does_not_remove(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However quickly it unpacks, it gets no further: that this step has ended the catalog does not hear from it."""
    killed, record = threading.Event(), SqlLedger.record

    def hears_no_end(self: SqlLedger, key: Any, events: Any) -> None:
        if not killed.is_set() and any(one.kind == "step.ended" for one in events):
            killed.wait()
            raise CatalogBusy("locked")
        record(self, key, events)

    monkeypatch.setattr(SqlLedger, "record", hears_no_end)
    far.write("run.sh", '#!/bin/sh\ncp "$2" "$1"\n', 0o755)
    (far.base / "many").mkdir()
    for number in range(3000):  # they take a while
        (far.base / f"many/{number}").touch()
    job = far.job("./run.sh", "{output}", "{inputs}")
    node = far.node(job, files=["many"])
    worker = node.start()
    try:
        until(lambda: list(node.tmp.glob("*/job/many/*")), "it unpacks", 180)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate()
    finally:
        killed.set()
    assert len(node.left()) == 2  # the worker, and its job
    assert far.catalog.sql("SELECT state FROM processes") == [{"state": "active"}]
    assert far.events("step.ended", 1) == []
    ran = node.run()
    assert ran.code == 0, ran
    assert node.left() == []
    assert far.catalog.sql("SELECT sum(attempts) AS n FROM ledger") == [{"n": 0}]


def test_a_job_on_a_ticket_needs_no_catalog(far: Far) -> None:
    from bookkeeper import journal

    far.write("run.sh", '#!/bin/sh\ncp "$2" "$1"\n', 0o755)
    here = bookkeeper_on(far.folder)
    (ticket,) = journal.ticket(here, "p", out=far.folder / "t.ticket", files_per_process=1)
    loaded = far.load(far.job("./run.sh", "{output}", "{inputs}"))
    ran = (node := Node(far.folder / "node", loaded, ticket)).run(loaded.with_ticket("t.ticket", "j.journal"))
    assert (ran.code, ran.outcome["fate"]) == (0, "recorded"), ran
    (verdict,) = journal.ingest(here, [node.folder / "j.journal"])
    assert verdict.verdict == "committed"
    assert far.published() == ["m-1.root"]
    here.close()


def bookkeeper_on(folder: Path) -> Any:
    return open_existing(f"sqlite:///{folder}/catalog.db")


def test_a_node_without_the_right_python_says_so(far: Far) -> None:
    node = far.node(far.job())
    (node.folder / "old").write_text("#!/bin/sh\nexit 1\n")
    (node.folder / "old").chmod(0o755)
    script = node.program.read_bytes().replace(b"python3.", b"pythonX.").replace(b"python3 ", b"pythonX ")
    node.program.write_bytes(script)
    ran = node.run(environment={"BOOKKEEPER_PYTHON": "./old"})
    assert ran.code == 2
    assert "there is no Python 3." in ran.said
    assert "$BOOKKEEPER_PYTHON names the interpreter" in ran.said


def test_a_node_whose_jobs_have_no_path_runs_it_all_the_same(far: Far) -> None:
    """As HTCondor starts jobs. What the worker starts itself needs the path of its interpreter."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if shutil.which(version, path="/bin:/usr/bin") is None:
        pytest.skip(f"platform: the system has no {version}")
    far.write("run.sh", '#!/bin/sh\ncp "$2" "$1"\n', 0o755)
    ran = far.node(far.job("./run.sh", "{output}", "{inputs}")).run(environment={"BOOKKEEPER_PYTHON": ""})
    assert ran.code == 0, ran


def test_the_token_travels_in_a_file_of_its_own(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKKEEPER_TOKEN", "a.b.c")
    loaded = far.load(far.job())
    token = far.last / "bookkeeper-token"
    assert token in loaded.files
    assert (token.read_text(), token.stat().st_mode & 0o777) == ("a.b.c\n", 0o600)
    assert not any("a.b.c" in word for word in loaded.command)
    node = Node(far.folder / "node", loaded)
    (node.folder / token.name).chmod(0o644)
    assert node.run().code == 0  # an open server takes no notice; of a file that others read the worker would complain


def test_a_server_with_a_certificate_and_tokens_of_its_own(
    tmp_path: Path, zmumu_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What proves the server to the job, and the job to the server, travels with it."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "host.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "host.key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    database = create(f"sqlite:///{tmp_path}/catalog.db")
    bench = Bench(tmp_path, zmumu_folder, lambda path: database.url, files_per_process=1)
    monkeypatch.setenv("BOOKKEEPER_TOKEN", access.create(database, "alice", scope="work").token)
    parts = Parts(guard=Gate(access.Guard(database)), operations=router, settings=BUSY)
    place = Place(port=0, tls_cert=tmp_path / "host.pem", tls_key=tmp_path / "host.key")
    with serving(database, parts, place) as url:
        assert url.startswith("https://")
        (tmp_path / "submission").mkdir()
        loaded = cargo.load(
            bench.job("cp", "{inputs}", "{output}"), tmp_path / "submission", catalog=url, base=tmp_path, cache=cache
        )
        monkeypatch.undo()
        node = Node(tmp_path / "node", loaded)
        ran = node.run()
        assert ran.code == 0, ran
        (node.folder / "bookkeeper-token").unlink()
        assert node.run().code == 16
        (node.folder / "bookkeeper-ca.pem").unlink()
        assert "certificate that is not trusted" in node.run().said
    assert bench.published() == ["m-1.root"]
    bench.catalog.close()
    database.close()


def test_a_submission_is_loaded_once(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a program that has no token, or another one, and after an upgrade."""
    script = far.write("run.sh", '#!/bin/sh\ncp "$2" "$1"\n', 0o755)
    monkeypatch.setenv("BOOKKEEPER_TOKEN", "a.b.c")
    first = far.load(far.job("./run.sh", "{output}", "{inputs}"))
    before = {path: path.read_bytes() for path in first.files}
    script.write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.delenv("BOOKKEEPER_TOKEN")
    elsewhere = far.folder / "cache"
    again = cargo.load(far.job("./other.sh"), far.last, catalog=far.catalog.url, base=far.base, cache=elsewhere)
    assert not elsewhere.exists()
    assert again == first
    assert {path: path.read_bytes() for path in again.files} == before
    monkeypatch.setenv("BOOKKEEPER_TOKEN", "d.e.f")
    cargo.load(far.job(), far.last, catalog=far.catalog.url, base=far.base, cache=far.cache)
    assert (far.last / "bookkeeper-token").read_text() == "d.e.f\n"
    (far.last / "cargo.tar.gz").write_bytes(b"")
    with pytest.raises(Exception, match="did not arrive whole"):
        cargo.load(far.job("./run.sh"), far.last, catalog=far.catalog.url, base=far.base, cache=far.cache)


def test_the_same_job_makes_the_same_bytes(far: Far, tmp_path: Path) -> None:
    """Also the worker, by another process: nothing of when, where and by whom is in it."""
    far.write("run.sh", "#!/bin/sh\n", 0o755)
    job = far.job("./run.sh", "{output}", "{inputs}")
    one, other = far.load(job), None
    os.utime(far.base / "run.sh", (1, 1))
    code = "import sys; from pathlib import Path; from bookkeeper.cargo.kit import kit; print(kit(cache=Path(sys.argv[1])))"
    words = [sys.executable, "-c", code, str(tmp_path / "cache")]
    made = subprocess.run(words, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7", "HOME": "/"})
    other = far.load(job)
    for left, right in zip((one.program, *one.files), (other.program, *other.files), strict=True):
        assert left.read_bytes() == right.read_bytes(), left.name
    assert Path(made.stdout.strip()).read_bytes() == one.program.read_bytes()


def test_a_catalog_that_nodes_cannot_reach_is_refused(far: Far, tmp_path: Path) -> None:
    for address in (f"sqlite:///{tmp_path}/catalog.db", "postgresql://host/db"):
        with pytest.raises(UsageError, match="cannot reach a catalog") as caught:
            cargo.load(far.job(), tmp_path, catalog=address, base=far.base, cache=far.cache)
        assert "bookkeeper serve" in caught.value.remedy
