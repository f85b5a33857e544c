"""Publication where there is no rename: a copy on the server that appears whole or not, and replaces nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from bookkeeper import stageout
from bookkeeper.errors import PublicationConflict, StorageError
from bookkeeper.stageout.s3 import S3Store
from services import s3

MB = 1_000_000


@pytest.fixture
def destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    bucket = s3.use(monkeypatch).bucket(tmp_path.name.replace("_", "-")[-40:].strip("-") + str(os.getpid()))
    stageout.claim(f"{bucket}/out", "mine")
    return f"{bucket}/out"


def staged(destination: str, folder: Path, size: int = 1000, n: int = 0) -> stageout.Staged:
    (folder / "made").write_bytes(os.urandom(size))
    return stageout.stage_out(folder / "made", stageout.temporary_url(destination, 1, "abc", n, "o.bin"))


def publish(destination: str, one: stageout.Staged) -> str:
    return stageout.publish(one.url, f"{destination}/o.bin", size=one.size, checksum=one.checksum, exclusive=True)


def uploads(destination: str) -> list[str]:
    return [one["Key"] for one in S3Store(destination)._uploads(destination + "/")]


def test_a_bucket_that_is_missing_is_not_made(destination: str) -> None:
    nowhere = destination.replace("s3://", "s3://not-")
    with pytest.raises(StorageError, match="it is not there, or vanished"):
        stageout.claim(nowhere, "mine")
    assert not fsspec.filesystem("s3").exists(nowhere.rpartition("/")[0])


def test_of_two_claims_at_once_one_is_made(destination: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen none: the server decides."""
    monkeypatch.setattr(S3Store, "look", lambda *_: None)
    with pytest.raises(FileExistsError):
        S3Store(destination).write_small(f"{destination}/.bookkeeper/claim", b"another's", replace=False)
    assert stageout.claimed_by(destination) == "mine"


@pytest.mark.parametrize("when", ["before the second look", "after it"])
def test_a_stranger_that_takes_the_key_in_the_last_instant_is_not_replaced(
    destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    one = staged(destination, tmp_path)
    method = "_copy" if when.startswith("before") else "_unless_there"
    original = getattr(S3Store, method)

    def slow(self: S3Store, *words: Any, **options: Any) -> Any:
        if not self.fs.exists(f"{destination}/o.bin"):
            self.fs.pipe(f"{destination}/o.bin", b"precious")
        return original(self, *words, **options)

    monkeypatch.setattr(S3Store, method, slow)
    with pytest.raises(PublicationConflict):
        publish(destination, one)
    assert b"".join(stageout.pieces(f"{destination}/o.bin")) == b"precious"
    assert stageout.measure(one.url) == (one.size, one.checksum)
    assert uploads(destination) == []


def test_a_copy_that_differs_goes_again_and_what_a_stranger_put_there_since_stays(
    destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = staged(destination, tmp_path)
    copy = S3Store._copy

    def spoiled(self: S3Store, temporary: str, final: str, upload: str, size: int) -> list[dict[str, Any]]:
        part = self._call("upload_part", final, PartNumber=1, UploadId=upload, Body=b"x" * size)
        return [{"PartNumber": 1, "ETag": part["ETag"]}]

    monkeypatch.setattr(S3Store, "_copy", spoiled)
    with pytest.raises(StorageError, match="did not arrive whole"):
        publish(destination, one)
    assert not stageout.exists(f"{destination}/o.bin")

    proof = S3Store.proof

    def replaced(self: S3Store, url: str, *words: Any) -> tuple[int, str]:
        if url == f"{destination}/o.bin":
            self.fs.pipe(url, b"precious")
        return proof(self, url, *words)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "proof", replaced)
        with pytest.raises(StorageError, match="did not arrive whole"):
            publish(destination, one)
    assert b"".join(stageout.pieces(f"{destination}/o.bin")) == b"precious"

    fsspec.filesystem("s3").rm(f"{destination}/o.bin")
    monkeypatch.setattr(S3Store, "_copy", copy)
    assert publish(destination, one) == "published"


def test_a_server_without_conditions_is_published_to_after_a_second_look(
    destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    call = S3Store._call

    def old(self: S3Store, method: str, url: str, **request: Any) -> Any:
        if "IfNoneMatch" in request:
            cause = ClientError({"Error": {"Code": "NotImplemented", "Message": "A header you provided"}}, method)
            raise OSError(38, "A header you provided implies functionality that is not implemented") from cause
        return call(self, method, url, **request)

    monkeypatch.setattr(S3Store, "_call", old)
    stageout.claim(f"{destination}/sub", "mine")
    one, copy = staged(destination, tmp_path), S3Store._copy

    def slow(self: S3Store, *words: Any) -> list[dict[str, Any]]:
        self.fs.pipe(f"{destination}/o.bin", b"precious")
        return copy(self, *words)

    with monkeypatch.context() as patch, pytest.raises(PublicationConflict):
        patch.setattr(S3Store, "_copy", slow)
        publish(destination, one)
    assert b"".join(stageout.pieces(f"{destination}/o.bin")) == b"precious"
    fsspec.filesystem("s3").rm(f"{destination}/o.bin")
    assert publish(destination, one) == "published"


def test_objects_of_several_parts(destination: str, tmp_path: Path) -> None:
    one = staged(destination, tmp_path, 70 * MB)
    assert publish(destination, one) == "published"
    assert stageout.measure(f"{destination}/o.bin") == (one.size, one.checksum)
    assert uploads(destination) == []


def test_parts_that_a_killed_worker_left_are_seen_by_nobody_and_tidied(destination: str) -> None:
    store = S3Store(destination)
    url = stageout.temporary_url(destination, 1, "abc", 0, "o.bin")
    store._call("create_multipart_upload", url)
    assert list(stageout.temporaries(destination)) == []
    assert stageout.tidy(destination, older_than=1e12) == 0, "what is younger may still go on"
    assert stageout.tidy(destination) == 1, "for moto all of them began long ago"
    assert uploads(destination) == []
    store._call("create_multipart_upload", url)
    assert not stageout.discard(url)
    assert uploads(destination) == [], "nothing can come of it any more"
