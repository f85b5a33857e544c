"""Look at files: where they lie, how large they are, their checksum, and what trees they hold.

Nothing here knows a catalog; `FileRecord` is what a catalog can be told of a file.
"""
# Locations are strings here, not paths: some are URLs, and there may be millions.
# ruff: noqa: PTH100, PTH112, PTH118, PTH207

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from bookkeeper.checksums import CHUNK, Adler32, adler32_of
from bookkeeper.drivers import filesystem, named
from bookkeeper.errors import BookkeeperError, Conflict, NotFound, StorageError, UsageError
from bookkeeper.rootfile import main_tree, open_root, open_source, trees_of
from bookkeeper.rootfile.door import reason

Progress = Callable[[int, int | None, int], object]
"""Called with the files done, their total where it is known yet, and the bytes done."""

OnError = Callable[[str, BookkeeperError], object]
"""Called with a location and what is wrong with it; the scan goes on."""

Paths = Iterable[str | os.PathLike[str]] | str | os.PathLike[str]

_LOOK_AHEAD = 8
_UNREADABLE = "look at the file; leave it out, or take a good copy"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is known of a file: logical name, size in bytes, checksum, entries of its tree and of all its trees."""

    name: str
    size: int
    checksum: str | None = None
    entries: int | None = None
    tree: str | None = None
    trees: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    locations: tuple[str, ...] = ()


_Location = tuple[str, BookkeeperError | None]
"""A location; or a path, and why it names none."""

_Outcome = tuple[str, FileRecord | BookkeeperError]
"""A location, and its record or what is wrong with it."""


def scan(
    paths: Paths,
    *,
    checksum: bool = True,
    tree: str | None = None,
    metadata: Mapping[str, object] | None = None,
    workers: int | None = None,
    name: str | None = None,
    on_progress: Progress | None = None,
    on_error: OnError | None = None,
) -> Iterator[FileRecord]:
    """Yield a record of every file that ``paths`` name, in their order, while others are being read.

    ``paths`` are files, globs (``**`` too), folders (their ``*.root`` files at any depth; hidden entries are passed
    over), ``file://`` and every other URL that fsspec opens. A file that is not called ``.root`` gets size and checksum
    only. The logical name is the basename, or ``name``, which then names a single file. ``entries`` are those of
    ``tree``, else of the only tree, else of the largest. ``workers`` is the number of threads.

    Raises `NotFound` for a path that matches nothing, `StorageError` for a file that cannot be read, `ValidationError`
    for a ROOT file that is broken or truncated: with ``on_error`` these are told to it instead. Raises `Conflict` for
    two locations of one name.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot scan", remedy="ask for one or more")
    reader = _Reader(checksum, tree, dict(metadata or {}), name)
    # Without checksums the work is Python's own, and more threads only get in each other's way.
    threads = workers or (min(8, (os.cpu_count() or 1) + 1) if checksum else 1)
    locations = _Locations(paths, name)
    return _follow(_in_order(reader, locations, threads), locations, on_progress, on_error)


def _follow(
    outcomes: Generator[_Outcome, None, None],
    locations: _Locations,
    on_progress: Progress | None,
    on_error: OnError | None,
) -> Iterator[FileRecord]:
    """Yield the records among the outcomes; tell of errors and progress."""
    size = 0
    with closing(outcomes):
        for done, (location, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, BookkeeperError):
                if on_error is None:
                    raise outcome
                on_error(location, outcome)
            else:
                size += outcome.size
                yield outcome
            if on_progress:
                on_progress(done, locations.total, size)


@dataclass(frozen=True, slots=True)
class _Reader:
    """What is wanted of every file."""

    checksum: bool
    tree: str | None
    metadata: dict[str, object]
    name: str | None

    def __call__(self, found: _Location) -> _Outcome:
        """Return the location with its record, or with what is wrong with it."""
        location, error = found
        if error:
            return location, error
        try:
            return location, self._record(location)
        except BookkeeperError as error:
            return location, error
        except (OSError, ValueError, ImportError) as error:  # storage; a bad URL; a protocol whose package is missing
            return location, StorageError(f"{location}: it cannot be read: {reason(error)}", remedy=_UNREADABLE)

    def _record(self, location: str) -> FileRecord:
        trees: dict[str, int] = {}
        main = None
        basename = _split(location)[1]
        if basename.endswith(".root"):
            with open_root(location) as root:
                root.check_whole()
                size, trees = root.source.size, trees_of(root)
                main = main_tree(trees, self.tree)
        else:
            with closing(open_source(location)) as source:
                size = source.size
        return FileRecord(
            name=self.name or basename,
            size=size,
            checksum=_checksum(location) if self.checksum else None,
            entries=trees[main] if main is not None else None,
            tree=main,
            trees=trees,
            metadata=self.metadata,
            locations=(location,),
        )


def _checksum(location: str) -> str:
    """Return the checksum of a local path or URL."""
    if "://" not in location:
        return adler32_of(location)
    running = Adler32()
    with closing(open_source(location)) as source:
        for start in range(0, source.size, CHUNK):
            running.update(source.read(start, min(CHUNK, source.size - start)))
    return str(running)


def _in_order(reader: _Reader, locations: Iterable[_Location], threads: int) -> Generator[_Outcome, None, None]:
    """Read the files over some threads, a bounded number ahead; yield in the order of the locations."""
    if threads == 1:
        yield from map(reader, locations)
        return
    from concurrent.futures import ThreadPoolExecutor

    rest = iter(locations)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scan")
    try:
        waiting = deque(pool.submit(reader, location) for location in islice(rest, _LOOK_AHEAD * threads))
        while waiting:
            outcome = waiting.popleft().result()
            waiting.extend(pool.submit(reader, location) for location in islice(rest, 1))
            yield outcome
    finally:  # whoever stops listening does not wait for what was only looked ahead at
        pool.shutdown(wait=False, cancel_futures=True)


def _split(location: str) -> tuple[str, str]:
    """Return folder and basename; of a chained URL (``zip://a.root::file://b.zip``) the first link names the file."""
    first, *rest = location.split("::")
    folder, _, basename = first.rpartition("/")
    return "::".join([folder, *rest]), basename


class _Locations:
    """Every location that some paths name, each once, in a stable order. ``total`` is known after the last."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]], name: str | None) -> None:
        self._paths, self._name = paths, name
        self._folders: dict[str, str] = {}  # by basename; the strings are shared, for there may be millions
        self._shared: dict[str, str] = {}
        self.total: int | None = None

    def __iter__(self) -> Iterator[_Location]:
        failures = 0
        for path in self._paths:
            try:
                for location in _expand(os.fspath(path)):
                    if self._is_new(location):
                        yield location, None
            except (NotFound, StorageError) as error:
                failures += 1
                yield os.fspath(path), error
        self.total = len(self._folders) + failures

    def _is_new(self, location: str) -> bool:
        """Tell whether the location was not named before; `Conflict` where its name was, of another."""
        folder, basename = _split(location)
        other = self._folders.get(basename)
        if other == folder:
            return False
        if other is not None:
            raise Conflict(
                f"{basename} is the name of two files: one in {other} and {location}",
                remedy="declare one of them alone under another name (`--name`)",
            )
        if self._name and self._folders:
            raise UsageError(
                f"the name {self._name} is given to more than one file", remedy="name one file, or give no name"
            )
        self._folders[basename] = self._shared.setdefault(folder, folder)
        return True


def _expand(path: str) -> Iterator[str]:
    """Return the locations that a path names; `NotFound` where there is none."""
    path = path.removeprefix("file://")
    return _needed(path, _remote(path) if "://" in path else _local(os.path.abspath(path)))


def _needed(path: str, locations: Iterator[str]) -> Iterator[str]:
    """Pass the locations on; `NotFound` where there is none."""
    found = False
    try:
        with named(path):
            for location in locations:
                found = True
                yield location
    except (OSError, ValueError, ImportError) as error:
        raise StorageError(f"{path}: it cannot be listed: {reason(error)}") from error
    if not found:
        raise NotFound(
            f"{path}: no file matches", remedy="check the path; quote globs that the shell should not expand"
        )


def _local(path: str) -> Iterator[str]:
    """Yield the files that an absolute path or glob names."""
    if os.path.isdir(path):
        yield from _folder(path)
    elif os.path.lexists(path):
        yield path
    elif glob.has_magic(path):
        for match in sorted(glob.iglob(path, recursive=True)):
            if not os.path.isdir(match):
                yield match
            elif "**" not in path:  # which matches everything below by itself
                yield from _folder(match)


def _folder(path: str) -> Iterator[str]:
    """Yield the ``.root`` files of a folder, at any depth, in the order of their names."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, subfolders, names in os.walk(path, onerror=refuse):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".root") and not name.startswith("."):
                yield os.path.join(folder, name)


def _remote(url: str) -> Iterator[str]:
    """Yield the URLs that a URL, a glob of one or a remote folder names."""
    system, path = filesystem(url)
    if glob.has_magic(path) and not system.exists(path):
        found = system.glob(path)
    elif not url.startswith(("http://", "https://")) and system.isdir(path):
        top = path.rstrip("/")
        found = [
            file
            for file in system.find(path)
            if file.endswith(".root") and not any(part.startswith(".") for part in file[len(top) :].split("/"))
        ]
    elif system.exists(path):
        yield url
        return
    else:
        found = []
    for file in sorted(found):
        if not glob.has_magic(path) or not system.isdir(file):
            yield system.unstrip_protocol(file)
