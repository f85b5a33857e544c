"""What a worker knows of a failure: the exception, how the command ended, and what it printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bookkeeper.errors import BookkeeperError
from bookkeeper.failures.evidence import Evidence
from bookkeeper.failures.redaction import redacted, without_secrets
from bookkeeper.worker.payload import Ended
from bookkeeper.worker.watch import Interrupted
from bookkeeper_schema.states import Step

COMMANDS: Final = (Step.ANALYSIS, Step.VERIFICATION)
"""The steps whose failure the command may have said something about: it failed, or left something wrong."""


class CommandFailed(BookkeeperError):
    """The command of a job exited with another code than zero, or was killed."""


def evidence_of(error: Exception, step: Step | None, ended: Ended | None, logs: Sequence[Path]) -> Evidence:
    """Return the evidence in what ended a process. ``logs`` are the files of standard output and standard error.

    What a command says after it was told to stop is no evidence: it is the consequence. Secrets that can be told by how
    they look are left out.
    """
    if isinstance(error, Interrupted):
        return Evidence(message=str(error), signal=error.number, step=step)
    if ended is None or step not in COMMANDS:
        return without_secrets(Evidence.of(error, message=message_of(error), step=step).shortened())
    thrown = None if isinstance(error, CommandFailed) else error
    ending = {"exit_code": ended.code} if ended.code >= 0 else {"signal": -ended.code}
    said = Evidence.of(thrown, printed(logs), message=message_of(error), step=step, **ending)
    return without_secrets(said.shortened())


def printed(logs: Sequence[Path]) -> str:
    """Return what a command printed on standard error; where that is nothing, on standard output."""
    for path in reversed(logs):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # the log is evidence where there is one
            continue
        if text.strip():
            return text
    return ""


def message_of(error: Exception) -> str:
    """Return what is said of it in one line, without secrets; of the system's errors, with the file and not the number."""
    return redacted(f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error))
