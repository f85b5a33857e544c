"""``python -m bookkeeper.worker CATALOG JOB``: run one job, and say on standard output what becomes of it.

JOB is a file with a job as JSON, or ``-`` for standard input. What is printed is a line of JSON each:
``{"process": …}`` as soon as the process is started, and at the end ``{"outcome": {…}}``. In the place of CATALOG,
``--ticket TICKET --journal JOURNAL`` let it work without one; where JOURNAL is a folder, each run writes its own there.

Of a job that travelled (``freight``), what else travelled lies beside its file, also the token (``bookkeeper-token``)
and the certificate of the server's authority (``bookkeeper-ca.pem``), and what its command printed follows on standard error at the end, which is all that comes back from its node.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bookkeeper import logs
from bookkeeper.catalog import open_existing
from bookkeeper.client.token import FILE_VARIABLE, VARIABLE
from bookkeeper.errors import BookkeeperError, UsageError
from bookkeeper.worker import Job, work
from bookkeeper.worker.freight import AUTHORITY, TOKEN
from bookkeeper.worker.job import COMMITTED, RECORDED

USAGE: Final = "usage: python -m bookkeeper.worker (CATALOG | --ticket TICKET --journal JOURNAL) JOB"


def main(words: list[str]) -> int:
    """Run the job that the words name; return the exit code."""
    try:
        *where, name = words or [""]
        if len(where) != 1 and where[::2] != ["--ticket", "--journal"]:
            raise UsageError(USAGE)
        job = _job(name)
        database = _opened(where)
        try:
            outcome = work(database, job, on_event=_on_event)
            if job.freight and outcome.process_id is not None:
                logs.pass_on(logs.paths(database, outcome.process_id), sys.stderr)
        finally:
            database.close()
    except BookkeeperError as error:
        sys.stderr.write(f"{error}\n{error.remedy}\n" if error.remedy else f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if len(where) > 1 and outcome.fate == COMMITTED:
        outcome = replace(outcome, fate=RECORDED)
    _say({"outcome": json.loads(outcome.as_json())})
    return outcome.exit_code


def _job(name: str) -> Job:
    """Return the job in a file, with the paths of what travelled with it."""
    job = Job.from_json(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))
    if not job.freight:
        return job
    folder = Path(name).absolute().parent
    token = folder / TOKEN
    if token.is_file() and not {VARIABLE, FILE_VARIABLE} & os.environ.keys():
        token.chmod(0o600)  # a batch system may have opened it to others
        os.environ[FILE_VARIABLE] = str(token)
    if (folder / AUTHORITY).is_file():
        os.environ.setdefault("SSL_CERT_FILE", str(folder / AUTHORITY))
    return replace(job, freight=tuple(replace(item, name=str(folder / item.name)) for item in job.freight))


def _opened(where: list[str]) -> Any:
    if len(where) == 1:
        return open_existing(where[0])
    from bookkeeper.journal import Offline

    journal = Path(where[3]).absolute()
    if journal.is_dir():  # each run has one of its own there: a batch job may run twice
        journal = journal / f"{secrets.token_hex(8)}.journal"
    return Offline(Path(where[1]).absolute(), journal, node=socket.gethostname())


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
