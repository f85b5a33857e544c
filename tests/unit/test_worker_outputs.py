"""How a worker speaks of its outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bookkeeper.worker.job import OutputSpec
from bookkeeper.worker.outputs import in_general

SPEC = OutputSpec(name="mass-{process}.root", destination="/out")


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            "cannot write /out/.bookkeeper/230-b2781f-0/mass-230.root: the disk is full",
            "cannot write /out/mass-{process}.root: the disk is full",
        ),
        ("/scratch/1/mass-230.root: events: it is not there", "output mass-{process}.root: events: it is not there"),
        ("the destination /out vanished", "the destination /out vanished"),
    ],
)
def test_a_problem_reads_the_same_for_every_process(problem: str, told: str) -> None:
    assert in_general(problem, SPEC, Path("/scratch/1/mass-230.root")) == told
