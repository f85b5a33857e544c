"""One seed of the rates run, with fewer files; `make rates` runs larger ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.fault
@pytest.mark.slow
def test_the_rates_of_a_real_experiment_need_no_other_command_than_submit_and_resume() -> None:
    """With so few files, what happens once in a run (the bug, the black hole) weighs more: the limit is wider."""
    rates = Path(__file__).with_name("rates.py")
    ran = subprocess.run(
        [sys.executable, str(rates), "--seed", "1", "--files", "100", "--limit", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "all as they must be" in ran.stdout
