"""Real servers of S3 and of WebDAV as destinations: what holds for every storage holds there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bookkeeper import stageout
from bookkeeper.errors import NotAllowed, PublicationConflict, StorageError
from services import s3, xrootd

CATALOG = "11111111-1111-1111-1111-111111111111"


@pytest.fixture(params=["s3", "dav"])
def destination(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "s3":
        url = s3.use(monkeypatch).bucket(tmp_path.name.replace("_", "-")[-40:].strip("-") + str(os.getpid())) + "/out"
    else:
        url = f"{xrootd.shared().dav}/{tmp_path.name}"
    stageout.claim(url, CATALOG)
    yield url


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "made.bin"
    path.write_bytes(os.urandom(3_000_000))
    return path


def staged(destination: str, source: Path, process: int = 1) -> stageout.Staged:
    return stageout.stage_out(source, stageout.temporary_url(destination, process, "abc", 0, "o.bin"))


def publish(one: stageout.Staged) -> str:
    final = stageout.final_url(stageout.parse_temporary(one.url).destination, "o.bin")
    return stageout.publish(one.url, final, size=one.size, checksum=one.checksum, exclusive=True)


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_an_output_is_stored_proved_published_and_taken_back(destination: str, source: Path, size: int) -> None:
    os.truncate(source, size)
    one = staged(destination, source)
    assert [(upload.url, upload.size) for upload in stageout.temporaries(destination)] == [(one.url, size)]
    assert list(stageout.objects(destination)) == []
    assert [publish(one), publish(one)] == ["published", "already"]
    final = stageout.final_url(destination, "o.bin")
    assert list(stageout.objects(destination)) == [(final, size)]
    assert b"".join(stageout.pieces(final)) == source.read_bytes()
    assert list(stageout.temporaries(destination)) == []
    assert stageout.remove_final(final, checksum=one.checksum)
    assert not stageout.remove_final(final, checksum=one.checksum)


def test_a_claim_and_a_temporary_are_made_once(destination: str, source: Path) -> None:
    with pytest.raises(NotAllowed, match="claimed by catalog"):
        stageout.claim(destination, "another")
    stageout.claim(destination, "another", adopt=True)
    assert stageout.claimed_by(destination) == "another"
    staged(destination, source)
    with pytest.raises(StorageError, match="it exists already"):
        staged(destination, source)


def test_workers_that_claim_at_once_all_have_the_claim(destination: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(5):
            place = f"{destination}/at-once-{number}"
            assert list(pool.map(lambda _, place=place: stageout.claim(place, CATALOG), range(8))) == [None] * 8
            assert stageout.claimed_by(place) == CATALOG


def test_another_object_at_the_final_name_is_a_conflict_and_nothing_is_touched(destination: str, source: Path) -> None:
    first = staged(destination, source)
    publish(first)
    source.write_bytes(b"x" * first.size)
    second = staged(destination, source, 2)
    with pytest.raises(PublicationConflict):
        publish(second)
    final = stageout.final_url(destination, "o.bin")
    assert stageout.measure(final) == (first.size, first.checksum)
    assert stageout.measure(second.url) == (second.size, second.checksum)
    with pytest.raises(PublicationConflict):
        stageout.remove_final(final, checksum=second.checksum)


def test_it_is_a_near_storage_as_well(destination: str, source: Path, tmp_path: Path) -> None:
    one = staged(destination, source)
    stageout.claim(tmp_path / "out", CATALOG)
    for number, to in enumerate((destination, tmp_path / "out"), 2):
        url = stageout.temporary_url(to, number, "abc", 0, "o.bin")
        moved = stageout.transfer(one.url, url, size=one.size, checksum=one.checksum)
        assert stageout.measure(moved.url) == (one.size, one.checksum)
    assert stageout.discard(one.url) and not stageout.discard(one.url)
    with pytest.raises(stageout.NearCopyBad, match="is gone"):
        stageout.transfer(one.url, url, size=one.size, checksum=one.checksum)


def test_an_upload_that_ends_in_its_middle_leaves_nothing(destination: str, source: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stageout.stage_out(source, stageout.temporary_url(destination, 1, "abc", 0, "o.bin"), on_progress=stop)
    assert list(stageout.temporaries(destination)) == []
    with pytest.raises(StorageError, match="is not what the payload left"):
        stageout.stage_out(
            source,
            stageout.temporary_url(destination, 1, "abc", 0, "o.bin"),
            expected_checksum="adler32:00000001",
        )
    assert list(stageout.temporaries(destination)) == []


def test_its_errors_are_told_in_the_words_of_all_storages(destination: str, source: Path) -> None:
    with pytest.raises(StorageError, match="vanished"):
        staged(f"{destination}/not-there", source)
    with pytest.raises(StorageError, match=r"cannot read .*: it is not there"):
        stageout.measure(f"{destination}/nothing")
    assert not stageout.exists(f"{destination}/nothing")


def test_a_lost_output_is_told_from_a_destination_that_vanished(destination: str, source: Path) -> None:
    one = staged(destination, source)
    stageout.discard(one.url)
    with pytest.raises(StorageError, match="is lost"):
        publish(one)
    with pytest.raises(StorageError, match="vanished"):
        stageout.publish(
            one.url.replace("/.bookkeeper", "/gone/.bookkeeper"),
            f"{destination}/gone/o.bin",
            size=one.size,
            checksum=one.checksum,
            exclusive=True,
        )
