"""What a Dask worker runs for a job: a program in a process of its own, once.

It travels by value, so that a worker needs no bookkeeper of the same version to take it: nothing of bookkeeper is imported.

What becomes of a job stands in the scheduler's metadata, ``bookkeeper`` → tag → ``runs`` → number: when it started, on
which worker, and how it ended. Dask starts a task again whose worker died, or whose result was lost with one; a job that
has been started is never started again by that: whoever watches decides.
"""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

ROOT: Final = "bookkeeper"
"""Where the scheduler keeps what is known of jobs, and the topic of their events."""

COMPLETE: Final = 600.0
"""Seconds for a submission to be complete. Whoever finds one that was cut off says so long before."""

PATIENCE: Final = 60.0
"""Seconds for a program that was told to stop."""

TICK: Final = 0.2

LAUNCHER: Final = """\
import os, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # PR_SET_PDEATHSIG: a worker that dies takes its jobs with it
except (OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit(143)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def run_job(
    tag: str,
    number: int,
    nonce: str,
    batch_id: str,
    command: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    limit: float | None,
) -> str:
    """Run a job's program; return a word for what became of it: ``ran``, ``again``, ``void`` or ``unwanted``.

    ``nonce`` is of the submission: what was submitted by somebody who died before it was complete is void.
    """
    from distributed import get_worker

    worker = get_worker()
    if not _accepted(worker, tag, nonce):
        return "void"
    place = [ROOT, tag, "runs", str(number)]
    if _get(worker, place) is not None:
        worker.log_event(ROOT, {"tag": tag, "number": number, "what": "again"})
        return "again"
    if _get(worker, [ROOT, tag, "unwanted", str(number)]):
        return "unwanted"
    run: dict[str, Any] = {"at": time.time(), "worker": worker.address, "node": os.uname().nodename}
    _set(worker, place, run)
    worker.log_event(ROOT, {"tag": tag, "number": number, "what": "started"})
    try:
        ended = _run(worker, number, batch_id, command, folder, environment, limit)
    except OSError as error:
        ended = {"problem": f"{error.filename}: {error.strerror}"}
    _set(worker, place, {**run, "ended": time.time(), **ended})
    worker.log_event(ROOT, {"tag": tag, "number": number, "what": "ended"})
    return "ran"


def stop_jobs(batch_ids: Sequence[str], dask_worker: Any = None) -> None:
    """Tell programs on a worker to stop."""
    _asked_to_stop(dask_worker).update(batch_ids)


def standing(dask_scheduler: Any = None) -> dict[str, Any]:
    """Return what the scheduler knows of jobs, all of one moment. Runs on the scheduler.

    ``workers``: their addresses; ``metadata``: what stands of jobs, by tag; ``over``: tasks that have come to an end by
    key, with the reason where the scheduler gave them up, else an empty text.
    """
    known = dask_scheduler.task_metadata.get(ROOT) or {}
    metadata = {tag: copy.deepcopy(found) for tag, found in known.items() if found}
    begins = tuple(f"{tag}-" for tag in metadata)
    over = {
        str(key): str(state.exception_text or state.state) if state.state == "erred" else ""
        for key, state in dask_scheduler.tasks.items()
        if state.state in ("erred", "memory") and str(key).startswith(begins)
    }
    return {"workers": list(dask_scheduler.workers), "metadata": metadata, "over": over}


def _run(
    worker: Any,
    number: int,
    batch_id: str,
    command: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    limit: float | None,
) -> dict[str, Any]:
    """Run a program to its end and return its code; tell it to stop where that is wanted, or after ``limit`` seconds."""
    variables = {**os.environ, **environment, "BOOKKEEPER_JOB_ID": batch_id}
    stops = _asked_to_stop(worker)
    with open(f"{folder}/out.{number}", "ab") as out, open(f"{folder}/err.{number}", "ab") as err:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=variables,
            cwd=folder,
            start_new_session=True,
        )
        began, told, why = time.monotonic(), None, ""
        while True:
            try:
                code = child.wait(TICK)
                break
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                late = limit is not None and now - began > limit
                if told is None and (late or batch_id in stops):
                    told, why = now, "late" if late else "stopped"
                    child.send_signal(signal.SIGTERM)
                elif told is not None and now - told > PATIENCE:
                    child.kill()
        stops.discard(batch_id)
    return {"code": code, "why": why}


def _asked_to_stop(worker: Any) -> set[str]:
    stops: set[str] = worker.__dict__.setdefault("_bookkeeper_stops", set())
    return stops


def _accepted(worker: Any, tag: str, nonce: str) -> bool:
    """Wait until the submission is complete; tell whether it is the one that counts."""
    until = time.monotonic() + COMPLETE
    while time.monotonic() < until:
        found = _get(worker, [ROOT, tag, "accepted"])
        if found is not None:
            return bool(found == nonce)
        time.sleep(TICK)
    return False


def _get(worker: Any, keys: Sequence[str]) -> Any:
    from distributed.utils import sync

    return sync(worker.loop, worker.scheduler.get_metadata, keys=list(keys), default=None)


def _set(worker: Any, keys: Sequence[str], value: Any) -> None:
    from distributed.utils import sync

    sync(worker.loop, worker.scheduler.set_metadata, keys=list(keys), value=value)
