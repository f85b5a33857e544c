"""What is taken along with a job, what is not, and what is refused before anything is submitted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import cargo
from bookkeeper.cargo import libraries
from bookkeeper.cargo.kit import kit
from bookkeeper.errors import UsageError
from bookkeeper.worker import Job, OutputSpec


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A spec's folder, with a program, a script and a folder of files."""
    made = tmp_path / "spec"
    (made / "conf/sub").mkdir(parents=True)
    (made / "conf/__pycache__").mkdir()
    for name in ("run.sh", "mass.py", "conf/a.json", "conf/sub/b.json", "conf/__pycache__/x.pyc"):
        (made / name).write_text(name)
    (made / "run.sh").chmod(0o755)
    return made


def load(base: Path, cache: Path, *command: str, **options: Any) -> cargo.Loaded:
    folder = base.parent / "submission"
    folder.mkdir(exist_ok=True)
    job = Job("p", command, str(base), options.pop("outputs", ()), plugins=options.pop("plugins", ()))
    return cargo.load(job, folder, catalog=None, base=base, cache=cache, **options)


def names(loaded: cargo.Loaded) -> list[str]:
    (pack,) = (path for path in loaded.files if path.name == "cargo.tar.gz")
    with tarfile.open(pack) as members:
        return sorted(members.getnames())


def test_words_of_the_command_that_are_files_travel_in_their_places(base: Path, cache: Path) -> None:
    loaded = load(base, cache, "./run.sh", "mass.py", "conf/a.json", "nothing.py", "{inputs}", "conf")
    assert names(loaded) == ["conf/a.json", "mass.py", "run.sh"]
    assert loaded.job.command[:3] == ("./run.sh", "mass.py", "conf/a.json")
    assert [path.name for path in loaded.files] == ["job.json", "cargo.tar.gz"]
    assert Job.from_json((base.parent / "submission/job.json").read_text()) == loaded.job


def test_files_are_paths_globs_and_folders(base: Path, cache: Path) -> None:
    (base.parent / "outside.txt").write_text("")
    loaded = load(
        base, cache, "python3", "mass.py", files=["conf", "../outside.txt", "**/*.json", str(base / "run.sh")]
    )
    assert names(loaded) == ["conf/a.json", "conf/sub/b.json", "mass.py", "outside.txt", "run.sh"]


def test_a_program_that_lies_elsewhere_is_called_by_its_place_on_the_node(base: Path, cache: Path) -> None:
    tool = base.parent / "tool"
    shutil.copy(base / "run.sh", tool)
    loaded = load(base, cache, str(tool), "{inputs}")
    assert loaded.job.command == (".bookkeeper/bin/tool", "{inputs}")
    assert names(loaded) == [".bookkeeper/bin/tool"]
    output = OutputSpec("m-{process}", "s3://b/", validate=(str(tool), "{path}"))
    shutil.rmtree(base.parent / "submission")
    judged = load(base, cache, "python3", "mass.py", outputs=(output,)).job.outputs[0]
    assert judged.validate == (".bookkeeper/bin/tool", "{path}")


def test_a_plug_in_travels_if_it_is_a_file(base: Path, cache: Path) -> None:
    loaded = load(base, cache, "python3", "mass.py", plugins=(str(base / "mass.py"),))
    assert loaded.job.plugins == (".bookkeeper/plugins/mass.py",)
    with pytest.raises(UsageError, match="the plug-in mine cannot travel"):
        shutil.rmtree(base.parent / "submission")
        load(base, cache, "python3", "mass.py", plugins=("mine",))


def test_a_program_without_private_libraries_brings_none(base: Path, cache: Path) -> None:
    sed = shutil.which("sed")
    assert sed is not None
    shutil.copy(sed, base / "tool")
    assert names(load(base, cache, "./tool")) == ["tool"]
    assert not libraries.is_binary(base / "run.sh")


def test_a_library_that_is_not_found_is_told_before_anything_is_submitted(base: Path, cache: Path) -> None:
    sed = Path(shutil.which("sed") or "").read_bytes()
    told = subprocess.run(["ldd", shutil.which("sed") or ""], capture_output=True, text=True, check=True).stdout
    known = next(
        word for line in told.splitlines() if "=> /" in line and "libc.so" not in line for word in line.split()
    )
    (base / "tool").write_bytes(sed.replace(known.encode(), b"libZZ" + known.encode()[5:]))
    (base / "tool").chmod(0o755)
    with pytest.raises(
        UsageError, match=f"needs the shared library libZZ{known[5:]}, which is not found here"
    ) as caught:
        load(base, cache, "./tool")
    assert "LD_LIBRARY_PATH" in caught.value.remedy
    (base / "conf" / f"libZZ{known[5:]}").write_bytes(b"it is what the person says it is")
    assert f".bookkeeper/lib/libZZ{known[5:]}" in names(load(base, cache, "./tool", files=["conf"]))


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        (["./missing.sh"], {}, "there is none"),
        (["./conf"], {}, "it is no file"),
        (["./mass.py"], {}, "is not executable"),
        (["sh"], {"files": ["none*"]}, "nothing is called so"),
        (["sh"], {"archives": ["none.tar.gz"]}, "there is none"),
        (["sh"], {"archives": ["job.json"]}, "an archive cannot be called job.json"),
        (["sh", "../outside.py"], {}, "it lies outside of"),
        (["sh"], {"files": ["linked"]}, "it is a link to a folder"),
        (["sh"], {"files": ["conf", "../conf"]}, "would both be conf/a.json"),
    ],
)
def test_what_cannot_travel_is_refused(
    base: Path, cache: Path, command: list[str], options: dict[str, Any], said: str
) -> None:
    (base / "linked").mkdir()
    (base / "linked/to").symlink_to(base / "conf")
    (base / "job.json").write_text("{}")
    (base.parent / "outside.py").write_text("")
    (base.parent / "conf").mkdir()
    (base.parent / "conf/a.json").write_text("another")
    with pytest.raises(UsageError) as caught:
        load(base, cache, *command, **options)
    assert said in str(caught.value)
    assert caught.value.remedy or "neither" in said
    assert not (base.parent / "submission/job.json").exists()


def test_the_worker_is_made_once_and_again_where_its_content_changed(tmp_path: Path, cache: Path) -> None:
    made = kit(cache=cache)
    before = made.stat()
    assert kit(cache=cache) == made
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    assert kit(["root"], cache=cache).name.startswith("worker-")
    assert os.access(made, os.X_OK)
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == []
