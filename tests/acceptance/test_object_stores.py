"""Real jobs whose inputs and outputs lie behind S3 and WebDAV: everything is there once, and what was stored was proved."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import bookkeeper
from bookkeeper import stageout
from bookkeeper.check import check, repair
from bookkeeper.drivers import filesystem
from bookkeeper.spec import load
from bookkeeper.submit import submit
from goodcatalog import abandon
from services import s3, xrootd
from services.reach import local
from workbench import Bench

pytestmark = pytest.mark.acceptance

COPY = "import os, shutil, sys; shutil.copy(sys.argv[1], os.environ['BOOKKEEPER_OUTPUT'])\n"


@pytest.fixture(params=["s3", "dav"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a test may put objects."""
    if request.param == "s3":
        return s3.use(monkeypatch).bucket(tmp_path.name.replace("_", "-")[-40:].strip("-") + str(os.getpid()))
    return f"{xrootd.shared().dav}/{tmp_path.name}"


@pytest.fixture
def bench(tmp_path: Path, zmumu_folder: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, zmumu_folder, local)
    yield made
    made.catalog.close()


def put(url: str, data: bytes) -> None:
    system, path = filesystem(url)
    system.pipe_file(path, data)


def content(url: str) -> bytes:
    return b"".join(stageout.pieces(url))


def inputs_at(bench: Bench, place: str, data: Path) -> None:
    """A second project ``q`` over copies of three files behind a URL; the last one changed there since."""
    for path in sorted(data.iterdir())[:3]:
        put(f"{place}/in/far-{path.name}", path.read_bytes())
    bench.catalog.declare_files(bookkeeper.scan([f"{place}/in/far-zmumu-{number}.root" for number in (1, 2, 3)]))
    bench.catalog.define_dataset("far", names=["far-*"])
    bench.catalog.start_project("q", "far")
    spoiled = bytearray((data / "zmumu-3.root").read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    put(f"{place}/in/far-zmumu-3.root", bytes(spoiled))


@pytest.mark.parametrize("near", ["", 'near = "near"'])
def test_outputs_of_submitted_jobs_are_published_there_once(
    place: str, near: str, tmp_path: Path, zmumu_folder: Path
) -> None:
    (tmp_path / "payload.py").write_text(COPY)
    (tmp_path / "spec.toml").write_text(
        f"""
[project]
name = "far"
files = ["{zmumu_folder}/*.root"]
[job]
command = ["{sys.executable}", "-S", "payload.py", "{{inputs}}"]
files_per_process = 2
[output]
name = "m-{{process}}.root"
destination = "{place}/out"
validate = "deep"
{near}
[executor]
kind = "local"
jobs = 2
"""
    )
    catalog = bookkeeper.create_catalog(f"sqlite:///{tmp_path}/c.db")
    result = submit(load(tmp_path / "spec.toml"), catalog.database)
    assert (result.exit_code, result.status.committed, result.status.unpublished) == (0, 6, 0)
    failed = "SELECT process_id, reason FROM process_summary WHERE state <> 'committed' AND reason <> 'nothing to do'"
    assert catalog.sql(failed) == []
    assert sorted(url for url, _ in stageout.objects(f"{place}/out")) == sorted(
        row["url"] for row in catalog.project("far").outputs()
    )
    assert len(list(stageout.objects(f"{place}/out"))) == 3
    assert check(catalog.database, checksum=True) == []
    assert list(stageout.temporaries(f"{place}/out")) == []
    catalog.close()


def test_nothing_is_overwritten_and_nothing_counts_that_was_not_stored(bench: Bench, place: str) -> None:
    put(f"{place}/out/m-1.root", b"precious")
    outcome = bench.work(outputs=(replace(bench.output, destination=f"{place}/out"),))
    assert (outcome.fate, outcome.step) == ("rolled_back", "output-storage") and "exists already" in outcome.reason
    assert content(f"{place}/out/m-1.root") == b"precious"
    assert set(bench.ledger()) == {"available"}


def test_inputs_there_are_copied_and_one_with_another_checksum_is_parked(
    bench: Bench, place: str, zmumu_folder: Path
) -> None:
    inputs_at(bench, place, zmumu_folder)
    command = bench.script(COPY)
    outcome = bench.work(*command, project="q", stage_inputs=True, files_per_process=3)
    assert (outcome.fate, outcome.consumed) == ("committed", 2), outcome
    (row,) = bench.catalog.project("q").uncommitted()
    assert row["file"] == "far-zmumu-3.root" and row["state"] == "parked"
    assert f"changed since it was declared: {place}/in/far-zmumu-3.root" in row["reason"]


def test_leftovers_are_found_and_removed(bench: Bench, place: str) -> None:
    out = f"{place}/out"
    process = bench.project.start_process()
    process.next_files(1)
    (bench.folder / "made").write_text("made")
    process.stage_out(bench.folder / "made", out, "o-{process}.txt", validate=None)
    (left,) = stageout.temporaries(out)
    assert {one.code for one in check(bench.catalog.database)} == {"live-processes"}, "it may still be committed"
    abandon(bench.catalog, process)
    put(f"{out}/strange.txt", b"?")
    put(f"{out}/.bookkeeper/77-0123456789abcdef-0/x.txt", b"?")
    found = {one.code: one.sample for one in check(bench.catalog.database)}
    assert found.keys() == {"orphaned-temporaries", "unknown-temporaries", "unknown-object"}
    assert found["orphaned-temporaries"] == (left.url,)
    repair(bench.catalog.database, older_than=0.0)
    assert [one.url for one in stageout.temporaries(out)] == [f"{out}/.bookkeeper/77-0123456789abcdef-0/x.txt"]
    assert content(f"{out}/strange.txt") == b"?"


def test_inputs_over_https(bench: Bench, tmp_path: Path, zmumu_folder: Path) -> None:
    server = xrootd.shared()
    inputs_at(bench, f"{server.dav}/{tmp_path.name}", zmumu_folder)
    far = f"{server.davs.replace('davs', 'https')}/{tmp_path.name}/in"
    files = bench.catalog.sql("SELECT name, size, checksum FROM files WHERE name LIKE 'far-%'")
    renamed = [{**row, "name": "https-" + row["name"], "locations": [f"{far}/{row['name']}"]} for row in files]
    bench.catalog.declare_files(renamed)
    bench.catalog.define_dataset("https", names=["https-*"])
    bench.catalog.start_project("r", "https")
    job = bench.job(*bench.script(COPY), project="r", stage_inputs=True, files_per_process=3)
    worker = bench.worker(job, env={**os.environ, "SSL_CERT_FILE": str(server.authority)})
    said = worker.communicate(timeout=180)
    (row,) = bench.catalog.project("r").uncommitted()
    assert row["file"] == "https-far-zmumu-3.root" and row["state"] == "parked", said
    assert bench.published() == ["m-1.root"]


def test_a_missing_driver_is_no_fault_of_the_files(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.catalog.declare_files(
        [{"name": "far.bin", "size": 1, "checksum": "adler32:00000001", "locations": ["s3://bucket/far.bin"]}]
    )
    bench.catalog.define_dataset("far", names=["far.bin"])
    bench.catalog.start_project("q", "far")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "registry", {})  # nor loaded before
    outcome = bench.work(*bench.script(COPY), project="q", stage_inputs=True)
    assert (outcome.fate, outcome.step) == ("rolled_back", "stage-inputs")
    assert "s3://bucket/far.bin cannot be used" in outcome.reason
    (row,) = bench.catalog.project("q").uncommitted()
    assert (row["state"], row["attempts"]) == ("available", 0)
