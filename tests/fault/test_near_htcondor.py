"""Jobs of a real HTCondor pool that store near: their slots are free at once, and their outputs arrive without them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bookkeeper
from poolscene import PAYLOAD, PROJECT, SPEC, Scene, make_files
from services import condor
from workbench import until

pytestmark = [pytest.mark.fault, pytest.mark.slow]

EXECUTOR = 'kind = "htcondor"\njobs = 8\nmemory = "100MiB"'
PROCESSES = 6

SLOW = """
import sys, time
from bookkeeper import stageout
from bookkeeper.catalog import open_existing
from bookkeeper.transfers import carrying
database = open_existing(sys.argv[1])
began = time.monotonic()
while (one := carrying.claim_next(database, seconds=15)) is None:
    assert time.monotonic() - began < 600, "no output came"
    time.sleep(0.02)
def slow(near, url, *, size, checksum, on_progress):
    print("carries", flush=True)
    while True:
        on_progress(0)
        time.sleep(0.2)
stageout.transfer = slow
carrying.carry(database, one, seconds=15)
"""
"""The link is its alone, until it is killed and its claim has run out."""


def build(folder: Path, environment: dict[str, str]) -> Scene:
    """The scene of the pool, whose jobs take ten files each and store near; one output at a time is carried."""
    entries = make_files(folder / "data")
    scene = Scene(folder, folder / "out", entries, environment)
    scene.plan.mkdir()
    with bookkeeper.create_catalog(scene.url) as catalog:
        catalog.declare_files(bookkeeper.scan([folder / "data"]))
        catalog.define_dataset(PROJECT, files=list(entries))
    text = SPEC.format(
        python=json.dumps(sys.executable), payload=json.dumps(str(PAYLOAD)), plan=json.dumps(str(scene.plan)),
        out=json.dumps(str(scene.out)), lease=600, executor=EXECUTOR,
    )  # fmt: skip
    text = text.replace("files_per_process = 1", "files_per_process = 10")
    text = text.replace('validate = "quick"', 'validate = "quick"\nnear = "near/"')
    (folder / "pool.toml").write_text(f"{text}\n[transfer]\nat_once = 1\n")
    return scene


@contextlib.contextmanager
def slow_worker(scene: Scene) -> Iterator[subprocess.Popen[str]]:
    """A transfer worker that takes the first output of all, and is at it until it is killed."""
    words = [sys.executable, "-c", SLOW, scene.url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_slots_are_free_while_outputs_are_on_their_way(tmp_path: Path) -> None:
    pool = condor.shared()
    scene = build(tmp_path, pool.environment)
    try:
        with slow_worker(scene) as slow:
            scene.submit()
            assert slow.stdout is not None
            assert slow.stdout.readline() == "carries\n"
            staged = "SELECT count(*) AS n FROM processes WHERE state = 'staged'"
            until(lambda: scene.rows(staged)[0]["n"] == PROCESSES, "all outputs lie at the near storage", 600)
            busy = "SELECT count(*) AS n FROM jobs WHERE state <> 'completed'"
            until(lambda: scene.rows(busy)[0]["n"] == 0, "all jobs are over", 600)
            constraint = f'strcmp(substr(Iwd, 0, {len(str(tmp_path))}), "{tmp_path}") == 0'
            left = ("condor_q", "-allusers", "-constraint", constraint, "-af", "ClusterId")
            until(lambda: pool.tool(*left) == "", "no job is in the queue", 600)
            assert len(list((tmp_path / "near").rglob("mass-*.root"))) == PROCESSES
            assert scene.rows(staged)[0]["n"] == PROCESSES
        scene.finished()
    finally:
        scene.stop()
        pool.clear()
        print(scene.log[-4000:])
    assert len(list(scene.out.glob("mass-*.root"))) == PROCESSES
    assert [one for one in (tmp_path / "near").rglob("*.root") if one.is_file()] == []
    assert scene.rows("SELECT sum(attempts) AS n FROM transfers") == [{"n": PROCESSES + 1}]
    assert scene.rows("SELECT count(*) AS n FROM processes WHERE state = 'committed'") == [{"n": PROCESSES}]
