"""A catalog, ROOT files and a spec whose jobs go to a real batch system."""

from __future__ import annotations

from pathlib import Path

from services.reach import Reach, local
from toydesk import COPY, ToyDesk

WAITS = (
    "import os, select\nfrom pathlib import Path\n"
    "hog = Path('hog-' + os.environ['BOOKKEEPER_JOB_ID'])\n"
    "while not Path('go').exists():\n"
    "    select.select([], [], [], 0.02)\n"
    "    if hog.exists():\n"
    "        full = b'x' * 900_000_000\n"
    "        select.select([], [], [], 60)\n"
) + COPY
"""Waits for the file ``go``; takes 900 MB when ``hog-<batch id>`` is there."""


class BatchDesk(ToyDesk):
    """As the toy desk, with a batch system of a kind."""

    def __init__(self, kind: str, folder: Path, data: Path, reach: Reach = local) -> None:
        super().__init__(folder, data, reach)
        self.kind = kind

    def close(self) -> None:
        """Let go of all."""
        self.systems.close()
        self.catalog.close()
