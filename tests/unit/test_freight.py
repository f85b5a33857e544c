"""Archives on a node: what is unpacked, and that no name leads out of the folder."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bookkeeper.errors import StorageError, UsageError
from bookkeeper.worker import freight
from bookkeeper.worker.job import Item

Member = tuple[str, bytes, str]
"""The type of a member as tar writes it, and its name; what it holds, or leads to."""

FILE, FOLDER, HARD, SOFT, PIPE, DEVICE = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
)


def archive(path: Path, *members: tuple[bytes, str, str], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for kind, name, content in members:
            one = tarfile.TarInfo(name)
            one.type, one.mode = kind, 0o4777
            data = content.encode() if kind == FILE else b""
            one.size, one.linkname = len(data), content if kind in (HARD, SOFT) else ""
            made.addfile(one, io.BytesIO(data))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "private" / "job"
    made.mkdir(parents=True)
    return made


def unpack(path: Path, folder: Path) -> None:
    freight.unpack(path, folder, lambda: None)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_files_folders_and_links_within_are_unpacked(tmp_path: Path, folder: Path, mode: str) -> None:
    members = [
        (FOLDER, "./", ""),
        (FOLDER, "./bin", ""),
        (FILE, "./bin/tool", "one"),
        (FILE, "deep/er/data", "two"),
        (SOFT, "bin/link", "../deep/er/data"),
        (SOFT, "alias", "deep"),
        (HARD, "same", "./bin/tool"),
        (FILE, "bin/tool", "three"),
        (SOFT, "dangles", "deep/nothing"),
    ]
    unpack(archive(tmp_path / "a.tar", *members, mode=mode), folder)
    assert (folder / "bin/tool").read_text() == "three"
    assert (folder / "same").read_text() == "one"
    assert (folder / "bin/link").read_text() == (folder / "alias/er/data").read_text() == "two"
    assert (folder / "bin/tool").stat().st_mode & 0o7777 == 0o755


ESCAPES = {
    "an absolute name": [(FILE, "/tmp/bookkeeper-escaped", "x")],
    "a name that climbs": [(FILE, "a/../../escaped", "x")],
    "a name that climbs and comes back": [(FILE, "../job/x", "x")],
    "a link to an absolute path": [(SOFT, "a", "/etc/passwd")],
    "a link that climbs": [(SOFT, "sub/a", "../../escaped")],
    "a link through a link": [(SOFT, "here", "."), (SOFT, "a", "here/..")],
    "a file below a link": [(SOFT, "a", "sub"), (FILE, "a/x", "x")],
    "a file below a link to itself": [(SOFT, "a", "."), (FILE, "a/x", "x")],
    "a hard link that climbs": [(HARD, "a", "../../escaped")],
    "a hard link to an absolute path": [(HARD, "a", "/etc/passwd")],
    "a hard link to a link": [(SOFT, "l", "x"), (HARD, "a", "l")],
    "a hard link to a folder": [(FOLDER, "d", ""), (HARD, "a", "d")],
    "a pipe": [(PIPE, "a", "")],
    "a device": [(DEVICE, "a", "")],
    "a file in the place of a folder": [(FOLDER, "a", ""), (FILE, "a", "x")],
}


@pytest.mark.parametrize("members", ESCAPES.values(), ids=ESCAPES)
def test_nothing_leaves_the_folder(tmp_path: Path, folder: Path, members: list[tuple[bytes, str, str]]) -> None:
    before = sorted(os.listdir(tmp_path / "private"))
    with pytest.raises(UsageError, match=r"evil\.tar: ") as caught:
        unpack(archive(tmp_path / "evil.tar", *members), folder)
    assert caught.value.remedy
    assert sorted(os.listdir(tmp_path / "private")) == before
    assert not os.path.exists("/tmp/bookkeeper-escaped")


def test_no_link_is_led_out_of_the_folder_by_what_another_archive_brings(tmp_path: Path) -> None:
    first = archive(tmp_path / "evil.tar", (SOFT, "a", "here/.."))
    second = archive(tmp_path / "b.tar", (SOFT, "here", "."))
    items = [Item(str(one), one.stat().st_size, freight.sha256_of(one)) for one in (first, second)]
    job: Any = SimpleNamespace(freight=items)
    with pytest.raises(UsageError, match=r"evil\.tar: a leads out"):
        freight._land(job, tmp_path / "job", lambda: None)


def test_a_file_replaces_a_link_and_does_not_follow_it(tmp_path: Path, folder: Path) -> None:
    unpack(archive(tmp_path / "a.tar", (FILE, "x", "kept"), (SOFT, "a", "x"), (FILE, "a", "mine")), folder)
    assert [(folder / name).read_text() for name in ("x", "a")] == ["kept", "mine"]
    assert not (folder / "a").is_symlink()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00 cut off"], ids=["empty", "text", "gzip"])
def test_what_is_no_archive_is_told(tmp_path: Path, folder: Path, content: bytes) -> None:
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(content)
    with pytest.raises((UsageError, StorageError), match=r"bad\.tar\.gz cannot be unpacked"):
        unpack(path, folder)


def test_an_archive_that_was_cut_is_told(tmp_path: Path, folder: Path) -> None:
    path = archive(tmp_path / "cut.tar.gz", (FILE, "a", "x" * 100_000))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises((UsageError, StorageError), match=r"cut\.tar\.gz cannot be unpacked"):
        unpack(path, folder)


def test_a_worker_that_is_told_to_stop_does_not_go_on_unpacking(tmp_path: Path, folder: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        freight.unpack(archive(tmp_path / "a.tar", (FILE, "a", "x")), folder, stop)
    assert list(folder.iterdir()) == []


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="did not arrive as a file"):
        freight.prove(tmp_path / "pipe", 1, "sha256:0")
