"""What is printed: on a terminal, in a pipe, in a narrow place."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bookkeeper_cli
from bookkeeper_cli.render import Column, number, size, span, table, when
from commandline import ok

HOME = Path(bookkeeper_cli.__file__).parent


def on_a_terminal(*words: str, columns: int = 100, **environment: str) -> str:
    """What a command shows on a terminal of this width."""
    leader, follower = pty.openpty()
    settings = {**os.environ, "COLUMNS": str(columns), "LINES": "30", "TERM": "xterm-256color", **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "bookkeeper_cli.main", *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=settings,
    ):
        os.close(follower)
        shown = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            shown += chunk
    os.close(leader)
    return shown.decode().replace("\r\n", "\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    ok("init")
    return tmp_path


def test_only_render_prints() -> None:
    for path in HOME.rglob("*.py"):
        if path.parent.name == "render":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Call) else ""
            assert not text.startswith(("print(", "typer.echo(", "sys.stdout.write(", "sys.stderr.write(")), path


def test_colours_on_a_terminal_only_and_never_where_nobody_wants_them(here: Path) -> None:
    query = "SELECT 'failed' AS state, 7 AS n"
    assert "\x1b[" in on_a_terminal("sql", query)
    assert "\x1b[" not in on_a_terminal("sql", query, NO_COLOR="1")
    assert "\x1b[" not in on_a_terminal("sql", query, TERM="dumb")
    assert "\x1b[" not in ok("sql", query).out


def test_nothing_is_cut_on_a_narrow_terminal(here: Path) -> None:
    long = "x" * 90 + "END"
    assert f"{long}  7" in on_a_terminal("sql", f"SELECT '{long}' AS a, 7 AS b", columns=60)
    assert long in on_a_terminal("sql", f"SELECT '{long}' AS a, 7 AS b", columns=120)


def test_errors_are_coloured_on_a_terminal(here: Path) -> None:
    assert "\x1b[1;31merror:\x1b[0m there is no project" in on_a_terminal("status", "x")


def test_names_cannot_drive_the_terminal(here: Path) -> None:
    assert "\x1b]0;" not in on_a_terminal("sql", "SELECT char(27) || ']0;owned' || char(7) AS a")
    assert "[bold]x[/bold]" in on_a_terminal("sql", "SELECT '[bold]x[/bold]' AS a")


def test_what_drives_a_terminal_is_written_out_also_in_json(here: Path) -> None:
    query = "SELECT char(155) || '2J' || char(0x202e) || 'gnp' AS a"
    assert r"\x9b2J\u202egnp" in on_a_terminal("sql", query)
    shown = on_a_terminal("sql", query, "--json")
    assert "\x9b" not in shown and "\u202e" not in shown
    assert json.loads(shown) == [{"a": "\x9b2J\u202egnp"}]


def test_help_on_a_terminal(here: Path) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal("status", "--help"))
    assert "╭" in shown and "Example: bookkeeper status zmumu-mass --wait" in shown


def test_progress_is_gone_when_it_is_over(here: Path, zmumu_folder: Path) -> None:
    shown = on_a_terminal("file", "declare", str(zmumu_folder))
    assert "6 new, 0 unchanged, 0 updated" in shown


def test_long_tables_are_streamed(capsys: pytest.CaptureFixture[str]) -> None:
    table(({"n": n} for n in range(5000)), [Column("n", right=True)])
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), lines[1], lines[-1]) == (5001, "  0", "4999")


def test_an_empty_list_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    table([], [Column("n")], as_json=True)
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    ("bytes", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_499, "99.5 kB"),
        (123_456, "123 kB"),
        (10**12, "1.0 TB"),
        (None, "–"),
    ],
)
def test_sizes_in_words(bytes: int | None, words: str) -> None:
    assert size(bytes) == words


def test_values_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (number(1234567), number(None), span(200.0), when(None)) == ("1,234,567", "–", "3 min 20 s", "–")
    assert when(1e300) == "1e+300"
