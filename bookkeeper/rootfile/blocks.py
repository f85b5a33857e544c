"""ROOT's compressed blocks: nine bytes of header, then at most 16 MiB by one of five methods.

Source of the format: ROOT, ``core/zip/src/RZip.cxx``. The header holds two letters, a method byte, and two
little-endian 24-bit sizes, compressed and not. ``ZL`` is zlib (Adler-32 inside), ``XZ`` is xz (CRC inside), ``L4``
starts with the big-endian XXH64 of what follows, ``ZS`` is zstd without a content checksum, ``CS`` is bare deflate
from before 2002.

What a block claims is never believed: it is decompressed into room for exactly the claimed size, at most 16 MiB,
and anything longer or shorter is a fault.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from bookkeeper.rootfile.source import Fault, Source

LARGEST_OBJECT = 1 << 28
"""An object that must be held whole (a tree's description, a page list) may have this many bytes."""

_HEADER = 9
_AT_ONCE = 1 << 22
_XZ_MEMORY = 1 << 28
_rooms = threading.local()


def _room(size: int) -> memoryview:
    """Return this thread's scratch room of ``size`` bytes, kept between blocks."""
    room: bytearray | None = getattr(_rooms, "room", None)
    if room is None or len(room) < size:
        room = _rooms.room = bytearray(size)
    return memoryview(room)[:size]


def _ended(stream: Any, data: bytes, size: int) -> bytes:
    """Return ``data``, if it filled ``size`` bytes and the stream, with its checksum, ends there too."""
    if len(data) == size and not stream.eof:  # the checksum may be left over once the room is full
        data += stream.decompress(getattr(stream, "unconsumed_tail", b""), 1)
    if not stream.eof or stream.unused_data:
        raise ValueError("the stream does not end where the block does")
    return data


@cache
def _isal() -> Any:
    """Return Intel's zlib where it is installed: it is 1.5 times as fast as the next."""
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib


def _zlib(body: memoryview, size: int) -> memoryview | bytes:
    if isal := _isal():
        stream = isal.decompressobj()
        return _ended(stream, stream.decompress(body, size + 1), size)
    import cramjam

    room = _room(size)
    return room[: cramjam.zlib.decompress_into(body, room)]


def _deflate(body: memoryview, size: int) -> memoryview | bytes:
    import zlib

    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    return _ended(stream, stream.decompress(body, size + 1), size)


def _xz(body: memoryview, size: int) -> memoryview | bytes:
    import lzma

    stream = lzma.LZMADecompressor(format=lzma.FORMAT_AUTO, memlimit=_XZ_MEMORY)
    return _ended(stream, stream.decompress(body, size + 1), size)


def _lz4(body: memoryview, size: int) -> memoryview | bytes:
    import cramjam
    import xxhash

    if xxhash.xxh64_digest(body[8:]) != bytes(body[:8]):
        raise ValueError("its XXH64 checksum does not match")
    room = _room(size)
    return room[: cramjam.lz4.decompress_block_into(body[8:], room, output_len=size)]


def _zstd(body: memoryview, size: int) -> memoryview | bytes:
    import cramjam

    room = _room(size)
    return room[: cramjam.zstd.decompress_into(body, room)]


_DECODERS: dict[bytes, tuple[str, Callable[[memoryview, int], memoryview | bytes]]] = {
    b"ZL": ("zlib", _zlib),
    b"XZ": ("xz", _xz),
    b"L4": ("lz4", _lz4),
    b"ZS": ("zstd", _zstd),
    b"CS": ("deflate", _deflate),
}


def _decode(letters: bytes, body: memoryview, size: int, thing: str) -> memoryview | bytes:
    """Return the ``size`` bytes of one block; valid until this thread decodes the next."""
    if letters not in _DECODERS:
        raise Fault(thing, f"a block starts with {letters!r}, which is no compression of ROOT's")
    name, decoder = _DECODERS[letters]
    try:
        data = decoder(body, size)
    except Exception as error:  # four libraries, each with errors of its own
        raise Fault(thing, f"a {name} block does not decompress: {str(error) or type(error).__name__}") from error
    if len(data) != size:
        raise Fault(thing, f"a {name} block of {size} bytes decompresses to {len(data)}")
    return data


def _pieces(source: Source, offset: int, length: int, thing: str) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield letters, compressed body and claimed size of each block; at most 16 MiB is held."""
    whole = memoryview(source.read(offset, length)) if length <= _AT_ONCE else None

    def part(start: int, count: int) -> memoryview:
        if whole is not None:
            return whole[start : start + count]
        return memoryview(source.read(offset + start, count))

    position = 0
    while position < length:
        if length - position <= _HEADER:
            raise Fault(thing, f"{length - position} bytes are left where a compressed block should start")
        header = part(position, _HEADER)
        count = int.from_bytes(header[3:6], "little")
        size = int.from_bytes(header[6:9], "little")
        position += _HEADER
        if position + count > length:
            raise Fault(thing, f"a block claims {count} compressed bytes, {length - position} are there")
        yield bytes(header[:2]), part(position, count), size
        position += count


def decoded(source: Source, offset: int, length: int, size: int, thing: str) -> Iterator[memoryview | bytes]:
    """Yield the ``size`` bytes that ``length`` bytes at ``offset`` hold, a block (at most 16 MiB) at a time.

    Equal numbers mean that they are not compressed. Each piece is valid until the next is asked for.
    """
    if length == size:
        for start in range(0, length, _AT_ONCE):
            yield source.read(offset + start, min(_AT_ONCE, length - start))
        return
    left = size
    for letters, body, claim in _pieces(source, offset, length, thing):
        if claim > left:
            raise Fault(thing, f"its blocks claim more than the {size} bytes that it claims")
        yield _decode(letters, body, claim, thing)
        left -= claim
    if left:
        raise Fault(thing, f"its blocks hold {size - left} bytes, it claims {size}")


def prove(source: Source, offset: int, length: int, size: int, thing: str) -> str:
    """Decompress everything and keep nothing; return the method, ``none`` where nothing is compressed."""
    for _ in decoded(source, offset, length, size, thing):
        pass
    return "none" if length == size else method(source, offset)


def method(source: Source, offset: int) -> str:
    """Return the name of the compression whose block starts at ``offset``."""
    letters = source.read(offset, 2)
    return _DECODERS[letters][0] if letters in _DECODERS else "none"


def load(source: Source, offset: int, length: int, size: int, thing: str) -> bytes:
    """Return an object of ``size`` bytes whole; `Fault` above `LARGEST_OBJECT`."""
    if size > LARGEST_OBJECT:
        raise Fault(thing, f"it claims {size} bytes, more than the {LARGEST_OBJECT} that its kind may have")
    return b"".join(bytes(piece) for piece in decoded(source, offset, length, size, thing))


def head(source: Source, offset: int, length: int, size: int, count: int, thing: str) -> bytes:
    """Return at least the first ``count`` bytes of an object, or all, decompressing no more than needed."""
    if length == size:
        return source.read(offset, min(count, length))
    header = source.read(offset, min(_HEADER, length))
    if header[:2] != b"ZL":
        return bytes(next(decoded(source, offset, length, size, thing)))
    import zlib

    body = source.read(offset + _HEADER, min(length - _HEADER, 2 * count))
    try:
        return zlib.decompressobj().decompress(body, count)
    except zlib.error as error:
        raise Fault(thing, f"a zlib block does not decompress: {error}") from error
