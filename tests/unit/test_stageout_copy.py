"""Claiming a destination, copying to it and reading back; on a local file system and behind a URL."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bookkeeper.errors import NotAllowed, StorageError, UsageError
from bookkeeper.stageout import (
    claim,
    claimed_by,
    discard,
    exists,
    object_size,
    objects,
    require_claim,
    resolve,
    stage_out,
    temporaries,
    temporary_url,
    tidy,
)
from bookkeeper.stageout.local import bypass_cache, sync

MINE, OTHERS = "6f0c9b6e-0001", "6f0c9b6e-0002"
BIG = 9_000_001  # more than two buffers, and no multiple of anything


@pytest.fixture(params=["local", "memory"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A destination that nobody claimed yet."""
    return str(tmp_path / "deep" / "out") if request.param == "local" else f"memory://{uuid.uuid4().hex}/out"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "payload.bin"
    path.write_bytes(os.urandom(BIG))
    return path


def checksum_of(data: bytes) -> str:
    return f"adler32:{zlib.adler32(data):08x}"


def content(url: str) -> bytes:
    with fsspec.open(url, "rb") as stream:
        return bytes(stream.read())


def temporary(destination: str, n: int = 0, name: str = "a.root") -> str:
    return temporary_url(destination, 7, "nonce", n, name)


def test_a_destination_is_made_and_claimed_for_one_catalog(destination: str) -> None:
    assert claimed_by(destination) is None
    claim(destination, MINE)
    claim(destination, MINE)
    assert claimed_by(destination) == MINE
    written = json.loads(content(f"{resolve(destination)}/.bookkeeper/claim"))
    assert written["catalog"] == MINE and written["claimed_at"] > 1.7e9
    require_claim(destination, MINE)


def test_another_catalog_is_refused_and_told_whose_it_is(destination: str) -> None:
    claim(destination, MINE)
    with pytest.raises(NotAllowed) as raised:
        claim(destination, OTHERS)
    assert MINE in str(raised.value) and OTHERS in str(raised.value) and "--adopt" in raised.value.remedy
    assert claimed_by(destination) == MINE


def test_adopting_takes_a_destination_over(destination: str) -> None:
    claim(destination, OTHERS)
    claim(destination, MINE, adopt=True)
    claim(destination, MINE, adopt=True)
    assert claimed_by(destination) == MINE
    with pytest.raises(NotAllowed):
        require_claim(destination, OTHERS)
    assert list(objects(destination)) == [] and list(temporaries(destination)) == []


def test_adopting_what_nobody_has_is_claiming(destination: str) -> None:
    claim(destination, MINE, adopt=True)
    assert claimed_by(destination) == MINE


def test_a_destination_that_vanished_is_not_made_again(destination: str, source: Path) -> None:
    for act in (lambda: require_claim(destination, MINE), lambda: stage_out(source, temporary(destination))):
        with pytest.raises(StorageError, match="vanished"):
            act()
    assert not exists(destination)


@pytest.mark.parametrize("damage", [b"{", b"[]", b"{}", b'{"catalog": 3}', b"\xff\xfe"])
def test_a_damaged_claim_is_nobodys_until_it_is_adopted(destination: str, damage: bytes) -> None:
    claim(destination, MINE)
    with fsspec.open(f"{resolve(destination)}/.bookkeeper/claim", "wb") as stream:
        stream.write(damage)
    with pytest.raises(NotAllowed, match="unreadable"):
        claim(destination, MINE)
    claim(destination, MINE, adopt=True)
    assert claimed_by(destination) == MINE


def test_an_empty_claim_locks_nobody_out(destination: str) -> None:
    claim(destination, MINE)
    with fsspec.open(f"{resolve(destination)}/.bookkeeper/claim", "wb"):
        pass
    claim(destination, OTHERS)
    assert claimed_by(destination) == OTHERS


def test_of_many_catalogs_at_once_one_gets_the_destination(tmp_path: Path) -> None:
    barrier, won = threading.Barrier(12), []

    def contend(number: int) -> None:
        barrier.wait()
        try:
            claim(tmp_path / "out", f"catalog-{number}")
        except NotAllowed:
            return
        won.append(f"catalog-{number}")

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [claimed_by(tmp_path / "out")]
    assert os.listdir(tmp_path / "out" / ".bookkeeper") == ["claim"]


def test_a_claim_under_a_file_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for destination in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(StorageError, match="no folder"):
            claim(destination, MINE)


def test_a_copy_has_the_size_and_checksum_of_its_source(destination: str, source: Path) -> None:
    claim(destination, MINE)
    staged = stage_out(source, temporary(destination), expected_checksum=checksum_of(source.read_bytes()))
    assert (staged.size, staged.checksum) == (BIG, checksum_of(source.read_bytes()))
    assert staged.url == temporary(destination)
    assert content(staged.url) == source.read_bytes()
    assert object_size(staged.url) == BIG


@pytest.mark.parametrize("size", [0, 1, 4 << 20, (4 << 20) + 1])
def test_every_size_arrives(destination: str, tmp_path: Path, size: int) -> None:
    claim(destination, MINE)
    (tmp_path / "source").write_bytes(os.urandom(size))
    staged = stage_out(tmp_path / "source", temporary(destination))
    assert staged.size == size and content(staged.url) == (tmp_path / "source").read_bytes()


def test_progress_counts_every_byte_written_and_read_back(destination: str, source: Path) -> None:
    claim(destination, MINE)
    told: list[tuple[int, int]] = []
    stage_out(source, temporary(destination), on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (2 * BIG, 2 * BIG) and len(told) > 4


@pytest.mark.parametrize("at", [0, BIG + 1])
def test_what_progress_raises_ends_the_copy_and_leaves_nothing(destination: str, source: Path, at: int) -> None:
    claim(destination, MINE)

    def stop(done: int, total: int) -> None:
        if done > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage_out(source, temporary(destination), on_progress=stop)
    assert list(temporaries(destination)) == []


def test_a_source_that_is_not_what_the_payload_left_is_refused(destination: str, source: Path) -> None:
    claim(destination, MINE)
    with pytest.raises(StorageError, match="not what the payload left"):
        stage_out(source, temporary(destination), expected_checksum="adler32:00000001")
    assert list(temporaries(destination)) == []


def test_a_source_that_grows_while_it_is_copied_is_refused(destination: str, source: Path) -> None:
    claim(destination, MINE)

    def grow(done: int, total: int) -> None:
        with open(source, "ab") as stream:
            stream.write(b"x")

    with pytest.raises(StorageError, match="changed while it was copied"):
        stage_out(source, temporary(destination), on_progress=grow)
    assert list(temporaries(destination)) == []


def test_a_source_that_is_truncated_while_it_is_copied_is_refused(destination: str, source: Path) -> None:
    claim(destination, MINE)
    with pytest.raises(StorageError, match="changed while it was copied"):
        stage_out(source, temporary(destination), on_progress=lambda done, total: os.truncate(source, 100))
    assert list(temporaries(destination)) == []


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "missing"])
def test_a_source_that_is_no_regular_file_is_refused(destination: str, source: Path, tmp_path: Path, kind: str) -> None:
    claim(destination, MINE)
    path = tmp_path / kind
    if kind == "link":
        path.symlink_to(source)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(StorageError, match=f"cannot read the output .*{kind}"):
        stage_out(path, temporary(destination))
    assert list(temporaries(destination)) == []


def test_a_temporary_is_opened_once_and_never_rewritten(destination: str, source: Path, tmp_path: Path) -> None:
    claim(destination, MINE)
    stage_out(source, temporary(destination))
    (tmp_path / "second").write_bytes(b"second")
    with pytest.raises(StorageError, match="exists already"):
        stage_out(tmp_path / "second", temporary(destination))
    assert content(temporary(destination)) == source.read_bytes()


def test_an_address_that_is_no_temporary_is_refused(destination: str, source: Path) -> None:
    claim(destination, MINE)
    with pytest.raises(UsageError):
        stage_out(source, f"{destination}/a.root")


class Flaky(MemoryFileSystem):
    """A storage that acknowledges what it then does not keep."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012 - fsspec's own shape
    pseudo_dirs: list[str] = [""]  # noqa: RUF012
    harm = "flip"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("flaky://", "memory://")))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        stream = super()._open(path, mode, **options)
        if mode == "rb" and ".bookkeeper/7-" in path:
            data = bytearray(stream.getvalue())
            if self.harm == "flip":
                data[len(data) // 2] ^= 1
            elif self.harm == "truncate":
                del data[-1]
            else:
                raise RuntimeError("the driver is broken")
            import io

            return io.BytesIO(bytes(data))
        return stream


@pytest.fixture
def flaky() -> Iterator[type[Flaky]]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    yield Flaky
    Flaky.harm = "flip"
    Flaky.store.clear()


@pytest.mark.parametrize(
    ("harm", "words"),
    [("flip", "came back"), ("truncate", "came back"), ("break", "RuntimeError: the driver is broken")],
)
def test_a_storage_that_keeps_other_bytes_is_found_out(flaky: type[Flaky], source: Path, harm: str, words: str) -> None:
    flaky.harm = harm
    claim("flaky://out", MINE)
    with pytest.raises(StorageError, match=words) as raised:
        stage_out(source, temporary("flaky://out"))
    assert raised.value.remedy
    assert list(temporaries("flaky://out")) == []


def test_an_unknown_protocol_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        claim("nosuch://out", MINE)


def test_after_a_sync_a_file_can_be_dropped_from_memory(tmp_path: Path) -> None:
    """Else the read-back would prove memory, not the storage. preadv2 with RWF_NOWAIT answers from memory only."""
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("platform: no preadv2")
    with open(tmp_path / "file", "w+b", buffering=0) as stream:
        stream.write(os.urandom(1 << 20))
        try:
            assert os.preadv(stream.fileno(), [bytearray(4096)], 4096, os.RWF_NOWAIT) == 4096
            sync(stream.fileno())
            bypass_cache(stream.fileno())
            os.preadv(stream.fileno(), [bytearray(4096)], 4096, os.RWF_NOWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            pytest.skip(f"platform: this file system does not tell what is in memory: {error}")
        kind = subprocess.run(
            ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
        ).stdout.strip()
        if kind in {"tmpfs", "ramfs"}:
            pytest.skip("platform: this file system is in memory")
        pytest.fail(f"the page was still in memory, on {kind}")


def test_temporaries_are_listed_with_their_parts(destination: str, source: Path) -> None:
    claim(destination, MINE)
    stage_out(source, temporary(destination, 0))
    stage_out(source, temporary(destination, 1, "b.root"))
    found = list(temporaries(destination))
    assert [(t.url, t.process_id, t.nonce, t.n, t.name, t.size) for t in found] == [
        (temporary(destination, 0), 7, "nonce", 0, "a.root", BIG),
        (temporary(destination, 1, "b.root"), 7, "nonce", 1, "b.root", BIG),
    ]
    assert all(t.modified is not None and t.modified > 1.7e9 for t in found)


def test_what_bookkeeper_did_not_name_is_not_listed(destination: str) -> None:
    claim(destination, MINE)
    for name in (".bookkeeper/notes.txt", ".bookkeeper/foreign/a.root", ".hidden", "sub/b.root", "c.root"):
        with fsspec.open(f"{resolve(destination)}/{name}", "wb", auto_mkdir=True) as stream:
            stream.write(b"1234")
    assert list(temporaries(destination)) == []
    assert list(objects(destination)) == [(f"{resolve(destination)}/c.root", 4)]


def test_listing_what_is_not_there_is_empty(destination: str) -> None:
    assert list(temporaries(destination)) == [] and list(objects(destination)) == []
    with pytest.raises(StorageError, match="not there"):
        object_size(f"{destination}/a.root")


def test_discarding_deletes_one_temporary_and_its_empty_folder(destination: str, source: Path) -> None:
    claim(destination, MINE)
    stage_out(source, temporary(destination, 0))
    stage_out(source, temporary(destination, 1))
    assert discard(temporary(destination, 0)) is True
    assert discard(temporary(destination, 0)) is False
    assert [t.n for t in temporaries(destination)] == [1]
    assert not exists(f"{resolve(destination)}/.bookkeeper/7-nonce-0")
    with pytest.raises(UsageError):
        discard(f"{destination}/.bookkeeper/claim")
    require_claim(destination, MINE)


def test_discarding_where_the_destination_vanished_is_not_called_done(destination: str) -> None:
    with pytest.raises(StorageError, match="vanished"):
        discard(temporary(destination))


def test_tidying_takes_only_old_leftovers(tmp_path: Path, source: Path) -> None:
    destination = tmp_path / "out"
    claim(destination, MINE)
    stage_out(source, temporary(str(destination), 1))
    hidden = destination / ".bookkeeper"
    (hidden / "7-nonce-2").mkdir()
    (hidden / "foreign").mkdir()
    (hidden / "claim.0123").write_text("{")
    assert tidy(destination) == 0
    for name in ("7-nonce-1", "7-nonce-2", "foreign", "claim.0123", "claim"):
        os.utime(hidden / name, (1, 1))
    assert tidy(destination) == 2
    assert sorted(os.listdir(hidden)) == ["7-nonce-1", "claim", "foreign"]
