"""Wrong commands, options, names, numbers, files, lists, queries, catalogs, specs and reports, one by one.

Each ends with the documented exit code, exactly one message with a remedy and no traceback, as words and as JSON, and
leaves the catalog as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import bookkeeper
from bookkeeper import filesystems
from commandline import Ran, ok, run

pytestmark = pytest.mark.acceptance

LONG = "x" * 5000
SPEC = """\
[project]
name = "p"
dataset = "zmumu"
[job]
command = ["python", "job.py", "{output}", "{inputs}"]
files_per_process = 5
[output]
name = "mass-{process}.root"
destination = "out/"
[executor]
kind = "local"
jobs = 2
"""


@dataclass(frozen=True)
class Case:
    """A wrong command line: its words, its exit code, what its message says, and the process it speaks for."""

    words: Sequence[str]
    code: int
    says: str = ""
    speaks_for: str = ""
    stdin: bytes = b""
    title: str = field(default="")
    as_json: bool = True

    def __str__(self) -> str:
        return (self.title or " ".join(self.words))[:70].replace("\0", "NUL")


def case(line: str, code: int, says: str = "", **more: str | bytes | bool) -> Case:
    return Case(line.split(" "), code, says, **more)  # type: ignore[arg-type]


COMMANDS = [
    case("statsu p", 2, "did you mean status"),
    case("file", 2, "needs a verb", as_json=False),
    case("file declaer x", 2, "did you mean declare"),
    case("status", 2, "PROJECT"),
    case("status p extra", 2, "extra"),
    case("status p --wiat", 2, "--wait"),
    case("status p --catalog x.db", 2, "no such option"),
    case("--catalog", 2, "--catalog", as_json=False),
    case("sql", 2, "QUERY"),
    case("project start new", 2, "--dataset"),
    case("project park p", 2, "FILE"),
    case("process mark zmumu-2.root", 2, "opened|consumed"),
    case("work p", 2, "after --"),
    case("dataset define d --names", 2, "--names", as_json=False),
    case("init extra", 2, "extra"),
    Case(["status", ""], 3, "''"),
    Case(["", "p"], 2, "no command ''"),
    Case(["status", LONG], 3, "no project", title="a project of 5000 letters"),
    Case(["status", "p\0q"], 3, "no project"),
    Case(["project", "show", "p'; DROP TABLE files; --"], 3, "no project"),
    Case(["project", "show", "../p"], 3, "no project"),
]

NUMBERS = [
    case("file list --limit none", 2, "--limit: 'none'"),
    case("file list --limit -1", 2),
    case("file list --limit 1.5", 2, "--limit"),
    case("file list --limit 99999999999999999999", 2, "--limit"),
    case("file declare data --jobs 0", 2, "--jobs: '0'"),
    case("project start new --dataset zmumu --max-attempts 0", 2, "--max-attempts"),
    case("project start new --dataset zmumu --files-per-process many", 2, "--files-per-process"),
    case("project start new --dataset zmumu --files-per-process 1.5", 2, "give 1 or more"),
    case("project start new --dataset zmumu --lease soon", 2, "'soon' is no length of time"),
    case("project start new --dataset zmumu --lease -5m", 2, "-5m"),
    case("project start new --dataset zmumu --lease 0", 2, "length of time"),
    case("project start new --dataset zmumu --max-wall 1y", 2, "length of time"),
    case("project start new --dataset zmumu --partition-by files", 2, "--partition-by"),
    case("project start new --dataset zmumu --partition-by runs=5", 2, "files, bytes, entries"),
    case("project start new --dataset zmumu --partition-by bytes=5XB", 2, "number of bytes"),
    case("project start new --dataset zmumu --partition-by entries=0", 2, "--partition-by"),
    case("process start p --partition one", 2, "--partition"),
    case("process start p --partition 1", 5, "no partitions"),
    case("process start part --partition 99", 3, "no partition 99"),
    case("process next 0", 2, "N: '0'", speaks_for="live"),
    case("logs last", 2, "PROCESS: 'last'"),
    case("logs 1_0", 2, "bookkeeper jobs PROJECT"),
    case("logs 1 --tail 0", 2, "--tail"),
    case("logs 99", 3, "no process 99"),
    case("project reopen p one --reason x", 2, "PROCESS"),
    case("submit good.toml --jobs 0", 2, "--jobs"),
]

NAMES = [
    case("project start -x --dataset zmumu", 2),
    case("project start a/b --dataset zmumu", 2, "no name for a project"),
    case("project start ../p --dataset zmumu", 2, "no name for a project"),
    case("project start new --dataset zmum", 3, "did you mean zmumu"),
    case("project start new --dataset nothing", 5, "empty"),
    case("project start new --dataset zmumu --application mass", 2, "FAMILY/NAME/VERSION"),
    case("project start new --dataset zmumu --application a/b/c/d", 2, "FAMILY/NAME/VERSION"),
    case("project start new --dataset zmumu --application a//1", 2, "no name"),
    case("project start p --dataset nothing", 4, "over dataset zmumu"),
    case("project start p --dataset zmumu --application other/program/2", 4, "choose another name"),
    case("project start p --dataset zmumu --partition-by files=2", 4, "partitions cannot change"),
    Case(["project", "start", LONG, "--dataset", "zmumu"], 2, "no name", title="a new project of 5000 letters"),
    case("dataset define a/b --names *", 2, "no name for a dataset"),
    case("dataset define d", 2, "exactly one kind"),
    case("dataset define d --names * --where entries>1", 2, "exactly one kind"),
    case("dataset define zmumu --where entries>1", 4, "--update"),
    case("dataset show zmum", 3, "did you mean zmumu"),
    case("dataset snapshot nothing", 5, "empty"),
    case("file show zmumu-11.root", 3, "did you mean zmumu-1.root"),
    case("file locate none.root", 3, "none.root"),
    case("file history none.root", 3, "none.root"),
    case("file retire none.root --reason x", 3, "none.root"),
    case("file retire zmumu-1.root", 2, "--reason"),
    Case(["file", "retire", "zmumu-1.root", "--reason", " "], 2, "reason"),
    case("lineage none.root", 3, "none.root"),
    case("project park p zmumu-1.root --reason x", 5, "committed"),
    case("project park p zmumu-2.root --reason x", 5, "held"),
    case("project park p none.root --reason x", 3, "none.root"),
    Case(["project", "park", "p", "zmumu-4.root", "--reason", ""], 2, "reason"),
    case("project unpark p", 2, "--all"),
    case("project unpark p zmumu-4.root", 5, "not parked"),
    case("project unpark p zmumu-3.root --all", 2, "not both"),
    case("project resume ended", 5, "has ended"),
    case("project pause ended", 5, "has ended"),
    case("project reopen p 2 --reason x", 5, "only a committed process"),
    case("project reopen p 99 --reason x", 3, "no process 99"),
    case("project reopen part 1 --reason x", 3, "no process 1"),
    case("process start none", 3, "no project"),
    case("process start paused", 11, "paused"),
    case("process start ended", 5, "has ended"),
    case("recover none", 3, "no project"),
    case("recover p --dry-run --fence", 2, "--dry-run"),
    case("recover p --jobs 4", 2, "--submit"),
    case("recover p --submit", 2, "--spec"),
]

FILES = [
    case("file declare", 2, "name the files"),
    case("file declare data --from-list list.json", 2, "not both"),
    case("file declare missing.root", 3, "no file matches"),
    case("file declare nowhere/*.root", 3, "no file matches"),
    case("file declare empty", 3, "no file matches"),
    case("file declare empty.root", 8, "empty.root"),
    case("file declare page.root", 8, "page.root"),
    case("file declare cut.root", 8, "cut.root"),
    case("file declare data cut.root page.root", 8, "2 files cannot be declared"),
    case("file declare good/zmumu-1.root", 4, "--update"),
    case("file declare data other", 4, "two files"),
    case("file declare data --name one.root", 2, "more than one file"),
    case("file declare data/zmumu-4.root --name a/", 2, "name"),
    case("file declare data/zmumu-4.root --tree none", 8, "none"),
    case("file declare data --metadata run", 2, "key=value"),
    case("file declare data --metadata run=1 --metadata run=2", 2, "twice"),
    case("file declare data --metadata name=x", 2, "name"),
    case("file declare data --metadata 1x=x", 2, "1x"),
    case("file declare nosuch://host/x.root", 2, "nosuch"),
    Case(["file", "declare", "a\0b.root"], 3, title="a path with NUL"),
    Case(["file", "declare", LONG], 3, title="a path of 5000 letters"),
    case("validate missing.root", 8, "missing.root"),
    case("validate data", 8, "data"),
    case("validate empty.root", 8, "empty"),
    case("validate page.root", 8, "page.root"),
    case("validate cut.root", 8, "cut.root"),
    case("backup bookkeeper.db", 4, "exists"),
    case("backup nowhere/b.db", 6, "nowhere"),
    case("backup data", 4, "exists"),
]

LISTS = [
    case("file declare --from-list missing.json", 3, "missing.json"),
    case("file declare --from-list data", 2, "folder"),
    case("file declare --from-list list.json --format xml", 2, "xml"),
    case("file declare --from-list list.json --name x", 2, "--name"),
    case("file declare --from-list binary.txt", 2, "binary.txt"),
    case("file declare --from-list -", 2, "record 1 (x): size", stdin=b'[{"name": "x"}]'),
    *(
        Case(
            ["file", "declare", "--from-list", "-", "--format", format],
            2,
            says,
            stdin=text,
            title=f"{title} ({format})",
        )
        for title, format, says, text in [
            ("no JSON", "json", "standard input", b"[{"),
            ("a JSON object", "json", "size", b'{"name": "x"}'),
            ("a JSON number among records", "json", "2", b'[{"name": "x", "size": 1}, 7]'),
            ("no size", "jsonl", "size", b'{"name": "x"}'),
            ("a negative size", "jsonl", "size", b'{"name": "x", "size": -1}'),
            ("a size in words", "jsonl", "size", b'{"name": "x", "size": "big"}'),
            ("an unknown field", "jsonl", "'sise'", b'{"name": "x", "sise": 1}'),
            ("a checksum in words", "jsonl", "checksum", b'{"name": "x", "size": 1, "checksum": "adler32:xyz"}'),
            ("an md5", "jsonl", "checksum", b'{"name": "x", "size": 1, "checksum": "md5:00"}'),
            ("a relative climb", "jsonl", "name", b'{"name": "/etc/passwd", "size": 1}'),
            ("a control character", "jsonl", "name", b'{"name": "a\\u0007b", "size": 1}'),
            ("nested metadata", "jsonl", "metadata", b'{"name": "x", "size": 1, "metadata": {"a": {"b": 1}}}'),
            ("twice and different", "jsonl", "differ", b'{"name": "x", "size": 1}\n{"name": "x", "size": 2}'),
            ("broken in line 2", "jsonl", "line 2", b'{"name": "x", "size": 1}\n{"name": '),
            ("a cell too many", "csv", "record 1", b"name,size\nx,1,2\n"),
            ("no header", "csv", "standard input", b"x.root,1\n"),
            ("a size in words", "csv", "size", b"name,size\nx,big\n"),
        ]
    ),
    case("dataset define d --from-list -", 3, "none.root", stdin=b"zmumu-1.root\nnone.root\n"),
    case("dataset define d --from-list -", 2, "empty", stdin=b"", title="an empty list"),
    case("dataset define d --from-list missing.txt", 3, "missing.txt"),
]

QUERIES = [
    *(
        Case(["file", "list", "--where", query], 2, "the query", title=f"--where {query}")
        for query in [
            "",
            "entries >",
            "entries = = 1",
            "entries > 'many'",
            "name = mc",
            'name = "mc"',
            "name like 'x",
            "1 = 1; DROP TABLE files",
            "entries > 1 UNION SELECT token FROM processes",
            "state between 1 and",
            "not " * 200 + "entries > 1",
            "entries > " + "9" * 40,
        ]
    ),
    *(
        Case(["sql", query], 2, title=f"sql {query}")
        for query in [
            "",
            "SELEC 1",
            "SELECT * FROM nothing",
            "DELETE FROM files",
            "UPDATE files SET size = 0",
            "INSERT INTO files (name, size, declared_at) VALUES ('x', 1, 1)",
            "DROP TABLE files",
            "CREATE TABLE mine (a)",
            "CREATE TEMP TABLE mine (a)",
            "ATTACH 'other.db' AS other",
            "DETACH main",
            "VACUUM",
            "VACUUM INTO 'copy.db'",
            "BEGIN",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA query_only = OFF",
            "PRAGMA writable_schema = ON",
            "SELECT load_extension('x')",
            "SELECT 1; DELETE FROM files",
            "WITH x AS (SELECT 1) DELETE FROM files",
            "REPLACE INTO files (name, size, declared_at) VALUES ('x', 1, 1)",
            "SELECT :name",
            "EXPLAIN DELETE FROM files; SELECT 1",
        ]
    ),
    case("sql --csv SELECT", 2, "incomplete"),
]

CATALOGS = [
    case("--catalog sqlite:///missing.db status p", 6, "bookkeeper init"),
    case("--catalog missing.db status p", 6, "missing.db"),
    case("--catalog sqlite:///text.db status p", 6, "text.db"),
    case("--catalog sqlite:///empty.db status p", 6, "no catalog"),
    case("--catalog sqlite:///foreign.db status p", 6, "no catalog"),
    case("--catalog sqlite:///foreign.db init", 6, "no catalog"),
    case("--catalog sqlite:///text.db init", 6, "text.db"),
    case("--catalog sqlite:///new.db status p", 6, "newer"),
    case("--catalog sqlite:///new.db init", 6, "newer"),
    case("--catalog sqlite:///corrupt.db file list", 6, "corrupt.db"),
    case("--catalog sqlite:///cut.db file list", 6, "cut.db"),
    case("--catalog sqlite:///data status p", 6, "data"),
    case("--catalog sqlite:///nowhere/b.db init", 6, "mkdir -p"),
    case("--catalog mysql://host/db status p", 2, "postgresql://"),
    case("--catalog postgresql://127.0.0.1:1/db status p", 6, "does not answer"),
    case("--catalog http://127.0.0.1:1 status p", 6, "cannot be reached"),
    case("--catalog sqlite:// status p", 2, "names no file"),
    case("--catalog sqlite:///:memory: status p", 2, "names no file"),
    Case(["--catalog", "sqlite:///a\0b", "status", "p"], 2, "names no file"),
    Case(["--catalog", f"sqlite:///{LONG}", "status", "p"], 6, title="a catalog of 5000 letters"),
]

TRANSACTIONS = [
    case("process next", 2, "is not set"),
    case("process next", 2, "<process>:<token>", speaks_for="nonsense"),
    case("process next", 3, "with this token", speaks_for="wrong"),
    case("process commit", 3, "with this token", speaks_for="wrong"),
    case("process rollback", 3, "with this token", speaks_for="wrong"),
    case("process heartbeat", 3, "with this token", speaks_for="absent"),
    case("process next", 7, "out of memory", speaks_for="rolled_back"),
    case("process commit --no-output", 7, "out of memory", speaks_for="rolled_back"),
    case("process heartbeat", 7, "out of memory", speaks_for="rolled_back"),
    case("process next", 5, "committed", speaks_for="committed"),
    case("process mark zmumu-1.root consumed", 5, "committed", speaks_for="committed"),
    case("process next --names --paths", 2, "exclude", speaks_for="live"),
    case("process mark zmumu-2.root eaten", 2, "opened, consumed", speaks_for="live"),
    case("process mark zmumu-4.root opened", 3, "was given zmumu-2.root", speaks_for="live"),
    case("process mark ../zmumu-2.root opened", 3, "was not given", speaks_for="live"),
    case("process mark zmumu-2.root skipped", 2, "reason", speaks_for="live"),
    case("process mark zmumu-2.root consumed --entries many", 2, "--entries", speaks_for="live"),
    case("process mark zmumu-2.root consumed --bytes -1", 2, speaks_for="live"),
    case("process mark zmumu-2.root failed --entries 5 --reason x", 2, "consumed only", speaks_for="live"),
    case("process mark zmumu-1.root failed --reason x", 5, "partition", speaks_for="part"),
    case("process commit", 5, "zmumu-2.root", speaks_for="live", title="commit with an opened file"),
    case("process output missing.root --destination o --name x-{process}", 9, "missing.root", speaks_for="live"),
    case("process output data --destination o --name x-{process}.root", 9, "data", speaks_for="live"),
    case("process output page.root --destination o --name x-{process}.root", 8, "page.root", speaks_for="live"),
    case("process output cut.root --destination o --name x-{process}.root", 8, "cut.root", speaks_for="live"),
    case("process output good.root --destination o --name same.root", 2, "{process}", speaks_for="live"),
    case("process output good.root --destination o --name ../x-{process}.root", 2, "name", speaks_for="live"),
    case("process output good.root --destination o --name x-{partition}.root", 2, "partition", speaks_for="live"),
    case(
        "process output good.root --destination o --name x-{process}.root --validate hard", 2, "deep", speaks_for="live"
    ),
    case("process output good.root --destination o --name x-{process}.root --expect-tree T", 8, "T", speaks_for="live"),
    case(
        "process output good.root --destination o --name x-{process}.root --expect-entries 7", 8, "7", speaks_for="live"
    ),
    case("process output good.root --destination o --name x-{process}.root --expect-entries x", 2, speaks_for="live"),
    case("process rollback --step cooking", 2, "analysis", speaks_for="live"),
]

WORK = [
    case("work none -- true", 3, "no project"),
    case("work ended -- true", 5, "has ended"),
    case("work p --output-name x-{process}.root -- true", 2, "--destination"),
    case("work p --expect-tree T -- true", 2, "no output"),
    case("work p --validate none --output-name x-{process} --destination o -- true", 2, "always validated"),
    case("work p --output-name same.root --destination o -- true {output}", 2, "{process}"),
    case("work p --output-name ../x-{process}.root --destination o -- true", 2, "name"),
    case("work p python job.py --fast", 2, "two dashes"),
    case("work p --lease never -- true", 2, "length of time"),
    case("work p --files-per-process 0 -- true", 2, "--files-per-process"),
]


def spec(title: str, says: str, old: str, new: str) -> Case:
    assert old in SPEC
    return Case(["submit", "spec.toml"], 2, says, title=f"a spec {title}", stdin=SPEC.replace(old, new).encode())


SPECS = [
    case("submit missing.toml", 2, "missing.toml"),
    case("submit data", 2, "data"),
    case("submit binary.txt", 2, "binary.txt"),
    spec("that is empty", "project", SPEC, ""),
    spec("that is no TOML", "spec.toml:2", 'name = "p"', 'name = "p'),
    spec("without a name", "name", 'name = "p"\n', ""),
    spec("with a wrong name", "name", 'name = "p"', 'name = "a/b"'),
    spec("with a misspelt key", "dataset", "dataset", "datset"),
    spec("with a misspelt table", "executor", "[executor]", "[exekutor]"),
    spec("with a dataset and files", "files", 'dataset = "zmumu"', 'dataset = "zmumu"\nfiles = ["x"]'),
    spec("with a number for a name", "name", 'name = "p"', "name = 7"),
    spec("with a command in one word", "command", '["python", "job.py", "{output}", "{inputs}"]', '"python job.py"'),
    spec("with an empty command", "command", '["python", "job.py", "{output}", "{inputs}"]', "[]"),
    spec("with an unknown placeholder", "{input}", "{inputs}", "{input}"),
    spec("with zero files", "files_per_process", "files_per_process = 5", "files_per_process = 0"),
    spec("with words for files", "files_per_process", "files_per_process = 5", 'files_per_process = "5"'),
    spec("with both divisions", "partition_by", "= 5\n", "= 5\npartition_by = { files = 5 }\n"),
    spec("whose outputs collide", "{process}", "mass-{process}.root", "mass.root"),
    spec("whose output climbs", "name", "mass-{process}.root", "../mass-{process}.root"),
    spec("without a destination", "destination", 'destination = "out/"\n', ""),
    spec("with an unknown validation", "validate", 'destination = "out/"', 'destination = "out/"\nvalidate = "hard"'),
    spec("with an unknown executor", "local", 'kind = "local"', 'kind = "cloud"'),
    spec("with no jobs", "jobs", "jobs = 2", "jobs = 0"),
    spec("with a wrong lease", "lease", 'name = "p"', 'name = "p"\nlease = "soon"'),
]

ALL = [
    pytest.param(one, id=f"{group}: {one}")
    for group, cases in {
        "commands": COMMANDS,
        "numbers": NUMBERS,
        "names": NAMES,
        "files": FILES,
        "lists": LISTS,
        "queries": QUERIES,
        "catalogs": CATALOGS,
        "transactions": TRANSACTIONS,
        "work": WORK,
        "specs": SPECS,
    }.items()
    for one in cases
]


@dataclass(frozen=True)
class World:
    """A folder with a catalog in which much has happened, and many wrong things beside it."""

    folder: Path
    keys: dict[str, str]

    def fingerprint(self) -> str:
        """What the catalog holds, and what lies where outputs go."""
        with closing(sqlite3.connect(self.folder / "bookkeeper.db")) as database:
            dump = "\n".join(database.iterdump())
        there = sorted(str(path) for name in ("out", "o") for path in (self.folder / name).rglob("*.root"))
        return hashlib.sha256("\n".join([dump, *there]).encode()).hexdigest()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, zmumu_folder: Path) -> World:
    folder = tmp_path_factory.mktemp("world")
    (folder / "data").mkdir()
    for number in range(1, 5):
        shutil.copy(zmumu_folder / f"zmumu-{number}.root", folder / "data")
    _wrong_files(folder, zmumu_folder)
    catalog = bookkeeper.create_catalog(f"sqlite:///{folder}/bookkeeper.db")
    catalog.declare_files(bookkeeper.scan([folder / "data"]))
    catalog.define_dataset("zmumu", names=["zmumu-*"])
    catalog.define_dataset("nothing", names=["nothing*"])
    keys = _history(catalog, folder)
    _wrong_catalogs(catalog, folder)
    catalog.close()
    return World(folder, keys)


def _history(catalog: bookkeeper.Catalog, folder: Path) -> dict[str, str]:
    """Let things happen; return the keys of processes in every state."""
    project = catalog.start_project("p", "zmumu")
    with project.start_process() as committed:
        (file,) = committed.next_files(1)
        file.consumed()
        committed.stage_out(folder / "good.root", folder / "out", "mass-{process}.root")
    live, gone = project.start_process(lease="10d"), project.start_process()
    (file,) = live.next_files(1)
    file.opened()
    gone.roll_back("out of memory", counted=False)
    project.park(["zmumu-3.root"], "the detector was off")
    catalog.start_project("paused", "zmumu").pause("storage is down")
    catalog.start_project("ended", "zmumu").end()
    part = catalog.start_project("part", "zmumu", partition_by={"files": 2}).start_process(lease="10d")
    part.next_files()
    processes = {"committed": committed, "live": live, "rolled_back": gone, "part": part}
    keys = {name: f"{process.key.id}:{process.key.token}" for name, process in processes.items()}
    return {**keys, "nonsense": "17", "wrong": f"{live.key.id}:00", "absent": "99:00", "": ""}


def _wrong_files(folder: Path, zmumu_folder: Path) -> None:
    for name in ("empty", "other", "good"):
        (folder / name).mkdir()
    shutil.copy(zmumu_folder / "zmumu-5.root", folder / "good.root")
    shutil.copy(zmumu_folder / "zmumu-6.root", folder / "other" / "zmumu-1.root")
    shutil.copy(zmumu_folder / "zmumu-6.root", folder / "good" / "zmumu-1.root")
    (folder / "empty.root").touch()
    (folder / "page.root").write_text("<!DOCTYPE html><title>404 Not Found</title>" + " " * 500)
    (folder / "cut.root").write_bytes((folder / "good.root").read_bytes()[:20_000])
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "list.json").write_text('[{"name": "new.root", "size": 1}]')
    (folder / "good.toml").write_text(SPEC)


def _wrong_catalogs(catalog: bookkeeper.Catalog, folder: Path) -> None:
    from bookkeeper.backup import backup

    (folder / "text.db").write_text("this is no database, it only has the name of one" * 100)
    (folder / "empty.db").touch()
    with closing(sqlite3.connect(folder / "foreign.db")) as database:
        database.execute("CREATE TABLE recipes (a)")
        database.commit()
    for name in ("new.db", "corrupt.db", "cut.db"):
        backup(catalog.database, folder / name)
    with closing(sqlite3.connect(folder / "new.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    whole = (folder / "corrupt.db").read_bytes()
    (folder / "corrupt.db").write_bytes(whole[:100] + b"\xaa" * (len(whole) - 100))
    (folder / "cut.db").write_bytes(whole[:5000])


@pytest.mark.parametrize("wrong", ALL)
def test_wrong_input(wrong: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)
    if wrong.speaks_for:
        monkeypatch.setenv("BOOKKEEPER_PROCESS", world.keys[wrong.speaks_for])
    if "spec.toml" in wrong.words:
        (world.folder / "spec.toml").write_bytes(wrong.stdin)
    before = world.fingerprint()
    check(run(*wrong.words, stdin=wrong.stdin), wrong)
    if wrong.as_json and not {"--csv", "--"} & set(wrong.words):
        check_json(run(*wrong.words, "--json", stdin=wrong.stdin), wrong)
    assert world.fingerprint() == before


def check(ran: Ran, wrong: Case) -> None:
    assert ran.code == wrong.code, ran
    lines = ran.err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, ran
    assert sum(line.startswith("  → ") and len(line) > 8 for line in lines) == 1, ran
    assert wrong.says in ran.err, ran
    assert "Traceback" not in ran.err + ran.out and "internal error" not in ran.err, ran
    assert ran.out == "", ran
    assert len(ran.err) < 4000 or "x" * 1000 in " ".join(wrong.words), ran


def check_json(ran: Ran, wrong: Case) -> None:
    assert ran.code == wrong.code, ran
    said = json.loads(ran.err)
    assert said["exit_code"] == wrong.code and said["remedy"] and wrong.says in said["error"] + said["remedy"], ran


def test_there_are_enough_of_them() -> None:
    assert len(ALL) >= 80


def test_a_network_file_system_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a mount cannot be made here, so the table of mounts says so."""
    monkeypatch.setattr(filesystems, "_mounts", lambda: [("/", "ext4"), (str(world.folder.resolve()), "nfs4")])
    monkeypatch.chdir(world.folder)
    for words in ("status p", "init", "--catalog sqlite:///fresh.db init"):
        ran = run(*words.split())
        check(ran, case(words, 6, "network file system (nfs4)"))
    assert not (world.folder / "fresh.db").exists()


@pytest.mark.parametrize(
    "words", ["file declare locked.root", "file declare --from-list locked.txt", "submit locked.toml"]
)
def test_what_may_not_be_read(words: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        pytest.skip("privilege: root may read everything")
    monkeypatch.chdir(world.folder)
    path = world.folder / words.split()[-1]
    path.write_text("x")
    path.chmod(0)
    before = world.fingerprint()
    ran = run(*words.split())
    assert ran.code in (2, 8, 9)
    check(ran, case(words, ran.code, path.name))
    assert world.fingerprint() == before


@pytest.mark.parametrize("words", ["status", "sql DELETE", "file show none", "--catalog sqlite:///text.db check"])
def test_the_real_program_says_the_same(words: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)
    said = run(*words.split())
    command = [sys.executable, "-m", "bookkeeper_cli.main", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (said.code, said.out, said.err)


def test_the_world_is_sound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)
    assert ok("check", "--json").json["sound"]
