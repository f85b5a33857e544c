"""The copies of credentials that jobs of a shared folder read: whole, private, and gone at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bookkeeper.executors import credentials
from bookkeeper.executors.batch import Asks
from credential_files import DAY, make_token

KILLED = """
import os, signal, sys
from pathlib import Path
from bookkeeper.executors import credentials
from bookkeeper.executors.batch import Asks
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
credentials.keep_copies(Asks(token=sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_copy_that_was_cut_off_leaves_the_old_one_and_goes_with_it(tmp_path: Path) -> None:
    folder, token = tmp_path / "submission", tmp_path / "token"
    folder.mkdir()
    make_token(token, "First", DAY)
    asks = Asks(token=str(token))
    credentials.keep_copies(asks, folder)
    copy = folder / credentials.TOKEN
    assert copy.read_bytes() == token.read_bytes() and copy.stat().st_mode & 0o777 == 0o600
    before = token.read_bytes()
    make_token(token, "Second", DAY)
    done = subprocess.run([sys.executable, "-c", KILLED, str(token), str(folder)], check=False)
    assert done.returncode == -9
    assert copy.read_bytes() == before and len(list(folder.iterdir())) == 2
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in folder.iterdir())
    credentials.keep_copies(asks, folder)
    assert copy.read_bytes() == token.read_bytes()
    credentials.remove_copies(folder)
    assert list(folder.iterdir()) == []
