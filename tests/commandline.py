"""The command line as tests use it: run in this process, its streams captured."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any

from bookkeeper_cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(*words: object, stdin: bytes = b"") -> Ran:
    """Run a command line."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
    finally:
        sys.stdin = before
    return Ran(code, out.getvalue(), err.getvalue())


def ok(*words: object, stdin: bytes = b"") -> Ran:
    """Run a command line that must succeed."""
    ran = run(*words, stdin=stdin)
    assert ran.code == 0, (words, ran)
    return ran
