"""Lists of files, in whatever format they come."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import catalog, filelists, files
from bookkeeper.errors import BookkeeperError, NotFound, StorageError, UsageError

RECORDS = [
    {"name": "a.root", "size": 10, "checksum": "adler32:00000001", "metadata": {"run": 1, "kind": "mc"}},
    {"name": "b.root", "size": 20, "locations": ["/data/b.root"], "metadata": {"run": 2, "kind": "mc"}},
]
JSON = json.dumps(RECORDS, indent=1).encode()
JSONL = "".join(json.dumps(record) + "\n\n" for record in RECORDS).encode()
CSV = b"name,size,checksum,location,run,kind\na.root,10,adler32:00000001,,1,mc\nb.root,20,,/data/b.root,2,mc\n"
TSV = CSV.replace(b",", b"\t")


def read(data: bytes, **options: Any) -> list[dict[str, Any]]:
    return list(filelists.read(io.BytesIO(data), **options))


@pytest.mark.parametrize("data", [JSON, JSONL, CSV, TSV], ids=["json", "jsonl", "csv", "tsv"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
def test_every_format_is_told_by_its_looks_and_says_the_same(data: bytes, mark: bytes) -> None:
    found = [{**record, "locations": list(record.get("locations", ()))} for record in read(mark + data)]
    assert found == [{"locations": [], **record} for record in RECORDS]


@pytest.mark.parametrize(
    ("suffix", "data"), [("json", JSON), ("jsonl", JSONL), ("NDJSON", JSONL), ("csv", CSV), ("tsv", TSV)]
)
def test_the_suffix_of_a_path_names_the_format_and_a_catalog_takes_the_list(
    tmp_path: Path, suffix: str, data: bytes
) -> None:
    path = tmp_path / f"list.{suffix}"
    path.write_bytes(data)
    database = catalog.create(f"sqlite:///{tmp_path}/catalog.db")
    assert files.declare(database, filelists.read(path)).new == 2
    assert files.declare(database, filelists.read(str(path))).unchanged == 2
    assert files.get(database, "b.root")["metadata"] == {"run": 2, "kind": "mc"}
    assert files.locations(database, "b.root") == ["/data/b.root"]
    database.close()


def test_a_plain_text_names_files_to_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = b"# good runs\n\n  data/a.root  \n/data/b.root\nroot://eos//c.root\n"
    paths = [str(tmp_path / "data/a.root"), "/data/b.root", "root://eos//c.root"]
    assert [record["path"] for record in read(text)] == paths
    assert read(b"name,size\n", format="names") == [{"path": str(tmp_path / "name,size")}]


def test_locations_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (one,) = read(b'[{"name": "a", "locations": ["x/a", "root://h//a"]}]')
    assert one["locations"] == [str(tmp_path / "x/a"), "root://h//a"]
    (two,) = read(b"name,url,locations,path\na,file:///a,x/a /b,p\n")
    assert two["locations"] == ("file:///a", str(tmp_path / "x/a"), "/b")
    assert two["path"] == str(tmp_path / "p")


def test_columns_of_metadata_have_one_kind_each() -> None:
    table = b"name,whole,number,id,flag,mixed,none,text\na,1,1,007,true,1,,1e999\nb,-2,2.5e3,8,FALSE,x,,2\nc,,,,,,,\n"
    assert [record.get("metadata") for record in read(table)] == [
        {"whole": 1, "number": 1.0, "id": "007", "flag": True, "mixed": "1", "text": "1e999"},
        {"whole": -2, "number": 2500.0, "id": "8", "flag": False, "mixed": "x", "text": "2"},
        None,
    ]


def test_cells_may_hold_separators_quotes_and_trees() -> None:
    table = b'name,trees,note\n"a,b.root","{""events"": 5}","say ""x""\nand y"\n'
    (record,) = read(table)
    assert record == {"name": "a,b.root", "trees": {"events": 5}, "metadata": {"note": 'say "x"\nand y'}}


def test_an_array_is_read_as_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookkeeper.filelists.jsonlist._BLOCK", 7)
    assert read(JSON) == [{**record} for record in RECORDS]
    assert read(b" [ ] ") == []
    assert read(b'{"name": "only", \n "size": 1}', format="json") == [{"name": "only", "size": 1}]


def test_standard_input_is_a_list() -> None:
    code = "from bookkeeper import filelists; print(*(record['name'] for record in filelists.read('-')))"
    done = subprocess.run([sys.executable, "-c", code], input=CSV, capture_output=True, check=True)
    assert done.stdout == b"a.root b.root\n"


def test_an_empty_list_is_empty() -> None:
    assert read(b"") == []


def test_a_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(CSV,))
    writer.start()
    assert [record["name"] for record in filelists.read(pipe)] == ["a.root", "b.root"]
    writer.join()


def test_names_are_lines_or_the_names_of_records() -> None:
    assert list(filelists.names(io.BytesIO(b"# mine\na.root\n\nb.root\n"))) == ["a.root", "b.root"]
    for data in (JSON, JSONL, CSV):
        assert list(filelists.names(io.BytesIO(data))) == ["a.root", "b.root"]
    with pytest.raises(UsageError, match="record 1: there is no name"):
        list(filelists.names(io.BytesIO(b'[{"size": 1}]')))


WRONG = [
    (b'[{"name": "a"} {"name": "b"}]', {}, "after record 1: expected a comma or ]"),
    (b'[{"name": "a"},', {}, "record 2: expected an object"),
    (b"[1]", {}, "record 1: expected an object"),
    (b'[{"name":', {}, "record 1: this is no JSON"),
    (b'[{"name": "a"}] x', {}, "something follows after the end"),
    (b'[{"size": NaN}]', {}, "NaN is no number"),
    (b'[{"a": ' + b"[" * 100_000, {}, "record 1"),
    (b"\xff", {"format": "json"}, "this is not UTF-8"),
    (b"3", {"format": "json"}, "this is no JSON array"),
    (b'{"name": "a"}\n{"name"\n', {}, "line 2: this is no JSON"),
    (b'{"name": "a"}\n3\n', {}, "line 2: expected an object, found 3"),
    (b"[" * 100_000, {"format": "jsonl"}, "line 1"),
    (b"name,size\na,1kB\n", {}, "record 1: size is '1kB'"),
    (b"name,entries\na,1\nb,-1\n", {}, "record 2: entries is '-1'"),
    (b"name,size\na,1,2\n", {}, "record 1: it has more values than the header"),
    (b"name,size,size\na,1,2\n", {}, "the column 'size' twice"),
    (b"name,size,\na,1,2\n", {}, "an empty column"),
    (b"name,trees\na,x\n", {}, "record 1: trees is 'x'"),
    (b"name,size\n\xff,1\n", {}, "this is not UTF-8"),
    (b"name,size\n" + b"x" * 200_000 + b",1\n", {}, "record 1: this is no CSV (field larger"),
    (b"size\n1\n", {"format": "csv"}, "no column `name` or `path`"),
    (b"", {"format": "csv"}, "no column `name` or `path`"),
    (b"a\n\xff\n", {}, "line 2: this is not UTF-8"),
    (b"x" * (17 << 20), {}, "line 1: the line is longer"),
    (b"", {"format": "xml"}, "'xml' is no format of a list"),
]


@pytest.mark.parametrize(("data", "options", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_a_wrong_list_is_told_by_place_and_fault(data: bytes, options: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(data, **options)
    assert said in str(caught.value)


def test_a_list_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no list"):
        list(filelists.read(tmp_path / "none.csv"))
    with pytest.raises(UsageError, match="is a folder"):
        list(filelists.read(tmp_path))
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(BookkeeperError):
            list(filelists.read(name))


@pytest.mark.skipif(os.geteuid() == 0, reason="privilege: root reads everything")
@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "txt", "x"])
def test_a_list_without_permission(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"list.{suffix}"
    path.touch(mode=0)
    with pytest.raises(StorageError, match="cannot be read"):
        list(filelists.read(path))
