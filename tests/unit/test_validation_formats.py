"""Other formats: whole ones are valid, broken ones are refused, and a name never contradicts its content."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable

import numpy
import pytest

from bookkeeper.errors import ValidationError
from bookkeeper.validation import validate

TEXT = "".join(f"{number},{number * number % 977}\n" for number in range(3000)).encode()


def _npy() -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, numpy.arange(1000.0).reshape(10, 100))
    return stream.getvalue()


def _npz() -> bytes:
    stream = io.BytesIO()
    numpy.savez_compressed(stream, a=numpy.arange(1000), b=numpy.ones(5))
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    return stream.getvalue()


def _tar(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name in ("a.csv", "b.csv"):
            member = tarfile.TarInfo(name)
            member.size = len(TEXT)
            archive.addfile(member, io.BytesIO(TEXT))
    return stream.getvalue()


def _hdf5() -> bytes:
    head = b"\x89HDF\r\n\x1a\n" + bytes([2, 8, 8, 0]) + struct.pack("<QQQQ", 0, 2**64 - 1, 4096, 48)
    return head.ljust(4096, b"\0")


def _parquet() -> bytes:
    return b"PAR1" + bytes(400) + struct.pack("<I", 300) + b"PAR1"


WHOLE: dict[str, Callable[[], bytes]] = {
    "a.json": lambda: json.dumps({"counts": list(range(1000))}).encode(),
    "a.jsonl": lambda: b'{"a": 1}\n' * 300,
    "a.csv": lambda: TEXT,
    "a.csv.gz": lambda: gzip.compress(TEXT),
    "a.bz2": lambda: bz2.compress(TEXT),
    "a.xz": lambda: lzma.compress(TEXT),
    "a.zip": _zip,
    "a.tar": lambda: _tar("w"),
    "a.tar.gz": lambda: _tar("w:gz"),
    "a.tgz": lambda: _tar("w:gz"),
    "a.npy": _npy,
    "a.npz": _npz,
    "a.h5": _hdf5,
    "a.hdf5": _hdf5,
}
UNDETECTED = {"a.csv", "a.jsonl"}  # no text says how long it should be


@pytest.mark.parametrize("level", ["quick", "deep"])
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_valid(name: str, level: str, tmp_path) -> None:
    (tmp_path / name).write_bytes(WHOLE[name]())
    found = validate(tmp_path / name, level)
    assert len(found) == 0
    assert found.checks or found.unproved


@pytest.mark.parametrize("name", sorted(set(WHOLE) - UNDETECTED))
def test_a_truncated_file_is_refused(name: str, tmp_path) -> None:
    data = WHOLE[name]()
    for kept in (len(data) // 3, len(data) // 2, len(data) - 600, len(data) - 1):
        if kept <= 0 or (name == "a.tar" and kept > len(data) - 8192):
            continue  # a tar archive is filled up with zeros behind its end
        (tmp_path / name).write_bytes(data[:kept])
        with pytest.raises(ValidationError, match=name):
            validate(tmp_path / name)


@pytest.mark.parametrize("level", ["quick", "deep"])
@pytest.mark.parametrize("name", [*WHOLE, "a.parquet"])
def test_a_page_of_html_under_another_name_is_refused(name: str, level: str, tmp_path) -> None:
    (tmp_path / name).write_text("<html><title>404 Not Found</title></html>\n" * 30)
    with pytest.raises(ValidationError, match=name):
        validate(tmp_path / name, level)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.bz2", "a.xz", "a.zip", "a.npz"])
def test_a_flipped_bit_is_refused(name: str, tmp_path) -> None:
    data = bytearray(WHOLE[name]())
    data[len(data) // 2] ^= 8
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValidationError, match=name):
        validate(tmp_path / name)


def test_text_with_nul_bytes_is_refused(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT + bytes(4096))
    with pytest.raises(ValidationError, match="NUL"):
        validate(tmp_path / "a.csv")


def test_a_line_that_is_no_json_is_named(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": \n')
    with pytest.raises(ValidationError, match="line 2"):
        validate(tmp_path / "a.jsonl")


def test_parquet_is_judged_by_both_ends(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(_parquet())
    assert any("row groups" in words for words in validate(path, "quick").unproved)
    for data in (_parquet()[:-1], b"PAR1PAR1", b"PAR1" + bytes(20) + struct.pack("<I", 300) + b"PAR1"):
        path.write_bytes(data)
        with pytest.raises(ValidationError, match="truncated"):
            validate(path, "quick")


@pytest.mark.parametrize("name", ["a.txt", "a.log", "a.dat", "a"])
def test_an_unknown_format_is_accepted_and_said_to_prove_little(name: str, tmp_path) -> None:
    (tmp_path / name).write_bytes(b"root\0anything")
    assert any("not known" in words for words in validate(tmp_path / name).unproved)
