"""Packed formats, unpacked to their end without keeping anything. Each function raises what its library raises."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import math
import tarfile
import zipfile
from collections.abc import Callable
from typing import IO

from bookkeeper.rootfile.source import Fault

_CHUNK = 1 << 20


def unpack(kind: str, read: Callable[[IO[bytes]], None], stream: IO[bytes]) -> None:
    """Read ``stream`` to its end by ``read``; `Fault` with the words of whichever library refuses it."""
    try:
        read(stream)
    except Fault:
        raise
    except Exception as error:  # a dozen libraries and versions, each with errors of its own
        raise Fault(kind, f"it cannot be unpacked: {str(error) or type(error).__name__}") from error


def drain(stream: IO[bytes]) -> int:
    """Read to the end; return the number of bytes."""
    total = 0
    while chunk := stream.read(_CHUNK):
        total += len(chunk)
    return total


def gzip_(stream: IO[bytes]) -> None:
    """RFC 1952: CRC and length follow the content."""
    with gzip.GzipFile(fileobj=stream) as unpacked:
        drain(unpacked)  # type: ignore[arg-type]


def bzip2(stream: IO[bytes]) -> None:
    """Each block and the whole carry a CRC."""
    with bz2.BZ2File(stream) as unpacked:
        drain(unpacked)


def xz(stream: IO[bytes]) -> None:
    """The content carries a CRC, the index the sizes."""
    with lzma.LZMAFile(stream) as unpacked:
        drain(unpacked)


def zip_(stream: IO[bytes]) -> None:
    """APPNOTE.TXT: each member carries a CRC."""
    with zipfile.ZipFile(stream) as archive:
        if broken := archive.testzip():
            raise Fault(broken, "its checksum does not match")


def npz(stream: IO[bytes]) -> None:
    """A zip archive of arrays."""
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            with archive.open(member) as array:
                npy(array)


def tar(stream: IO[bytes]) -> None:
    """POSIX pax: two empty blocks of 512 bytes end the archive, compressed or not."""
    with tarfile.open(fileobj=stream, mode="r:*") as archive:
        for member in archive:
            if member.isfile() and (content := archive.extractfile(member)):
                read = drain(content)
                if read != member.size and not member.issparse():
                    raise Fault(member.name, f"{read} of {member.size} bytes are there")
        unpacked: IO[bytes] = archive.fileobj  # type: ignore[assignment]
        unpacked.seek(archive.offset)
        rest = unpacked.read(1024)
        if len(rest) < 1024 or rest.strip(b"\0"):
            raise Fault("tar archive", "its end is missing")
        drain(unpacked)


def tar_head(stream: IO[bytes]) -> None:
    """Read the first member's head."""
    with tarfile.open(fileobj=stream, mode="r:*") as archive:
        archive.next()


def npy(stream: IO[bytes]) -> None:
    """NEP 1: the header says type and shape, so how many bytes must follow."""
    from numpy.lib import format as numpy_format

    version = numpy_format.read_magic(stream)
    read_header = numpy_format.read_array_header_1_0 if version == (1, 0) else numpy_format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:  # pickled: the size does not follow from the type, and unpickling would run code
        drain(stream)
        return
    expected = math.prod(shape) * dtype.itemsize
    found = drain(stream)
    if found != expected:
        raise Fault("NumPy array", f"{found} of {expected} bytes are there")


def parquet(stream: IO[bytes]) -> None:
    """Read by pyarrow, a batch at a time."""
    reader = importlib.import_module("pyarrow.parquet")  # no dependency of ours: used where it is installed
    for _ in reader.ParquetFile(stream).iter_batches():
        pass
