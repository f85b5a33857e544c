"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bookkeeper

ROOT = Path(__file__).parents[2]
LONGEST = 350  # lines: a file is read in one sitting
SOURCES = sorted(
    path
    for folder in ("bookkeeper", "cli/bookkeeper_cli", "schema/bookkeeper_schema")
    for path in (ROOT / folder).rglob("*.py")
    if path.parent.name != "versions"  # a released migration is never edited, so never split
)

DATABASE = {"sqlalchemy", "sqlmodel", "alembic", "bookkeeper_schema.tables"}
HEAVY = DATABASE | {"awkward", "cramjam", "fsspec", "numpy", "pandas", "psutil", "pydantic", "uproot"}
WORKER_SIDE = ["bookkeeper.process", "bookkeeper.worker", "bookkeeper.stageout", "bookkeeper.validation"]


def loaded_by(code: str, *words: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running ``code``."""
    report = "\nimport sys as _sys, json as _json; print('\\n' + _json.dumps(sorted(_sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + report, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_by("import bookkeeper") & HEAVY


def test_version_option_loads_nothing_heavy() -> None:
    code = """
import sys
from bookkeeper_cli.main import main
sys.argv = ["bookkeeper", "--version"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("module", WORKER_SIDE)
def test_worker_side_loads_no_database(module: str) -> None:
    """A worker node with a remote catalog needs neither SQLAlchemy nor the tables."""
    assert not loaded_by(f"import {module}") & DATABASE


REMOTE = DATABASE | {"fastapi", "psycopg", "pydantic", "starlette", "uvicorn"}

SPEAKS = """
import contextlib, sys
from pathlib import Path
import bookkeeper
from bookkeeper_cli.main import main
with bookkeeper.open_catalog(sys.argv[1]) as catalog:
    assert catalog.project("p").status().files == 1
words = ["--catalog", sys.argv[1], "work", "p", "--output-name", "m-{process}.txt", "--destination", sys.argv[2] + "/out"]
assert main([*words, "--", "cp", "{inputs}", "{output}"]) == 0
assert main(["--catalog", sys.argv[1], "status", "p"]) == 0
"""


def test_nothing_of_a_database_is_loaded_to_work_for_a_server(tmp_path: Path) -> None:
    """A worker node has the catalog at the other end of HTTP, and needs neither SQLAlchemy nor a web framework."""
    from services.reach import served

    (tmp_path / "f.txt").write_text("hello")
    with bookkeeper.create_catalog(f"sqlite:///{tmp_path}/c.db") as catalog:
        catalog.declare_files([{"name": "f.txt", "size": 5, "locations": [f"{tmp_path}/f.txt"]}])
        catalog.define_dataset("all", names=["*"])
        catalog.start_project("p", "all")
        with served(catalog.database) as url:
            assert not loaded_by(SPEAKS, url, str(tmp_path)) & REMOTE
    assert (tmp_path / "out" / "m-1.txt").read_text() == "hello"


def test_public_names_are_sorted_and_exist() -> None:
    assert bookkeeper.__all__ == sorted(bookkeeper.__all__)
    assert len(set(bookkeeper.__all__)) == len(bookkeeper.__all__)
    for name in bookkeeper.__all__:
        assert getattr(bookkeeper, name) is not None


def test_version_is_the_one_of_the_distribution() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert bookkeeper.__version__ == declared


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_stands_in_another(path: Path) -> None:
    """There it would never run, and nobody would be told."""
    assert not hidden_tests(path.read_text(encoding="utf-8"))


def hidden_tests(source: str) -> list[str]:
    """The tests of a module that are defined in the body of a function."""
    kinds = ast.FunctionDef, ast.AsyncFunctionDef
    outer = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    inner = [node for one in outer for node in ast.walk(one) if isinstance(node, kinds) and node is not one]
    return sorted({f"line {node.lineno}: {node.name}" for node in inner if node.name.startswith("test_")})


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_hidden_tests_are_found(kind: str) -> None:
    assert hidden_tests(f"def test_a():\n    if True:\n        {kind} test_b(): ...") == ["line 3: test_b"]
    assert not hidden_tests(f"def test_a(): ...\nclass TestB:\n    {kind} test_c(self): ...")


SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|VALUES|RETURNING)\b")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_is_joined_from_constants_only(path: Path) -> None:
    """Values are bound; what is put into a statement's text is a ``CONSTANT`` of the program, never a variable."""
    assert not variables_in_sql(path.read_text(encoding="utf-8"))


def variables_in_sql(source: str) -> list[str]:
    """What a module puts into the text of SQL by f-strings, ``+``, ``%`` or ``format``, and is no constant."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.JoinedStr(values=parts):
                put = [part.value for part in parts if isinstance(part, ast.FormattedValue)]
            case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right):
                put = [left, right]
            case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="format"), args=args, keywords=keywords):
                put = [*args, *(keyword.value for keyword in keywords)]
            case _:
                continue
        texts = [
            part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        if any(SQL.search(text) for text in texts):
            found += [value for value in put if not is_constant(value)]
    return [f"line {value.lineno}: {ast.unparse(value)}" for value in found]


def is_constant(value: ast.expr) -> bool:
    match value:
        case (
            ast.Constant() | ast.JoinedStr() | ast.BinOp()
        ):  # a text; what is inside the last two is looked at by itself
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
    return False


@pytest.mark.parametrize(
    "source",
    [
        'f"SELECT {x}"',
        '"DELETE FROM t WHERE a = " + x',
        '"SELECT a FROM %s" % x',
        '"UPDATE {}".format(x)',
        'f"SELECT {x.y}"',
    ],
)
def test_variables_in_sql_are_found(source: str) -> None:
    assert variables_in_sql(source)
    assert not variables_in_sql(re.sub(r"\bx(\.y)?\b", "CONSTANT", source))


RECORDED = ROOT / "tests/data/condor-logs"
"""What a real batch system wrote, as it wrote it."""


def test_no_file_names_a_machine() -> None:
    """A path that exists on one machine only has no place in the repository."""
    machine_path = re.compile(rb"(?<![\w.$}])/(?:home|Users|root|work|opt)/[\w.]+/[\w./-]+")
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in tracked_files()
        if RECORDED not in path.parents
        for match in machine_path.finditer(path.read_bytes())
    ]
    assert not found


def tracked_files() -> list[Path]:
    """The files of the repository; without git, those that a source distribution would have."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        candidates = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        shelves = ("bookkeeper", "cli", "schema", "tests", "docs")
        candidates = [path for shelf in shelves for path in (ROOT / shelf).rglob("*")]
    made = {"__pycache__", "_build", "results"}
    return [path for path in candidates if path.is_file() and not made & set(path.parts)]
