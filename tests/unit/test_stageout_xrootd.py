"""A real XRootD server as a destination and as a near storage: exclusive names, its own checksums, its errors in words."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper import stageout
from bookkeeper.errors import NotAllowed, PublicationConflict, StorageError
from bookkeeper.stageout.xrootd import XRootDStore
from services import xrootd

CATALOG = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def destination(tmp_path: Path) -> Iterator[str]:
    url = f"{xrootd.shared().url}/{tmp_path.name}"
    stageout.claim(url, CATALOG)
    yield url


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "made.bin"
    path.write_bytes(os.urandom(5_000_000))
    return path


def there(url: str) -> Path:
    """Where the server keeps an object."""
    return xrootd.shared().data / url.partition("://")[2].partition("/")[2].lstrip("/")


def staged(destination: str, source: Path, process: int = 1) -> stageout.Staged:
    return stageout.stage_out(source, stageout.temporary_url(destination, process, "abc", 0, "o.bin"))


def test_an_output_is_stored_proved_and_published(destination: str, source: Path) -> None:
    one = staged(destination, source)
    assert there(one.url).read_bytes() == source.read_bytes()
    assert [upload.url for upload in stageout.temporaries(destination)] == [one.url]
    final = stageout.final_url(destination, "o.bin")
    for became in ("published", "already"):
        how = {"size": one.size, "checksum": one.checksum, "exclusive": True}
        assert stageout.publish(one.url, final, **how) == became  # type: ignore[arg-type]
    assert list(stageout.objects(destination)) == [(final, one.size)]
    assert stageout.measure(final) == (one.size, one.checksum)
    assert list(stageout.temporaries(destination)) == []
    assert stageout.remove_final(final, checksum=one.checksum)
    assert not stageout.remove_final(final, checksum=one.checksum)


def test_a_claim_and_a_temporary_are_made_exclusively(destination: str, source: Path) -> None:
    with pytest.raises(NotAllowed, match="claimed by catalog"):
        stageout.claim(destination, "another")
    stageout.claim(destination, "another", adopt=True)
    assert stageout.claimed_by(destination) == "another"
    staged(destination, source)
    with pytest.raises(StorageError, match="it exists already"):
        staged(destination, source)


def test_its_rename_replaces_so_that_a_final_name_that_is_taken_is_looked_for(destination: str, source: Path) -> None:
    """Seen of XRootD 5.5: `mv` over a file succeeds. So there is one publisher, and it looks before."""
    one = staged(destination, source)
    final = stageout.final_url(destination, "o.bin")
    there(final).write_text("another's")
    with pytest.raises(PublicationConflict):
        stageout.publish(one.url, final, size=one.size, checksum=one.checksum, exclusive=True)
    assert there(final).read_text() == "another's"
    with pytest.raises(NotAllowed):
        stageout.publish(one.url, final, size=one.size, checksum=one.checksum)


def test_the_servers_checksum_stands_for_reading_back(
    destination: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    pieces = XRootDStore.pieces
    monkeypatch.setattr(XRootDStore, "pieces", lambda self, url: read.append(url) or pieces(self, url))
    one = staged(destination, source)
    assert read == []
    assert XRootDStore(destination).proof(one.url) == stageout.measure(one.url)


def test_what_changed_on_the_server_is_seen_by_its_checksum(destination: str) -> None:
    """As long as it was not asked before: a server keeps its answer for as long as the file's time is the same."""
    store, url = XRootDStore(destination), stageout.temporary_url(destination, 1, "abc", 0, "o.bin")
    sink = store.create(url, 100_000)
    sink.write(memoryview(b"x" * 100_000))
    sink.finish()
    with there(url).open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"y")
    assert store.proof(url) == store.measure(url) != (100_000, f"adler32:{zlib.adler32(b'x' * 100_000):08x}")


def test_it_is_a_near_storage_as_well(destination: str, source: Path, tmp_path: Path) -> None:
    one = staged(destination, source)
    stageout.claim(tmp_path / "out", CATALOG)
    for number, to in enumerate((destination, tmp_path / "out"), 2):
        url = stageout.temporary_url(to, number, "abc", 0, "o.bin")
        moved = stageout.transfer(one.url, url, size=one.size, checksum=one.checksum)
        assert stageout.measure(moved.url) == (one.size, one.checksum)


def test_its_errors_are_told_in_the_words_of_all_storages(destination: str, source: Path) -> None:
    nothing = stageout.temporary_url(f"{destination}/not-there", 1, "abc", 0, "o.bin")
    with pytest.raises(StorageError, match="vanished"):
        stageout.stage_out(source, nothing)
    with pytest.raises(StorageError, match=r"cannot read .*: it is not there"):
        stageout.measure(f"{destination}/nothing")
    assert not stageout.exists(f"{destination}/nothing")
    folder = there(destination)
    folder.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="permission is denied"):
            stageout.claim(f"{destination}/sub", CATALOG)
    finally:
        folder.chmod(0o755)
