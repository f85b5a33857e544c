"""Jobs of a real HTCondor pool that store near: their slots are free at once, and their outputs arrive without them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

import bookkeeper
from poolscene import PAYLOAD, PROJECT, SPEC, Scene, make_files
from services import condor
from workbench import until

pytestmark = [pytest.mark.fault, pytest.mark.slow]

EXECUTOR = 'kind = "htcondor"\njobs = 8\nmemory = "100MiB"'
PROCESSES = 6


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
        out=json.dumps(str(scene.out)), lease=60, executor=EXECUTOR,
    )  # fmt: skip
    text = text.replace("files_per_process = 1", "files_per_process = 10")
    text = text.replace('validate = "quick"', 'validate = "quick"\nnear = "near/"')
    (folder / "pool.toml").write_text(f"{text}\n[transfer]\nat_once = 1\n")
    return scene


def workers(scene: Scene) -> list[psutil.Process]:
    """The transfer workers of the scene's catalog."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-2:] == ["bookkeeper.transfers", scene.url]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_one_that_carries(scene: Scene) -> None:
    """Kill a transfer worker in the middle of its work: the link is taken until its claim runs out, a minute later."""

    def kill() -> bool:
        for process in workers(scene):
            try:
                process.suspend()
                if scene.rows("SELECT 1 FROM transfers WHERE state = 'running'"):
                    process.kill()
                    return True
                process.resume()
            except psutil.NoSuchProcess:
                continue
        return False

    until(kill, "a worker that carries an output", 60)


def test_slots_are_free_while_outputs_are_on_their_way(tmp_path: Path) -> None:
    pool = condor.shared()
    scene = build(tmp_path, pool.environment)
    scene.submit()
    try:
        kill_one_that_carries(scene)
        busy = "SELECT count(*) AS n FROM jobs WHERE state <> 'completed'"
        until(lambda: scene.rows(busy)[0]["n"] == 0, "all jobs are over", 50)
        staged = scene.rows("SELECT count(*) AS n FROM processes WHERE state = 'staged'")[0]["n"]
        assert staged >= PROCESSES - 2
        constraint = f'strcmp(substr(Iwd, 0, {len(str(tmp_path))}), "{tmp_path}") == 0'
        assert pool.tool("condor_q", "-allusers", "-constraint", constraint, "-af", "ClusterId") == ""
        assert len(list((tmp_path / "near").rglob("mass-*.root"))) >= staged
        scene.finished(200)
    finally:
        scene.stop()
        print(scene.log[-4000:])
    assert len(list(scene.out.glob("mass-*.root"))) == PROCESSES
    assert [one for one in (tmp_path / "near").rglob("*.root") if one.is_file()] == []
    assert scene.rows("SELECT sum(attempts) AS n FROM transfers") == [{"n": PROCESSES + 1}]
    assert scene.rows("SELECT count(*) AS n FROM processes WHERE state = 'committed'") == [{"n": PROCESSES}]
