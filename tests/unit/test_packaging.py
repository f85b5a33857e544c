"""What an install brings: three import packages, with their data, and not one name more."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "bookkeeper": ROOT / "bookkeeper",
    "bookkeeper_cli": ROOT / "cli/bookkeeper_cli",
    "bookkeeper_schema": ROOT / "schema/bookkeeper_schema",
}
SOURCES = ["bookkeeper", "cli", "schema", "pyproject.toml", "README.md", "LICENSE"]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources that has no ``.git``."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, tree / name)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=tree)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with nothing but the wheel installed into it."""
    target = tmp_path_factory.mktemp("site")
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"),
        *("--target", target, wheel),
        cwd=target,
    )
    return target


def importable(installed: Path, name: str) -> bool:
    """Ask an interpreter that sees only the standard library and the install whether it finds ``name``."""
    code = "import importlib.util, sys; sys.path.append(sys.argv[1]); print(importlib.util.find_spec(sys.argv[2]))"
    return run(sys.executable, "-I", "-S", "-c", code, installed, name, cwd=installed).strip() != "None"


def test_install_adds_exactly_three_import_names(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info") and path.name != "bin"}
    assert names == set(PACKAGES)
    assert all(importable(installed, name) for name in PACKAGES)


@pytest.mark.parametrize("name", ["schema", "cli", "tests", "docs"])
def test_install_adds_no_generic_name(installed: Path, name: str) -> None:
    assert not importable(installed, name)


def test_every_source_and_data_file_is_shipped(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= shipped
    assert any(name.startswith("bookkeeper_schema/views/") and name.endswith(".sql") for name in shipped)
    assert any(name.startswith("bookkeeper_schema/migrations/versions/") for name in shipped)


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_shipped(installed: Path, package: str) -> None:
    assert (installed / package / "py.typed").is_file()


def test_command_is_installed(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "bookkeeper = bookkeeper_cli.main:main" in entry_points.read_text()
    assert (installed / "bin/bookkeeper").is_file()


def test_generic_folders_are_not_packages() -> None:
    """``cli/`` and ``schema/`` are only shelves."""
    assert not (ROOT / "cli/__init__.py").exists()
    assert not (ROOT / "schema/__init__.py").exists()
