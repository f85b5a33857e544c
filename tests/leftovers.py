"""Programs that a test started and did not see to their end, as where it failed: they would disturb the tests after it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from workbench import kill


@contextlib.contextmanager
def none_left() -> Iterator[None]:
    """Kill, at the end of the block, what was started in it by `subprocess.Popen` and still runs; close its pipes."""
    started: list[subprocess.Popen[Any]] = []
    begin = subprocess.Popen.__init__

    def noted(program: subprocess.Popen[Any], *words: Any, **options: Any) -> None:
        begin(program, *words, **options)
        started.append(program)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", noted)
        try:
            yield
        finally:
            for one in started:
                end(one)


def end(program: subprocess.Popen[Any]) -> None:
    """Kill a program that still runs, wait for its end, and close its pipes."""
    kill(program)
    for pipe in (program.stdin, program.stdout, program.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
