"""What a command finds around it: its environment, the list of its inputs, and where its outputs go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from bookkeeper.process import Process
from bookkeeper.worker.job import OutputSpec

OURS: Final = ("BOOKKEEPER_PROCESS", "BOOKKEEPER_STATE_HOME")
"""Variables that are the worker's alone."""

REPORT: Final = "report.jsonl"
"""What the command reports to, in its private folder."""


def output_paths(scratch: Path, process: Process, outputs: Iterable[OutputSpec]) -> list[Path]:
    """Return where the outputs are to be written: each alone in a folder, under its final name."""
    paths = []
    for number, output in enumerate(outputs):
        folder = scratch / f"output{number}"
        folder.mkdir()
        paths.append(folder / process.name_of(output.name))
    return paths


def environment(
    scratch: Path, process: Process, places: Iterable[str], outputs: Sequence[Path], memory_mb: float | None = None
) -> dict[str, str]:
    """Write the list of inputs and an empty report; return the variables of the command, without the process's token."""
    listed, reported = scratch / "inputs.txt", scratch / REPORT
    listed.write_text("".join(f"{place}\n" for place in places), encoding="utf-8")
    reported.touch()
    variables = {name: value for name, value in os.environ.items() if name not in OURS}
    variables["BOOKKEEPER_INPUTS"] = str(listed)
    variables["BOOKKEEPER_REPORT"] = str(reported)
    variables["BOOKKEEPER_PROCESS_ID"] = str(process.id)
    if memory_mb is not None:
        variables["BOOKKEEPER_MEMORY_MB"] = str(int(memory_mb))
    if outputs:
        variables["BOOKKEEPER_OUTPUT"] = str(outputs[0])
    return variables


def values(process: Process, specs: Sequence[OutputSpec], outputs: Sequence[Path]) -> dict[str, str]:
    """Return what the placeholders of the command stand for, but ``{inputs}``."""
    known = {"process": str(process.id)}
    if process.partition is not None:
        known["partition"] = str(process.partition)
    if len(outputs) == 1:
        known["output"] = str(outputs[0])
    for spec, path in zip(specs, outputs, strict=True):
        known[f"output.{spec.key}"] = str(path)
    return known
