"""Where outputs go and what they may be called."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeper.errors import UsageError
from bookkeeper.stageout import final_url, parse_temporary, resolve, temporary_url
from bookkeeper.stageout.names import TemporaryName, check_name, join, parent

ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,254}", re.ASCII)
names = st.from_regex(ALLOWED, fullmatch=True)


@given(st.text())
def test_a_name_is_accepted_exactly_if_it_is_plain(text: str) -> None:
    if ALLOWED.fullmatch(text):
        assert check_name(text) == text
    else:
        with pytest.raises(UsageError):
            check_name(text)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".bookkeeper", "-rf", "a/b", "../a", "a b", "a\n", "a\0", "é", "٣", "a" * 256, "a\\b", "a?b"],
)
def test_a_name_that_could_leave_or_confuse_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        final_url("/out", name)
    assert raised.value.remedy


@pytest.mark.parametrize("folder", ["/out/.bookkeeper", "/out/.bookkeeper/x", "memory://.bookkeeper/"])
def test_nothing_is_published_where_uploads_wait(folder: str) -> None:
    with pytest.raises(UsageError, match="no destination"):
        final_url(folder, "a.root")


@given(name=names, destination=st.sampled_from(["/out", "/", "out", "memory://out", "memory://", "s3://bucket/a/b/"]))
def test_an_object_lies_directly_in_its_destination(name: str, destination: str) -> None:
    url = final_url(destination, name)
    assert parent(url) == resolve(destination)
    assert url.rpartition("/")[2] == name


@given(
    destination=st.sampled_from(["/out", "/", "/a/../b", "memory://out", "memory://", "s3://bucket/a/b/"]),
    process=st.integers(0, 10**12),
    nonce=st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,60}", re.ASCII), fullmatch=True),
    n=st.integers(0, 10**6),
    name=names,
)
def test_a_temporary_name_tells_its_parts(destination: str, process: int, nonce: str, n: int, name: str) -> None:
    url = temporary_url(destination, process, nonce, n, name)
    assert parse_temporary(url) == TemporaryName(resolve(destination), process, nonce, n, name)
    assert url.endswith(f"/.bookkeeper/{process}-{nonce}-{n}/{name}")


@pytest.mark.parametrize(
    ("process", "nonce", "n"), [(-1, "a", 0), (1, "a", -1), (1, "", 0), (1, "../x", 0), (1, "a/b", 0)]
)
def test_a_temporary_name_of_bad_parts_is_refused(process: int, nonce: str, n: int) -> None:
    with pytest.raises(UsageError):
        temporary_url("/out", process, nonce, n, "a.root")


@pytest.mark.parametrize(
    "url",
    [
        "/out/a.root",
        "/out/.bookkeeper/claim",
        "/out/.bookkeeper/1-a-0",
        "/out/.bookkeeper/x/a.root",
        "/out/x/1-a-0/a.root",
    ],
)
def test_what_is_no_temporary_is_never_taken_for_one(url: str) -> None:
    with pytest.raises(UsageError):
        parse_temporary(url)


def test_local_destinations_become_plain_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("out/") == os.path.join(os.getcwd(), "out")
    assert resolve(Path("out")) == resolve("out")
    assert resolve("file:///a/b/") == "/a/b"
    assert resolve("local:///a%20b") == "/a%20b"
    assert resolve("a::b") == os.path.join(os.getcwd(), "a::b")


def test_a_destination_behind_a_link_keeps_the_name_that_the_user_gave(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert resolve(tmp_path / "link") == str(tmp_path / "link")


def test_remote_destinations_lose_only_trailing_slashes() -> None:
    assert resolve("S3://Bucket/a/") == "s3://Bucket/a"
    assert resolve("memory://") == "memory://"
    assert join("memory://", "a") == "memory://a"
    assert join("/", "a", "b") == "/a/b"
    assert parent("memory://a") == "memory://"
    assert parent("/a") == "/"


@pytest.mark.parametrize(
    "url", ["", "\0", "simplecache::s3://b/a", "https://host/a?token=1", "s3://b/a#x", "s3://b/../c", "s3://b/./c"]
)
def test_what_cannot_hold_outputs_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        resolve(url)
