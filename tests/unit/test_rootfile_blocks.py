"""Compressed blocks: each method decompresses, and nothing that a block claims is believed."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

import cramjam
import pytest
import xxhash

from bookkeeper.rootfile import Fault, Source, blocks, open_source

CONTENT = bytes(range(256)) * 40


def _header(letters: bytes, body: bytes, size: int) -> bytes:
    return letters + b"\x08" + len(body).to_bytes(3, "little") + size.to_bytes(3, "little")


def _lz4(data: bytes) -> bytes:
    body = bytes(cramjam.lz4.compress_block(data, store_size=False))
    return xxhash.xxh64_digest(body) + body


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK = {
    b"ZL": zlib.compress,
    b"XZ": lzma.compress,
    b"L4": _lz4,
    b"ZS": lambda data: bytes(cramjam.zstd.compress(data)),
    b"CS": _deflate,
}


@pytest.fixture
def written(tmp_path: Path):
    """Write bytes to a file and open it as a source."""
    sources = []

    def write(data: bytes) -> Source:
        path = tmp_path / f"blocks-{len(sources)}"
        path.write_bytes(data)
        sources.append(open_source(path))
        return sources[-1]

    yield write
    for source in sources:
        source.close()


@pytest.mark.parametrize("letters", PACK)
def test_blocks_of_every_method_are_joined(letters: bytes, written) -> None:
    body = PACK[letters](CONTENT)
    data = (_header(letters, body, len(CONTENT)) + body) * 2
    assert blocks.load(written(data), 0, len(data), 2 * len(CONTENT), "object") == CONTENT * 2


@pytest.mark.parametrize("letters", PACK)
@pytest.mark.parametrize("claimed", [len(CONTENT) - 1, len(CONTENT) + 1, 0, (1 << 24) - 1])
def test_a_block_of_another_size_than_claimed_is_a_fault(letters: bytes, claimed: int, written) -> None:
    body = PACK[letters](CONTENT)
    data = _header(letters, body, claimed) + body
    with pytest.raises(Fault):
        blocks.load(written(data), 0, len(data), claimed, "object")


@pytest.mark.parametrize("letters", [b"ZL", b"XZ", b"L4"])
def test_every_flipped_byte_of_a_checked_block_is_seen(letters: bytes, written) -> None:
    body = PACK[letters](CONTENT)
    for place in range(0, len(body), max(1, len(body) // 97)):
        flipped = bytearray(body)
        flipped[place] ^= 0x10
        data = _header(letters, body, len(CONTENT)) + flipped
        with pytest.raises(Fault):
            blocks.prove(written(data), 0, len(data), len(CONTENT), "object")


def test_an_object_that_claims_too_much_is_refused_before_it_is_read(written) -> None:
    source = written(b"ZL" + bytes(100))
    with pytest.raises(Fault, match="more than the"):
        blocks.load(source, 0, 102, blocks.LARGEST_OBJECT + 1, "object")


@pytest.mark.parametrize(
    ("data", "size", "words"),
    [
        (b"??" + bytes(50), 100, "no compression of ROOT's"),
        (b"ZL\x08\xff\xff\xff" + bytes(50), 100, "compressed bytes"),
        (b"ZL", 100, "are left where a compressed block should start"),
        (_header(b"ZL", zlib.compress(b"ab"), 2) + zlib.compress(b"ab"), 100, "hold 2 bytes, it claims 100"),
        (_header(b"ZL", zlib.compress(b"ab"), 2) + zlib.compress(b"ab"), 1, "claim more than the 1 bytes"),
    ],
)
def test_a_broken_block_is_named(data: bytes, size: int, words: str, written) -> None:
    with pytest.raises(Fault, match=words):
        blocks.prove(written(data), 0, len(data), size, "object")


def test_the_head_of_an_object_is_the_beginning_of_the_whole(written) -> None:
    for letters, pack in PACK.items():
        body = pack(CONTENT)
        data = _header(letters, body, len(CONTENT)) + body
        head = blocks.head(written(data), 0, len(data), len(CONTENT), 100, "object")
        assert head[:100] == CONTENT[:100]


def test_zlib_is_judged_the_same_without_isal(written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_isal", lambda: None)
    body = zlib.compress(CONTENT)
    data = _header(b"ZL", body, len(CONTENT)) + body
    assert blocks.load(written(data), 0, len(data), len(CONTENT), "object") == CONTENT
    for claimed, place in [(len(CONTENT) - 1, 0), (len(CONTENT) + 1, 0), (len(CONTENT), -1), (len(CONTENT), -20)]:
        broken = bytearray(_header(b"ZL", body, claimed) + body)
        if place:
            broken[place] ^= 0x10
        with pytest.raises(Fault, match="zlib block"):
            blocks.prove(written(bytes(broken)), 0, len(broken), claimed, "object")
