"""The catalog's publisher is killed before every request that it makes to S3 and to WebDAV: publishing again ends it well, each time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bookkeeper import stageout
from bookkeeper.api import Catalog
from bookkeeper.check import check, repair
from bookkeeper.stageout.s3 import S3Store
from goodcatalog import commit_only, started
from services import s3, xrootd

pytestmark = [pytest.mark.fault, pytest.mark.slow]

PUBLISHER = """
import os, signal, sys
import httpx
from s3fs import S3FileSystem
import bookkeeper
from bookkeeper.publishing import publish_pending

ask, send, count = S3FileSystem._call_s3, httpx.Client.send, 0

def die_in_time():
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

async def ask_s3(self, method, *words, **options):
    die_in_time()
    return await ask(self, method, *words, **options)

def ask_dav(self, *words, **options):
    die_in_time()
    return send(self, *words, **options)

S3FileSystem._call_s3, httpx.Client.send = ask_s3, ask_dav
print(publish_pending(bookkeeper.open_catalog(sys.argv[1]).database))
"""

SEEN = {
    "s3": {" temporary ", " temporary parts", "final temporary ", "final  "},
    "dav": {" temporary ", "final  "},
}
"""What there may be after a kill, and must have been after one of them."""


@pytest.fixture(params=SEEN)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "s3":
        return s3.use(monkeypatch).bucket(f"kills-{os.getpid()}")
    return f"{xrootd.shared().dav}/{tmp_path.name}"


def uploads(url: str) -> list[object]:
    return list(S3Store(url)._uploads(url)) if url.startswith("s3://") else []


def committed(catalog: Catalog, folder: Path, destination: str) -> bytes:
    """Let one job commit, and die before it publishes; what it made."""
    process = catalog.project("mass").start_process()
    for file in process.next_files(1):
        file.consumed(entries=1)
    content = os.urandom(1000)
    (folder / "made").write_bytes(content)
    process.stage_out(folder / "made", destination, "o-{process}.bin", validate=None)
    commit_only(catalog, process)
    return content


def test_a_publisher_that_is_killed_anywhere_leaves_what_the_next_one_finishes(place: str, tmp_path: Path) -> None:
    catalog, _ = started(tmp_path, 60, files_per_process=1)
    seen: set[str] = set()
    for step in range(1, 60):
        destination = f"{place}/{step}"
        content = committed(catalog, tmp_path, destination)
        final = f"{destination}/o-{step}.bin"
        publisher = subprocess.run(
            [sys.executable, "-c", PUBLISHER, catalog.url, str(step)], capture_output=True, text=True, timeout=120
        )
        there, upload = stageout.exists(final), [one.url for one in stageout.temporaries(destination)]
        assert there or upload, "nothing is lost"
        if there:
            assert b"".join(stageout.pieces(final)) == content, "never seen in part"
        seen.add(f"{'final' if there else ''} {'temporary' if upload else ''} {'parts' if uploads(final) else ''}")
        assert not [one for one in check(catalog.database, checksum=True) if one.severity == "violation"]

        done = repair(catalog.database)
        assert b"".join(stageout.pieces(final)) == content
        assert list(stageout.temporaries(destination)) == [] and uploads(destination + "/") == []
        (row,) = catalog.sql("SELECT count(*) AS n FROM outputs WHERE state = 'published'")
        assert row["n"] == step, done
        assert check(catalog.database, checksum=True) == []
        if publisher.returncode == 0:
            assert not [one for one in done if one.startswith(("published", "not published"))], publisher.stdout
            break
        assert publisher.returncode == -signal.SIGKILL, publisher.stderr
    else:
        pytest.fail("it never came to its end")
    assert seen == SEEN[place.partition("://")[0]]
    catalog.close()
