"""A good spec, and how tests read it and what it is changed to."""

from __future__ import annotations

from pathlib import Path

import pytest

from bookkeeper.errors import SpecError
from bookkeeper.spec import Spec, load

GOOD = """\
[project]
name = "zmumu-mass"
dataset = "zmumu"
application = { family = "analysis", name = "mass", version = "1.0" }
max_attempts = 4
lease = "1m30s"
max_wall = "2d"
[job]
command = ["python", "mass.py", "--output", "{output}", "{inputs}"]
files_per_process = 5
[output]
name = "mass-{process}.root"
destination = "out/"
validate = "deep"
expect = { tree = "events", entries = "consumed" }
optional = false
[executor]
kind = "local"
jobs = 4
"""


def read(folder: Path, text: str) -> Spec:
    (folder / "spec.toml").write_text(text)
    return load(folder / "spec.toml")


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(folder, text)
    assert caught.value.exit_code == 2
    prefix = str(folder / "spec.toml")
    return [line.removeprefix(prefix).lstrip(":") for line in str(caught.value).splitlines()]
