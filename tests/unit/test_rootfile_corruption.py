"""Broken ROOT files are refused, by a `ValidationError` and nothing else; whole ones are not."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bookkeeper.errors import ValidationError
from bookkeeper.rootfile import RootFile, blocks, open_root, open_source
from bookkeeper.rootfile.ttree import tree_of
from bookkeeper.rootfile.walk import Records, walk
from bookkeeper.validation import validate
from rootfiles import CODECS, make_large, make_small, real_entries, root_files

WHOLE = {"events": 1500, "inner/deeper/more": 100, "columns": 505}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small whole file in each compression."""
    folder = tmp_path_factory.mktemp("whole")
    paths = {codec: folder / f"{codec}.root" for codec in CODECS}
    for codec, path in paths.items():
        make_small(path, codec)
    return paths


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write bytes as a ROOT file."""

    def write(data: bytes) -> Path:
        path = tmp_path / "broken.root"
        path.write_bytes(data)
        return path

    return write


def _keys(path: Path) -> Iterator[tuple[int, int, int]]:
    """Start of each record, and offset and length of a basket's payload (0 for others)."""
    source = open_source(path)
    root, records = RootFile(source), Records()
    for payload in walk(root, records):
        basket = payload.thing.startswith("basket")
        yield records._starts[-1], payload.offset, payload.nbytes if basket and payload.nbytes < payload.size else 0
    source.close()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("level", ["quick", "deep"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_whole_file_is_valid(codec: str, level: str, threads: int, small: dict[str, Path]) -> None:
    assert validate(small[codec], level, threads=threads) == WHOLE


@pytest.mark.parametrize("path", root_files(), ids=lambda path: path.name)
def test_real_files_are_valid(path: Path) -> None:
    assert validate(path) == validate(path, "quick") == real_entries(path)


@pytest.mark.parametrize("codec", CODECS)
def test_a_truncated_file_is_refused(codec: str, small: dict[str, Path], broken: Callable[[bytes], Path]) -> None:
    data = small[codec].read_bytes()
    for size in [*random.Random(1).sample(range(len(data)), 200), 0, 1, len(data) - 1]:
        for level in ("quick", "deep"):
            with pytest.raises(ValidationError, match=r"broken\.root"):
                validate(broken(data[:size]), level)


@pytest.mark.parametrize("more", [b"\0", b"garbage", bytes(5000)])
def test_anything_after_the_end_is_refused(
    more: bytes, small: dict[str, Path], broken: Callable[[bytes], Path]
) -> None:
    for level in ("quick", "deep"):
        with pytest.raises(ValidationError, match="follow the end"):
            validate(broken(small["zlib"].read_bytes() + more), level)


@pytest.mark.parametrize("codec", CODECS)
def test_a_flipped_byte_in_the_head_of_a_record_is_refused(
    codec: str, small: dict[str, Path], broken: Callable[[bytes], Path]
) -> None:
    """Every bit of size, version, length of the content, length of the key and place, and of the class's length."""
    data = small[codec].read_bytes()
    dice = random.Random(2)
    for start, _, _ in _keys(small[codec]):
        width = 8 if struct.unpack_from(">h", data, start + 4)[0] > 1000 else 4
        provable = [*range(6), *range(6, 10), 14, 15, *range(18, 18 + width), 18 + 2 * width]
        for place in dice.sample(provable, 4):
            flipped = bytearray(data)
            flipped[start + place] ^= 1 << dice.randrange(8)
            with pytest.raises(ValidationError):
                validate(broken(flipped))


def test_a_directory_that_lists_another_head_than_the_record_has_is_refused(
    small: dict[str, Path], broken: Callable[[bytes], Path]
) -> None:
    data = small["zlib"].read_bytes()
    with open_root(small["zlib"]) as root:
        keys = [key for _, key in root.listing()]
    assert len(keys) >= 5
    for key in keys:
        head = data[key.seek : key.seek + 18]
        listed = data.index(head, key.seek + 18) if head in data[key.seek + 18 :] else data.index(head)
        assert listed != key.seek
        for place in (3, 9, 17):  # size, size of the content, cycle
            flipped = bytearray(data)
            flipped[listed + place] ^= 1
            with pytest.raises(ValidationError):
                validate(broken(flipped))


@pytest.mark.parametrize("codec", ["zlib", "lzma", "lz4"])
def test_a_flipped_bit_in_a_checked_basket_is_refused(
    codec: str, small: dict[str, Path], broken: Callable[[bytes], Path]
) -> None:
    data = small[codec].read_bytes()
    baskets = [(offset, length) for _, offset, length in _keys(small[codec]) if length]
    assert len(baskets) >= 10
    dice = random.Random(3)
    for offset, length in baskets * 5:
        place = offset + dice.randrange(9, length)
        flipped = bytearray(data)
        flipped[place] ^= 1 << dice.randrange(8)
        path = broken(flipped)
        try:
            validate(path)
        except ValidationError as error:
            assert "basket of" in error.message
        else:  # the last bits of a deflate stream only fill its byte
            assert _content(path, offset, length) == _content(small[codec], offset, length)


def _content(path: Path, offset: int, length: int) -> bytes:
    """What the block at ``offset`` decompresses to."""
    source = open_source(path)
    size = int.from_bytes(source.read(offset + 6, 3), "little")
    data = blocks.load(source, offset, length, size, "block")
    source.close()
    return data


def test_what_a_flipped_bit_can_hide_in_is_said(small: dict[str, Path]) -> None:
    assert any("ZSTD" in words for words in validate(small["zstd"]).unproved)
    assert any("not compressed" in words for words in validate(small["none"]).unproved)
    assert not any("ZSTD" in words for words in validate(small["zlib"]).unproved)


@pytest.mark.parametrize("path", [path for path in root_files() if "rntuple" in path.name], ids=lambda path: path.name)
def test_a_flipped_bit_in_a_page_with_a_checksum_is_refused(path: Path, broken: Callable[[bytes], Path]) -> None:
    data = path.read_bytes()
    for place in range(860, 17_000, 397):  # the cluster's pages lie from byte 843 on
        flipped = bytearray(data)
        flipped[place] ^= 4
        with pytest.raises(ValidationError, match="column"):
            validate(broken(flipped))


def _claiming(path: Path, entries: int) -> bytes:
    """The bytes of a small file whose uncompressed tree claims as many entries."""
    data = bytearray(path.read_bytes())
    with open_root(path) as root:
        key = root.newest()["events"]
        tree = tree_of(root.source, key, "events")
    number = struct.pack(">q", tree.entries)
    place = data.index(number, key.seek)
    while 0 <= place < key.seek + key.nbytes:  # the tree's own count, and each branch's
        data[place : place + 8] = struct.pack(">q", entries)
        place = data.index(number, place + 8) if number in data[place + 8 :] else -1
    return bytes(data)


def test_a_tiny_file_that_claims_much_is_refused_in_little_memory(
    broken: Callable[[bytes], Path], tmp_path: Path
) -> None:
    """Two kilobytes, a hundred million entries: refused, and no memory is taken for them."""
    import uproot

    with uproot.recreate(tmp_path / "tiny.root", compression=None) as file:
        file.mktree("events", {"x": "float64"}).extend({"x": [1.0] * 7})
    path = broken(_claiming(tmp_path / "tiny.root", 100_000_000))
    assert validate(path, "quick") == {"events": 100_000_000}, "the claim is there"
    code = """
import resource, sys
from bookkeeper.errors import ValidationError
from bookkeeper.validation import validate
import cramjam, xxhash
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    validate(sys.argv[1])
except ValidationError as error:
    unit = 1 if sys.platform == "darwin" else 1024
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit, error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    grown, message = done.stdout.split(maxsplit=1)
    assert "entries" in message
    assert int(grown) < 20_000_000


@pytest.mark.slow
def test_a_large_file_is_proved_in_bounded_memory(tmp_path: Path) -> None:
    make_large(tmp_path / "large.root", "zlib", 60)
    code = """
import resource, sys
from bookkeeper.validation import validate
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
validate(sys.argv[1], threads=2)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024))
"""
    words = [sys.executable, "-c", code, str(tmp_path / "large.root")]
    assert int(subprocess.run(words, capture_output=True, text=True, check=True).stdout) < 40_000_000


@pytest.mark.parametrize("number", [0, 1, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_number_of_the_file_header_may_be_anything(
    number: int, small: dict[str, Path], broken: Callable[[bytes], Path]
) -> None:
    """Refused where something depends on it; never anything but a `ValidationError`."""
    for place in range(4, 60):
        data = bytearray(small["lz4"].read_bytes())
        data[place : place + 4] = struct.pack(">I", number)
        for level in ("quick", "deep"):
            _valid_or_refused(broken(bytes(data)), level)


def _valid_or_refused(path: Path, level: str) -> None:
    try:
        validate(path, level)
    except ValidationError as error:
        assert str(path) in error.message


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codec=st.sampled_from(CODECS), changes=CHANGES, kept=st.floats(0, 1))
@example(codec="zlib", changes=[], kept=1.0)
def test_random_bytes_never_raise_anything_else(
    codec: str, changes: list[tuple[float, bytes]], kept: float, small: dict[str, Path], broken: Callable[[bytes], Path]
) -> None:
    data = bytearray(small[codec].read_bytes())
    for place, patch in changes:
        start = int(place * len(data))
        data[start : start + len(patch)] = patch
    if kept < 0.1:
        del data[int(kept * 10 * len(data)) :]
    for level in ("quick", "deep"):
        _valid_or_refused(broken(bytes(data)), level)
