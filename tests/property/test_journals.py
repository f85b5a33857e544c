"""Journals in any order, several times, torn, of several jobs with one ticket, among processes that were rolled back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookkeeper.journal import Verdict
from journaling import exactly_once, lend, take_in, uploads, worked
from ledgers import World

ENDS = st.sampled_from(["commit", "commit", "roll_back", "none", "torn"])
JOBS = st.lists(st.lists(ENDS, min_size=1, max_size=3), min_size=1, max_size=4)
SAID = (Verdict.COMMITTED, Verdict.ALREADY)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_any_order_ends_in_a_sound_catalog_that_counts_every_file_once(backend: str) -> None:
    examples = 30 if backend == "sqlite" else 8

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(jobs=JOBS, data=st.data())
    def any_order(jobs: list[list[str]], data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as name:
            _play(Path(name), jobs, data, backend)

    any_order()


def _play(folder: Path, jobs: list[list[str]], data: st.DataObject, backend: str) -> None:
    world = World.create(folder / "c.db", 8, backend=backend)
    journals: list[Path] = []
    for number, ends in enumerate(jobs):
        lent = lend(world, folder, files_per_process=2)
        for run, end in enumerate(ends):
            journal = folder / f"{number}-{run}.journal"
            worked(lent, journal, end="commit" if end == "torn" else end)
            if end == "torn":
                whole = journal.read_bytes()
                journal.write_bytes(whole[: len(whole) * data.draw(st.integers(0, 1000), "torn at") // 1000])
            journals.append(journal)
    order = data.draw(st.permutations(journals * 2), "order")
    expiry = data.draw(st.integers(0, len(order)), "leases pass before")
    last: dict[Path, Verdict] = {}
    for step, journal in enumerate(order):
        if step == expiry:
            world.change("UPDATE processes SET lease_until = 1 WHERE state IN ('active', 'staged')")
            world.catalog.expire()
        (one,) = take_in(world, journal)
        if journal in last and last[journal] is not Verdict.INCOMPLETE:
            assert one.verdict is (Verdict.ALREADY if last[journal] in SAID else last[journal])
        last[journal] = one.verdict
        exactly_once(world, folder)
    committed = [journal.name.split("-")[0] for journal, verdict in last.items() if verdict in SAID]
    assert len(committed) == len(set(committed)) == len(world.files("committed")) // 2
    left = {one.split("-")[0] for one in uploads(folder)}
    assert all(one.isdigit() for one in left)
    world.close()
