"""What a failed command is quoted with."""

from __future__ import annotations

from pathlib import Path

import pytest

from bookkeeper.logs import CappedLog
from bookkeeper.worker.payload import last_words

TRACEBACK = """\
reading
Traceback (most recent call last):
  File "mass.py", line 3, in <module>
    raise KeyError("no tree")
uproot.exceptions.KeyInFileError: not found: 'event'

    Available keys: 'events;1'

in file data/zmumu-1.root
"""


@pytest.mark.parametrize(
    ("stdout", "stderr", "words"),
    [
        ("done\n", "", "done"),
        ("done\n", "boom\n\n", "boom"),
        ("", TRACEBACK, "uproot.exceptions.KeyInFileError: not found: 'event'"),
        ("", "Traceback (most recent call last):\n  cut off", "cut off"),
        ("", "", ""),
    ],
)
def test_the_cause_is_quoted(tmp_path: Path, stdout: str, stderr: str, words: str) -> None:
    out, err = CappedLog(tmp_path / "out", 1 << 16), CappedLog(tmp_path / "err", 1 << 16)
    out.write(stdout.encode())
    err.write(stderr.encode())
    assert last_words(out, err) == words
    out.close()
    err.close()
