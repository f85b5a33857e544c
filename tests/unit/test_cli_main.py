"""The doors of the command line: start-up, help, errors, exit codes, streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import errors
from bookkeeper_cli import catalogs
from commandline import ok, run

LIGHT = {"sqlalchemy", "sqlmodel", "alembic", "numpy", "uproot", "pydantic", "fsspec", "psutil", "lark", "rich"}


def commands() -> list[tuple[str, Any]]:
    """Every command that does something, by the words that name it."""
    from bookkeeper_cli.reference import commands as all_commands

    return list(all_commands())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    ok("init")
    return tmp_path


def test_every_command_has_help_with_an_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(commands()) > 35
    for path, _ in commands():
        ran = ok(*path.split()[1:], "--help")
        assert f"Usage: {path}" in ran.out
        assert "Example: " in ran.out
        assert "\n  -h, --help" in ran.out
    assert not list(tmp_path.iterdir())


def test_every_command_that_prints_data_prints_json_too() -> None:
    silent = {"bookkeeper demo"}
    for path, command in commands():
        options = {name for param in command.params for name in param.opts}
        assert ("--json" in options) or path in silent, path


def test_bare_command_shows_help_and_every_command() -> None:
    ran = ok()
    assert all(f"\n  {name} " in ran.out for name in ("init", "file", "status", "recover", "validate"))
    assert "..." not in ran.out  # no summary is cut


def test_version_by_both_ways(here: Path) -> None:
    assert ok("--version").out == ok("--catalog", "sqlite:///x.db", "--version").out
    assert ok("--version").out.startswith("bookkeeper ")


@pytest.mark.parametrize(
    "words",
    [
        ["status", "p"],
        ["project", "list"],
        ["project", "show", "p"],
        ["file", "list"],
        ["file", "show", "f"],
        ["file", "history", "f"],
        ["dataset", "list"],
        ["sql", "SELECT 1"],
        ["process", "next"],
        ["process", "heartbeat"],
        ["recover", "p", "--dry-run"],
        ["outputs", "p"],
        ["logs", "1"],
        ["lineage", "f"],
    ],
    ids=" ".join,
)
def test_a_quick_command_loads_nothing_heavy(words: list[str], here: Path) -> None:
    code = (
        "import sys; from bookkeeper_cli.main import main; main(sys.argv[1:]);"
        f"print('LOADED', *({LIGHT!r} & set(sys.modules)))"
    )
    environment = {**os.environ, "BOOKKEEPER_PROCESS": "1:abc"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1].strip() == "LOADED", done.stdout


def test_an_error_is_one_message_and_a_remedy(here: Path) -> None:
    ran = run("status", "zmumu")
    assert (ran.code, ran.out) == (errors.NotFound.exit_code, "")
    assert ran.err == "error: there is no project 'zmumu'\n  → `bookkeeper project list` names them\n"


def test_an_error_is_json_where_json_was_asked(here: Path) -> None:
    ran = run("status", "zmumu", "--json")
    assert ran.out == ""
    assert json.loads(ran.err) == {
        "error": "there is no project 'zmumu'",
        "remedy": "`bookkeeper project list` names them",
        "exit_code": 3,
    }


def test_json_behind_two_dashes_is_not_ours(here: Path) -> None:
    assert run("work", "nothing", "--", "echo", "--json").err.startswith("error: ")


def test_names_that_are_nearly_right_are_offered(here: Path) -> None:
    assert "did you mean status?" in run("statsu").err
    assert "did you mean declare?" in run("file", "declaer").err
    assert "--json" in run("status", "p", "--jsn").err


def test_the_catalog_is_named_before_the_command(here: Path) -> None:
    ran = run("status", "p", "--catalog", "x.db")
    assert ran.code == 2
    assert "`bookkeeper --catalog URL …`" in ran.err


def test_the_option_wins_over_the_variable(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalogs.VARIABLE, "sqlite:///other.db")
    assert run("project", "list").code == errors.CatalogMissing.exit_code
    assert ok("--catalog", "sqlite:///bookkeeper.db", "project", "list").out == "no project\n"


def test_a_fault_of_ours_is_told_in_a_line(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(ran: object) -> str:
        raise ZeroDivisionError("in the\nmachine")

    monkeypatch.setattr(catalogs, "url", lambda: fail(None))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = run("project", "list")
    assert ran.code == 70
    first, second = ran.err.splitlines()
    assert first == "error: internal error: ZeroDivisionError: in the machine; this is a bug, please report it"
    report = Path(second.rpartition(" ")[2])
    assert "Traceback" in report.read_text()
    monkeypatch.setenv("BOOKKEEPER_DEBUG", "1")
    assert "Traceback" in run("project", "list").err


def test_an_interrupt_is_quiet(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogs, "url", interrupt)
    ran = run("project", "list")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_a_closed_pipe_is_quiet(here: Path) -> None:
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n"
    command = [sys.executable, "-m", "bookkeeper_cli.main", "sql", query]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_behind_the_output_is_told(here: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("platform: no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bookkeeper_cli.main", "project", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device\n")


def test_output_that_the_locale_cannot_write_is_escaped(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bookkeeper_cli.main", "sql", "SELECT 'Z→μμ' AS x"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert rb"Z\u2192\u03bc\u03bc" in done.stdout
