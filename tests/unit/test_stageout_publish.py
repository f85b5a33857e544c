"""Publishing replaces nothing, may be repeated, and may be taken back; on a local file system and behind a URL."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bookkeeper.errors import NotAllowed, PublicationConflict, StorageError, UsageError
from bookkeeper.stageout import (
    Staged,
    claim,
    exists,
    final_url,
    publish,
    remove_final,
    stage_out,
    temporaries,
    temporary_url,
)
from bookkeeper.stageout.local import rename_without_replacing

DATA = b"events" * 1000


class Output:
    """One staged output, and how it is published."""

    def __init__(self, destination: str, folder: Path, n: int = 0) -> None:
        self.destination = destination
        self.temporary = temporary_url(destination, 7, "nonce", n, "a.root")
        self.final = final_url(destination, "a.root")
        (folder / "payload").write_bytes(DATA)
        self.staged: Staged = stage_out(folder / "payload", self.temporary)

    def publish(self, **options: Any) -> str:
        options = {"exclusive": "://" in self.final, **options}
        return publish(self.temporary, self.final, size=self.staged.size, checksum=self.staged.checksum, **options)

    def clean(self) -> bool:
        """Nothing but the whole object is left."""
        return (
            content(self.final) == DATA
            and not list(temporaries(self.destination))
            and not exists(parent(self.temporary))
        )


def parent(url: str) -> str:
    return url.rpartition("/")[0]


def content(url: str) -> bytes:
    with fsspec.open(url, "rb") as stream:
        return bytes(stream.read())


def write(url: str, data: bytes) -> None:
    with fsspec.open(url, "wb") as stream:
        stream.write(data)


class Renaming(MemoryFileSystem):
    """A storage whose driver has a rename of its own."""

    protocol = "renaming"
    store: dict[str, Any] = {}  # noqa: RUF012 - fsspec's own shape
    pseudo_dirs: list[str] = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("renaming://", "memory://")))

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self.store[path2] = self.store.pop(path1)


fsspec.register_implementation("renaming", Renaming, clobber=True)


@pytest.fixture(params=["local", "memory", "renaming"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    destination = str(tmp_path / "out") if request.param == "local" else f"{request.param}://{uuid.uuid4().hex}"
    claim(destination, "mine")
    return Output(destination, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Output:
    claim(tmp_path / "out", "mine")
    return Output(str(tmp_path / "out"), tmp_path)


@pytest.mark.parametrize("verify", ["size", "checksum"])
def test_publishing_moves_the_output_to_its_final_name(output: Output, verify: str) -> None:
    assert output.publish(verify=verify) == "published"
    assert output.clean()


def test_publishing_again_answers_already(output: Output) -> None:
    output.publish()
    assert output.publish() == "already"
    assert output.clean()


def test_a_leftover_temporary_of_a_published_output_is_removed(output: Output) -> None:
    write(output.final, DATA)
    assert output.publish() == "already"
    assert output.clean()


def test_a_kill_between_link_and_unlink_is_finished_by_the_next_call(local: Output) -> None:
    os.link(local.temporary, local.final)
    assert local.publish() == "already"
    assert local.clean()


@pytest.mark.parametrize("other", [b"", b"shorter", b"EVENTS" * 1000])
def test_another_object_at_the_final_name_is_a_conflict_and_nothing_is_touched(output: Output, other: bytes) -> None:
    write(output.final, other)
    with pytest.raises(PublicationConflict) as raised:
        output.publish()
    assert output.final in str(raised.value) and raised.value.remedy
    assert content(output.final) == other and content(output.temporary) == DATA


def test_a_link_or_a_folder_at_the_final_name_is_a_conflict(local: Output, tmp_path: Path) -> None:
    os.symlink(tmp_path / "payload", local.final)
    with pytest.raises(PublicationConflict):
        local.publish()
    os.unlink(local.final)
    os.mkdir(local.final)
    with pytest.raises(PublicationConflict):
        local.publish()
    assert content(local.temporary) == DATA


def test_an_output_with_neither_name_is_lost(output: Output) -> None:
    output.publish()
    remove_final(output.final, checksum=output.staged.checksum)
    with pytest.raises(StorageError, match="lost"):
        output.publish()


def test_a_vanished_destination_is_not_called_lost(local: Output, tmp_path: Path) -> None:
    (tmp_path / "out").rename(tmp_path / "unmounted")
    with pytest.raises(StorageError, match="vanished"):
        local.publish()
    with pytest.raises(StorageError, match="vanished"):
        remove_final(local.final, checksum=local.staged.checksum)
    (tmp_path / "unmounted").rename(tmp_path / "out")
    assert local.publish() == "published"


def test_a_temporary_of_another_size_is_refused(output: Output) -> None:
    write(output.temporary, DATA[:-1])
    with pytest.raises(StorageError, match="not what was staged"):
        output.publish()
    assert not exists(output.final)


def test_a_temporary_with_a_flipped_bit_is_refused_when_the_checksum_is_verified(output: Output) -> None:
    write(output.temporary, b"E" + DATA[1:])
    with pytest.raises(StorageError, match="not what was staged"):
        output.publish(verify="checksum")
    assert not exists(output.final)


def test_a_copy_on_remote_storage_is_proved_before_the_temporary_goes(tmp_path: Path) -> None:
    destination = f"memory://{uuid.uuid4().hex}"
    claim(destination, "mine")
    output = Output(destination, tmp_path)
    write(output.temporary, b"E" + DATA[1:])
    with pytest.raises(StorageError, match="did not arrive whole"):
        output.publish()
    assert not exists(output.final) and exists(output.temporary)


def test_remote_storage_is_published_only_by_one_who_promises_to_be_alone(tmp_path: Path) -> None:
    destination = f"memory://{uuid.uuid4().hex}"
    claim(destination, "mine")
    output = Output(destination, tmp_path)
    with pytest.raises(NotAllowed, match="never replaces"):
        output.publish(exclusive=False)
    assert not exists(output.final) and exists(output.temporary)


def test_names_of_different_destinations_do_not_mix(local: Output, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        publish(local.temporary, str(tmp_path / "a.root"), size=1, checksum="adler32:00000001")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_without_hard_links_a_rename_that_never_replaces_publishes(
    local: Output, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    assert local.publish() == "published"
    assert local.publish() == "already"
    assert local.clean()


def test_the_rename_never_replaces(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        rename_without_replacing(str(tmp_path / "a"), str(tmp_path / "b"))
    with pytest.raises(FileNotFoundError):
        rename_without_replacing(str(tmp_path / "nothing"), str(tmp_path / "c"))
    rename_without_replacing(str(tmp_path / "a"), str(tmp_path / "c"))
    assert ((tmp_path / "b").read_text(), (tmp_path / "c").read_text()) == ("b", "a")


def test_a_final_object_is_removed_only_if_it_is_what_was_published(output: Output) -> None:
    output.publish()
    with pytest.raises(PublicationConflict, match="left alone"):
        remove_final(output.final, checksum="adler32:00000001")
    assert content(output.final) == DATA
    assert remove_final(output.final, checksum=output.staged.checksum) is True
    assert remove_final(output.final, checksum=output.staged.checksum) is False


def test_removing_a_final_object_never_touches_what_is_hidden(local: Output) -> None:
    with pytest.raises(UsageError):
        remove_final(local.temporary, checksum=local.staged.checksum)
    assert exists(local.temporary)


@pytest.mark.parametrize("links", [True, False])
def test_a_rival_that_takes_the_name_in_the_last_instant_is_not_replaced(
    local: Output, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    link = os.link

    def late(old: str, new: str) -> None:
        write(new, b"a rival's")
        if not links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        link(old, new)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(PublicationConflict):
        local.publish()
    assert content(local.final) == b"a rival's" and content(local.temporary) == DATA


def test_another_publisher_that_finishes_in_the_last_instant_is_believed(
    local: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(old: str, new: str) -> None:
        monkeypatch.setattr(os, "link", link)
        assert local.publish() == "published"
        link(old, new)

    monkeypatch.setattr(os, "link", late)
    assert local.publish() == "already"
    assert local.clean()
