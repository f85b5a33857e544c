"""``python -m bookkeeper.worker CATALOG JOB``: run one job, and say on standard output what becomes of it.

JOB is a file with a job as JSON, or ``-`` for standard input. What is printed is a line of JSON each:
``{"process": …}`` as soon as the process is started, and at the end ``{"outcome": {…}}``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bookkeeper.catalog import open_existing
from bookkeeper.errors import BookkeeperError, UsageError
from bookkeeper.worker import Job, work


def main(words: list[str]) -> int:
    """Run the job that the words name; return the exit code."""
    try:
        if len(words) != 2:
            raise UsageError("usage: python -m bookkeeper.worker CATALOG JOB")
        text = sys.stdin.read() if words[1] == "-" else Path(words[1]).read_text(encoding="utf-8")
        job = Job.from_json(text)
        database = open_existing(words[0])
        try:
            outcome = work(database, job, on_event=_on_event)
        finally:
            database.close()
    except BookkeeperError as error:
        sys.stderr.write(f"{error}\n{error.remedy}\n" if error.remedy else f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say({"outcome": json.loads(outcome.as_json())})
    return outcome.exit_code


def _on_event(kind: str, body: Mapping[str, Any]) -> None:
    if kind == "process.started":
        _say(body)


def _say(message: Mapping[str, Any]) -> None:
    """Tell whoever started this worker, if it is still there: a worker survives the death of `submit`."""
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # and all that follows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
