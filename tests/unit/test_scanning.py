"""Scanning: which files a path names, what is told of each, and what happens to those that cannot be read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from bookkeeper.errors import BookkeeperError, Conflict, NotFound, UsageError, ValidationError
from bookkeeper.scanning import FileRecord, scan
from rootfiles import make_small, real_entries, root_files


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "small.root"
    make_small(path, "zstd")
    return path


@pytest.fixture
def folder(tmp_path: Path, small: Path) -> Path:
    """Six ROOT files at several depths, one of them hidden, and another file."""
    for name in ("b.root", "a.root", "run1/d.root", "run1/c.root", "run1/deep/e.root", ".bookkeeper/1/hidden.root"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small, tmp_path / name)
    (tmp_path / "notes.txt").write_text("notes")
    return tmp_path


def _names(paths: object, **options: object) -> list[str]:
    return [record.name for record in scan(paths, **options)]  # type: ignore[arg-type]


def test_a_record_tells_size_checksum_and_trees(small: Path) -> None:
    (record,) = scan([small], metadata={"run": 7})
    assert record == FileRecord(
        name="small.root",
        size=small.stat().st_size,
        checksum=f"adler32:{zlib.adler32(small.read_bytes()):08x}",
        entries=1500,
        tree="events",
        trees={"events": 1500, "inner/deeper/more": 100, "columns": 505},
        metadata={"run": 7},
        locations=(str(small),),
    )


def test_without_checksum_there_is_none(small: Path) -> None:
    (record,) = scan(small, checksum=False)
    assert (record.checksum, record.entries) == (None, 1500)


@pytest.mark.parametrize("path", root_files(), ids=lambda path: path.name)
def test_real_files_have_their_entries(path: Path) -> None:
    (record,) = scan([path])
    assert dict(record.trees) == real_entries(path)


def test_a_named_tree_counts_and_must_be_there(small: Path) -> None:
    (record,) = scan([small], tree="columns")
    assert (record.tree, record.entries) == ("columns", 505)
    with pytest.raises(ValidationError, match=r"small\.root: Events: there is no such tree"):
        list(scan([small], tree="Events"))


def test_a_root_file_without_trees_has_no_entries(tmp_path: Path) -> None:
    import uproot

    with uproot.recreate(tmp_path / "none.root"):
        pass
    (record,) = scan(tmp_path / "none.root")
    assert (record.tree, record.entries, dict(record.trees)) == (None, None, {})


def test_a_folder_means_its_root_files_at_any_depth(folder: Path) -> None:
    assert _names([folder]) == ["a.root", "b.root", "c.root", "d.root", "e.root"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.root", ["a.root", "b.root"]),
        ("run1/[cd].root", ["c.root", "d.root"]),
        ("**/*.root", ["a.root", "b.root", "c.root", "d.root", "e.root"]),
        ("*/deep", ["e.root"]),
        ("*.txt", ["notes.txt"]),
    ],
)
def test_globs_are_matched_in_order(folder: Path, pattern: str, names: list[str]) -> None:
    assert _names([folder / pattern]) == names
    assert _names([f"file://{folder}/{pattern}"]) == names


def test_a_file_with_a_glob_in_its_name_is_that_file(folder: Path, small: Path) -> None:
    shutil.copy(small, folder / "odd[1].root")
    assert _names([folder / "odd[1].root"]) == ["odd[1].root"]


def test_relative_paths_are_recorded_as_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [record.locations for record in scan(["run1/../a.root"])] == [(str(folder / "a.root"),)]


def test_another_file_has_size_and_checksum_only(folder: Path) -> None:
    (record,) = scan([folder / "notes.txt"])
    assert record == FileRecord("notes.txt", 5, "adler32:0680022a", locations=(str(folder / "notes.txt"),))


def test_any_filesystem_of_fsspec_is_read(small: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("/data/x.root", "/data/deep/y.root", "/data/.hidden/z.root"):
        memory.pipe(name, small.read_bytes())
    (local,) = scan([small])
    (one,) = scan(["memory://data/x.root"])
    assert (one.size, one.checksum, one.trees) == (local.size, local.checksum, local.trees)
    assert one.locations == ("memory://data/x.root",)
    assert _names(["memory://data/*.root"]) == ["x.root"]
    assert sorted(_names(["memory://data"])) == ["x.root", "y.root"]
    with pytest.raises(NotFound, match="memory://data/none"):
        list(scan(["memory://data/none.root"]))


def test_a_member_of_an_archive_is_named_by_itself(tmp_path: Path, small: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(small, "inner.root")
    (record,) = scan([f"zip://inner.root::file://{tmp_path}/all.zip"])
    assert (record.name, record.entries) == ("inner.root", 1500)


def test_a_name_may_be_given_to_one_file(folder: Path) -> None:
    assert _names([folder / "a.root"], name="other.root") == ["other.root"]
    with pytest.raises(UsageError, match="more than one"):
        _names([folder / "a.root", folder / "b.root"], name="other.root")


def test_two_files_of_one_name_are_named_both(folder: Path) -> None:
    shutil.copy(folder / "a.root", folder / "run1" / "a.root")
    with pytest.raises(Conflict) as caught:
        _names([folder])
    assert str(folder) in caught.value.message
    assert str(folder / "run1" / "a.root") in caught.value.message


def test_a_file_named_twice_is_one(folder: Path) -> None:
    assert _names([folder / "a.root", folder / "*.root", f"file://{folder}/a.root"]) == ["a.root", "b.root"]


@pytest.mark.parametrize("path", ["gone.root", "gone/*.root", "run1/*.txt", "run1/deep/../gone", "file:///gone.root"])
def test_a_path_that_matches_nothing_is_an_error(folder: Path, path: str) -> None:
    with pytest.raises(NotFound, match="no file matches"):
        _names([path if "://" in path else folder / path])


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", None])
def test_a_broken_root_file_is_refused_or_told(folder: Path, content: bytes | None) -> None:
    whole = (folder / "b.root").read_bytes()
    (folder / "b.root").write_bytes(whole[:-1] if content is None else content)
    with pytest.raises(ValidationError, match=r"b\.root"):
        _names([folder])
    told: list[tuple[str, BookkeeperError]] = []
    names = _names([folder, folder / "gone"], on_error=lambda location, error: told.append((location, error)))
    assert names == ["a.root", "c.root", "d.root", "e.root"]
    assert [location for location, _ in told] == [str(folder / "b.root"), str(folder / "gone")]
    assert [type(error) for _, error in told] == [ValidationError, NotFound]


@pytest.mark.skipif(os.geteuid() == 0, reason="privilege: root may read everything")
def test_a_file_without_permission_is_an_error(folder: Path) -> None:
    (folder / "a.root").chmod(0)
    with pytest.raises(BookkeeperError, match=r"a\.root"):
        _names([folder])


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("checksum", [True, False])
def test_order_and_progress_do_not_depend_on_the_workers(folder: Path, workers: int, checksum: bool) -> None:
    steps: list[tuple[int, int | None, int]] = []
    names = _names([folder], workers=workers, checksum=checksum, on_progress=lambda *step: steps.append(step))
    assert names == ["a.root", "b.root", "c.root", "d.root", "e.root"]
    assert [done for done, _, _ in steps] == [1, 2, 3, 4, 5]
    assert steps[-1][2] == 5 * (folder / "a.root").stat().st_size
    assert all(total in (None, 5) for _, total, _ in steps)


def test_no_workers_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError):
        scan([folder], workers=0)


def test_paths_stream(folder: Path) -> None:
    """Only a bounded number of paths is asked for ahead of what was taken."""
    asked = 0

    def paths():  # type: ignore[no-untyped-def]
        nonlocal asked
        for number in range(10_000):
            asked += 1
            path = folder / f"{number}.txt"
            path.write_text("text")
            yield path

    records = scan(paths(), workers=2)
    assert next(records).name == "0.txt"
    assert asked < 100
    records.close()  # type: ignore[attr-defined]


def test_uproot_is_not_loaded(small: Path) -> None:
    code = "import sys; from bookkeeper.scanning import scan; list(scan(sys.argv[1:])); print('uproot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(small)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
