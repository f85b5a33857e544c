"""``python -m bookkeeper.dagman pre|post|final FOLDER DAG …``: what DAGMan runs; ``script`` of the folder starts it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Final

from bookkeeper.catalog import open_existing
from bookkeeper.dagman import folder as folders
from bookkeeper.dagman import scripts
from bookkeeper.dagman.scripts import Decision
from bookkeeper.errors import BookkeeperError, UsageError
from bookkeeper.ledger.restore import put_to_use

USAGE: Final = (
    "usage: python -m bookkeeper.dagman (pre FOLDER DAG NODE | post FOLDER DAG NODE RETURN | final FOLDER DAG STATUS)"
)


def main(words: list[str]) -> int:
    """Run a script; return its exit code."""
    try:
        decision = _decide(words)
    except BookkeeperError as error:
        decision = scripts.problem(error)
    sys.stderr.write(f"{' '.join(words)}: {decision.code}: {decision.reason}\n")
    return decision.code


def _decide(words: list[str]) -> Decision:
    kind, where, dag, *more = words if len(words) > 3 else ["", "", "", ""]
    folder = Path(where)
    if (kind, len(more)) not in (("pre", 1), ("post", 2), ("final", 1)):
        raise UsageError(USAGE)
    with contextlib.closing(open_existing(folders.read(folder).catalog)) as database:
        put_to_use(database)
        if kind == "pre":
            return scripts.before(database, folder, dag, more[0])
        number = _number(more[-1])
        if kind == "post":
            return scripts.after(database, folder, dag, more[0], number)
        return scripts.last(database, folder, dag, number)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{text!r} is no number", remedy=USAGE) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
