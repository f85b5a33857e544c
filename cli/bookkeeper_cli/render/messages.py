"""Messages: what was done, what to type next, and what went wrong."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from typing import Final

from bookkeeper_cli.render.streams import coloured, drawable, line, message
from bookkeeper_cli.render.words import as_json

_BOLD: Final = "\033[1m"
_GREEN: Final = "\033[32m"
_RED: Final = "\033[1;31m"
_DIM: Final = "\033[2m"
_PLAIN: Final = "\033[0m"


def say(text: str) -> None:
    """Tell what was done."""
    line(text)


def next_step(text: str) -> None:
    """Tell what to type next."""
    if coloured():
        sys.stdout.write(f"{_DIM}→{_PLAIN} ")
        line(text)
    else:
        line(f"→ {text}")


def headline(text: str) -> None:
    """Begin a part."""
    line()
    if coloured():
        sys.stdout.write(f"{_BOLD}── ")
        line(text)
        sys.stdout.write(_PLAIN)
    else:
        line(f"── {text}" if drawable("─") else f"== {text}")


def verdict(ok: bool, text: str) -> None:
    """Tell whether something is so."""
    mark = ("✓" if ok else "✗") if drawable("✓✗") else ("ok" if ok else "NO")
    if coloured():
        sys.stdout.write(f"{_GREEN if ok else _RED}{mark}{_PLAIN} ")
        line(text)
    else:
        line(f"{mark} {text}")


def note(text: str) -> None:
    """Tell something beside the output: where messages go."""
    message(text)


def error(text: str, remedy: str, exit_code: int, *, as_json: bool = False) -> None:
    """Tell what went wrong and what to do: two lines for people, an object for programs."""
    if as_json:
        message(_object(text, remedy, exit_code))
        return
    head, arrow = ("error:", "→")
    if coloured(errors=True):
        sys.stderr.write(f"{_RED}error:{_PLAIN} ")
        message(text)
    else:
        message(f"{head} {text}")
    if remedy:
        message(f"  {arrow} {remedy}")


def internal_error(failure: BaseException, exit_code: int, *, as_json: bool = False) -> None:
    """Tell of a fault of ours: one line, and where the traceback lies. $BOOKKEEPER_DEBUG=1 shows it."""
    trace = "".join(traceback.format_exception(failure))
    if os.environ.get("BOOKKEEPER_DEBUG"):
        sys.stderr.write(trace)
    where = "set BOOKKEEPER_DEBUG=1 to see where"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="bookkeeper-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"{sys.argv}\n{trace}")
            where = f"the details are in {file.name}"
    except OSError:
        pass
    text = " ".join(f"{type(failure).__name__}: {failure}".split())[:500]
    error(f"internal error: {text}; this is a bug, please report it", where, exit_code, as_json=as_json)


def _object(text: str, remedy: str, exit_code: int) -> str:
    return as_json({"error": text, "remedy": remedy, "exit_code": exit_code})
