"""The worker as one file: what ``python -m bookkeeper.worker`` needs, for nodes on which nothing is installed.

It is a zip archive that Python runs, behind a few lines for ``/bin/sh`` that look for the right Python. In it lie
bookkeeper and the packages that its worker imports, as they are installed here; with the compiled ones it fits nodes
with the same kind of processor and the same minor version of Python. What a catalog's database needs, and uproot, which
is the fallback for versions of ROOT's format that bookkeeper does not read itself, stay at home.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from bookkeeper.cargo.packing import written
from bookkeeper.errors import StorageError, UsageError

NEEDED: Final = ("cramjam", "fsspec", "httpx", "isal", "msgspec", "pluggy", "psutil", "tenacity", "xxhash")
"""The distributions that the worker imports; those that these need come along."""

BY_SCHEME: Final = {
    "root": ("fsspec-xrootd", "xrootd"),
    "roots": ("fsspec-xrootd", "xrootd"),
    "s3": ("s3fs",),
    "s3a": ("s3fs",),
    "http": ("aiohttp",),
    "https": ("aiohttp",),
    "dav": ("webdav4",),
    "davs": ("webdav4",),
    "gs": ("gcsfs",),
    "ssh": ("paramiko",),
    "sftp": ("paramiko",),
}
"""What reaches a storage, by the scheme of its URLs; taken where it is installed here."""

SCHEMES: Final = tuple(BY_SCHEME)
"""All of them: for jobs whose inputs may come from anywhere."""

OURS: Final = ("bookkeeper", "bookkeeper_schema")
_KEPT: Final = (".py", ".toml", ".lark")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_OF_AMAZON: Final = (
    "s3",
    "sts",
    "sso",
    "sso-oidc",
    "signin",
)  # storage, and how one is let in: of several hundred services
_NOT_TAKEN: Final = ("__pycache__", "tests", "test", "migrations")

SHELL: Final = """#!/bin/sh
# The worker of bookkeeper {version}. Everything after the last line of this is a zip archive that Python {python} runs.
for python in "$BOOKKEEPER_PYTHON" python{python} python3 /usr/local/bin/python{python} /usr/bin/python{python}; do
  python=$(command -v "$python" 2>/dev/null) && [ -n "$python" ] || continue  # absolute, also without $PATH
  "$python" -I -S -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "{python}")' 2>/dev/null || continue
  exec "$python" -I "$0" "$@"
done
echo "there is no Python {python} on $(uname -n), which this worker of bookkeeper needs" >&2
echo "\\$BOOKKEEPER_PYTHON names the interpreter to be used on nodes" >&2
exit 2
"""


def kit(schemes: Iterable[str] = (), *, cache: Path | None = None) -> Path:
    """Return the worker that travels, for outputs and inputs of these schemes; it is made once, and kept in a cache.

    Its name tells its content: what is installed here, or changed here, makes another one. Two that make the same at
    once do no harm. Raises `UsageError` where something that it needs is not installed, `StorageError` where the cache
    cannot be written.
    """
    members = dict(_members(schemes))
    about = json.dumps({"for": [*sys.version_info[:2], sys.platform, platform.machine()], "version": _version()})
    digest = hashlib.sha256(about.encode())
    content = {name: path.read_bytes() for name, path in sorted(members.items())}
    for name, data in content.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    folder = cache or _cache()
    target = folder / f"worker-{_version()}-{digest.hexdigest()[:16]}.pyz"
    if target.exists():
        return target
    content["kit.json"] = about.encode()
    content["__main__.py"] = Path(__file__).with_name("bootstrap.py").read_bytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the cache {folder} cannot be made: {error.strerror}", remedy="name another one: $XDG_CACHE_HOME"
        ) from error
    with written(target, 0o755) as stream:
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        stream.write(SHELL.format(version=_version(), python=python).encode())
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
            for name, data in sorted(content.items()):
                member = zipfile.ZipInfo(name, _EPOCH)
                member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                packed.writestr(member, data)
    return target


def _cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".cache") / "bookkeeper"


def _version() -> str:
    return metadata.version("sam-bookkeeper")


def _members(schemes: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files of the worker by their names in the archive."""
    yield "__main__.py", Path(__file__).with_name("bootstrap.py")
    for package in OURS:
        yield from _package(package)
    wanted = [*NEEDED, *(name for scheme in sorted(set(schemes)) for name in BY_SCHEME.get(scheme, ()))]
    for one in _closure(wanted):
        if not one.files:
            raise UsageError(
                f"the worker cannot be packed: nothing says which files {one.name} has here",
                remedy="install bookkeeper with pip into an environment of its own",
            )
        for path in one.files:
            if _is_taken(path.parts, path.suffix):
                yield f"site/{path.as_posix()}", Path(str(path.locate()))
    ours = metadata.distribution("sam-bookkeeper")
    for path in ours.files or ():
        if path.name == "METADATA":
            yield f"site/{path.as_posix()}", Path(str(path.locate()))


def _package(name: str) -> Iterator[tuple[str, Path]]:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    root = Path(found.origin).parent
    for path in sorted(root.rglob("*")):
        within = path.relative_to(root)
        if path.suffix in _KEPT and not set(within.parts) & set(_NOT_TAKEN):
            yield f"site/{name}/{within.as_posix()}", path


def _closure(names: Iterable[str]) -> list[metadata.Distribution]:
    """Return the distributions of these names, and those that they need here, each once."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, metadata.Distribution] = {}
    left = [(name, name in NEEDED) for name in names]
    while left:
        name, needed = left.pop()
        if canonicalize_name(name) in found:
            continue
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if needed:
                raise UsageError(
                    f"the worker cannot be packed: {name} is not installed here",
                    remedy="install bookkeeper again, with pip",
                ) from None
            continue
        found[canonicalize_name(name)] = one
        wanted = [Requirement(text) for text in one.requires or ()]
        left += [(need.name, True) for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    return [found[name] for name in sorted(found)]


def _is_taken(parts: tuple[str, ...], suffix: str) -> bool:
    """Tell whether a file of a distribution travels: modules and their data, not what only installers read."""
    if ".." in parts or "__pycache__" in parts or suffix in (".pyi", ".pxd", ".c", ".h"):
        return False
    if parts[:2] == ("botocore", "data") and len(parts) > 3 and parts[2] not in _OF_AMAZON:
        return False
    if parts[0].endswith(".dist-info"):
        return parts[-1] in ("METADATA", "entry_points.txt")
    return not ("tests" in parts and suffix == ".py")
