"""The validation command of a user: any program that exits 0 for a valid file."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bookkeeper.errors import UsageError, ValidationError

_SHOWN = 2000


def run_command(command: Sequence[str], name: str, timeout: float | None) -> None:
    """Run ``command`` with ``{path}`` replaced by the absolute path; `ValidationError` with its output unless it exits 0.

    It has no standard input and a process group of its own, which is killed after ``timeout`` seconds.
    """
    if not any("{path}" in word for word in command):
        raise UsageError("the validation command does not say {path}", remedy='write it as ["check", "{path}"]')
    words = [word.replace("{path}", str(Path(name).absolute())) for word in command]
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            raise UsageError(f"the validation command {words[0]} cannot be run: {error.strerror}") from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ValidationError(f"{name}: `{words[0]}` did not judge it within {timeout:g} s") from None
        finally:  # also when somebody interrupts the waiting
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code:
            length = output.seek(0, os.SEEK_END)
            output.seek(max(0, length - _SHOWN))
            said = output.read().decode("utf-8", "replace").strip() or "it printed nothing"
            verdict = f"exited {code}" if code > 0 else f"was ended by signal {-code}"
            raise ValidationError(f"{name}: `{words[0]}` {verdict}: {said}")
