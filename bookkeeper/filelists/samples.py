"""Lists of samples in JSON, as analyses of the field keep them: names of samples, each with its files.

=====================================================================  =========================================
``{"DY": ["a.root", …], …}``                                           HiggsDNA's sample list
``{"samplejson": "list.json", "year": {"DY": ["2018"]}, …}``           its description of an analysis: the list it names
``{"DY": {"files": […], "xs": 6077.2, …}, …}``                         with what else is known: metadata
``{"DY": {"files": {"2017": […], "2018": […]}, …}, …}``                a sample a year: ``DY_2017``, ``DY_2018``
``{"DY": {"2017": […], "2018": […]}, …}``                              the same
``{"DY": {"files": {"a.root": "Events", …}, "metadata": {…}}, …}``     coffea's fileset: a tree for each file
=====================================================================  =========================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import NotFound, UsageError
from bookkeeper.filelists.text import absolute, unreadable

FORM: Final = 'write it as {"sample": ["file.root", …], …}'
LARGEST: Final = 256 << 20

_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample: what its dataset is called, its files (absolute paths, URLs), their tree, and their metadata."""

    name: str
    files: tuple[str, ...]
    tree: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def samples(path: Path) -> list[Sample]:
    """Return the samples of a list, in its order. Relative files are those of the working folder, as in every list.

    A name becomes one that a dataset may have: ``/DY/Run3/NANOAOD`` is ``DY-Run3-NANOAOD``. Each file has the metadata
    ``sample``. Raises `UsageError` naming list, sample and fault, `NotFound` where there is no such list.
    """
    content = _read(path)
    years: Any = {}
    if isinstance(content, dict) and isinstance(content.get("samplejson"), str):
        years = content.get("year") or {}
        path = path.parent / content["samplejson"]
        content = _read(path)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path}: this is no list of samples", remedy=FORM)
    found = [one for name, value in content.items() for one in _sample(str(path), name, value)]
    if isinstance(years, dict):
        found = [_with_year(one, years) for one in found]
    named: dict[str, Sample] = {}
    for one in found:
        if named.setdefault(one.name, one) is not one:
            raise UsageError(f"{path}: two samples would be called {one.name}", remedy="rename one of them")
    return found


def _read(path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice!r} is there twice")
        return read

    try:
        with path.open("rb") as stream:
            text = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no list {path}", remedy="check the path") from None
    except OSError as error:
        raise unreadable(str(path), error) from error
    if len(text) > LARGEST:
        raise UsageError(f"{path}: the list is larger than {LARGEST >> 20} MB")
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: this is no JSON ({error})", remedy=FORM) from None


def _sample(path: str, name: str, value: Any) -> Iterator[Sample]:
    """Yield the sample, or one for each year of it."""
    where = f"{path}, sample {name!r:.200}"
    if not isinstance(value, dict):
        yield _made(where, name, value, {})
        return
    rest = dict(value)
    files = rest.pop("files", None)
    more = rest.pop("metadata", None)
    known = {key: one for key, one in rest.items() if isinstance(one, str | int | float | bool)}
    known |= more if isinstance(more, dict) else {}
    if files is None:  # a list of files by year
        files, known = value, {}
    if isinstance(files, dict) and not any("/" in key or "." in key for key in files):
        if not files:
            raise UsageError(f"{where}: it has no file", remedy=FORM)
        for year, some in files.items():
            yield _made(f"{where}, {year!r:.200}", f"{name}_{year}", some, {"year": year, **known}, sample=name)
        return
    yield _made(where, name, files, known)


def _made(where: str, name: str, files: Any, metadata: dict[str, Any], *, sample: str | None = None) -> Sample:
    trees: set[Any] = set()
    if isinstance(files, str):
        files = [files]
    elif isinstance(files, dict):
        values = [one.get("object_path") if isinstance(one, dict) else one for one in files.values()]
        trees, files = {one for one in values if isinstance(one, str)}, list(files)
    if not isinstance(files, list) or not all(isinstance(one, str) and one for one in files):
        raise UsageError(f"{where}: its files are no list of texts", remedy=FORM)
    if not files:
        raise UsageError(f"{where}: it has no file", remedy=FORM)
    called = _ILLEGAL.sub("-", name).strip("-._+")[:200]
    if not called:
        raise UsageError(f"{where}: nothing of its name can be the name of a dataset", remedy="rename it")
    tree = trees.pop() if len(trees) == 1 else None
    places = tuple(dict.fromkeys(absolute(one) for one in files))
    return Sample(called, places, tree, {"sample": sample or name, **metadata})


def _with_year(one: Sample, years: Mapping[str, Any]) -> Sample:
    """Return the sample with the year, or period, that the analysis gives it."""
    given = years.get(one.metadata["sample"])
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if not isinstance(given, str | int) or "year" in one.metadata:
        return one
    return Sample(one.name, one.files, one.tree, {**one.metadata, "year": given})
