"""Validation: what is expected, what a command says, and what is told of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bookkeeper.errors import UsageError, ValidationError
from bookkeeper.rootfile import open_root, open_source
from bookkeeper.rootfile.source import Unfamiliar
from bookkeeper.rootfile.ttree import tree_of
from bookkeeper.validation import validate
from rootfiles import make_small


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validation") / "small.root"
    make_small(path, "zlib")
    return path


def test_it_is_a_mapping_of_entries_by_tree(small: Path) -> None:
    found = validate(small)
    assert found == {"events": 1500, "inner/deeper/more": 100, "columns": 505}
    assert found["events"] == 1500
    assert (found.level, found.size) == ("deep", small.stat().st_size)
    assert any("events" in words for words in found.checks)


def test_quick_says_that_contents_were_not_read(small: Path) -> None:
    found = validate(small, "quick")
    assert found.level == "quick"
    assert any("not read" in words for words in found.unproved)


@pytest.mark.parametrize(
    "expect", [{"tree": "events", "entries": 1500}, {"tree": "columns"}, {"entries": 1500}, {}, None]
)
def test_what_is_expected_and_there_is_valid(small: Path, expect: dict[str, object] | None) -> None:
    assert validate(small, "quick", expect)["events"] == 1500


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"tree": "events", "entries": 1499}, "events: 1499 entries are expected, it has 1500"),
        ({"tree": "Events"}, "Events: there is no such tree; there are: events"),
    ],
)
def test_what_is_expected_and_not_there_is_refused(small: Path, expect: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        validate(small, "quick", expect)


def test_a_tree_cannot_be_expected_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ValidationError, match="a tree is expected"):
        validate(tmp_path / "a.txt", expect={"entries": 3})


@pytest.mark.parametrize(
    "expect", [{"tre": "x"}, {"entries": "consumed"}, {"entries": -1}, {"entries": True}, {"tree": 3}]
)
def test_an_expectation_that_means_nothing_is_refused(small: Path, expect: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        validate(small, expect=expect)


def test_an_unknown_level_is_refused(small: Path) -> None:
    with pytest.raises(UsageError, match="deeper"):
        validate(small, "deeper")


def test_a_root_file_without_trees_is_valid(tmp_path: Path) -> None:
    import uproot

    with uproot.recreate(tmp_path / "none.root"):
        pass
    assert validate(tmp_path / "none.root") == {}


def test_a_file_that_is_missing_empty_or_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.root").touch()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder.root").mkdir()
    for name, words in [
        ("empty.root", "is empty"),
        ("empty.txt", "is empty"),
        ("folder.root", "no file"),
        ("gone", "cannot be opened: No such file"),
    ]:
        with pytest.raises(ValidationError, match=f"{name}: it .*{words}|{name}: it {words}"):
            validate(tmp_path / name)


def test_an_html_page_named_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.root").write_text("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>" * 20)
    with pytest.raises(ValidationError, match=r"page\.root: file: it is no ROOT file: it starts with b'<!DOCTYPE"):
        validate(tmp_path / "page.root")


def test_a_tree_of_a_version_that_our_reader_does_not_know_is_left_to_uproot(tmp_path: Path) -> None:
    import uproot

    path = tmp_path / "strange.root"
    with uproot.recreate(path, compression=None) as file:
        file.mktree("events", {"x": "float64"}).extend({"x": [1.0] * 7})
    with open_root(path) as root:
        key = root.newest()["events"]
    data = bytearray(path.read_bytes())
    place = data.index(b"TBranch\0", key.seek) + len(b"TBranch\0")
    data[place + 5] = 99  # the version, behind the byte count
    path.write_bytes(data)
    source = open_source(path)
    with pytest.raises(Unfamiliar, match="a branch of version 99"):
        tree_of(source, key, "events")
    source.close()
    assert validate(path) == {"events": 7}


def test_a_command_judges_by_its_exit(small: Path) -> None:
    accept = [sys.executable, "-c", "import sys; sys.exit(not sys.argv[1].endswith('small.root'))", "{path}"]
    found = validate(small, command=accept)
    assert found.level == "command"
    refuse = [sys.executable, "-c", "import sys; print('three holes', file=sys.stderr); sys.exit(3)", "{path}"]
    with pytest.raises(ValidationError, match=r"small\.root: .* exited 3: three holes"):
        validate(small, command=refuse)


def test_a_command_never_goes_through_a_shell(tmp_path: Path) -> None:
    strange = tmp_path / "a; touch owned $(touch owned).txt"
    strange.write_text("a")
    validate(strange, command=[sys.executable, "-c", "import sys; open(sys.argv[1])", "{path}"])
    assert [path.name for path in tmp_path.iterdir()] == [strange.name]


def test_a_command_that_hangs_is_ended(small: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ValidationError, match=r"did not judge it within 0\.3 s"):
        validate(small, command=[sys.executable, "-c", "import time; time.sleep(60)", "{path}"], timeout=0.3)
    assert time.monotonic() - started < 30


def test_a_command_that_is_killed_or_silent_is_told_so(small: Path) -> None:
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)", "{path}"]
    with pytest.raises(ValidationError, match="was ended by signal 9: it printed nothing"):
        validate(small, command=killed)


@pytest.mark.parametrize("command", [["true"], ["/no/such/program", "{path}"]])
def test_a_command_that_cannot_judge_is_refused(small: Path, command: list[str]) -> None:
    with pytest.raises(UsageError):
        validate(small, command=command)


def test_uproot_is_not_loaded_for_what_our_reader_knows(small: Path) -> None:
    import subprocess

    code = (
        "import sys; from bookkeeper.validation import validate; validate(sys.argv[1]); print('uproot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(small)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
