"""``python -m bookkeeper.transfers CATALOG``: be a transfer worker until nothing is left to do.

A dot on standard output for everything that is done tells whoever started it that it lives.
"""

from __future__ import annotations

import os
import sys

from bookkeeper.catalog import open_existing
from bookkeeper.errors import BookkeeperError
from bookkeeper.transfers.crew import work


def main(words: list[str]) -> int:
    """Work; return 0, 1 where something could not be tidied up, or the code of what ended it."""
    try:
        database = open_existing(words[0])
        try:
            return min(1, work(database, _tell))
        finally:
            database.close()
    except BookkeeperError as error:
        sys.stderr.write(f"{error}\n{error.remedy}\n" if error.remedy else f"{error}\n")
        return error.exit_code


def _tell() -> None:
    try:
        sys.stdout.write(".")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever started it is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    # XRootD's client has threads of its own, which may hold up the end of an interpreter.
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
