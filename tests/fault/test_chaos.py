"""One seed of the chaos run; `make chaos` runs twenty larger ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.fault
@pytest.mark.slow
def test_each_event_is_there_exactly_once_whatever_breaks() -> None:
    chaos = Path(__file__).with_name("chaos.py")
    ran = subprocess.run(
        [sys.executable, str(chaos), "--seed", "1", "--files", "60", "--workers", "4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "60 files exactly once" in ran.stdout
