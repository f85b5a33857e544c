"""`dataset define --from-json`: datasets out of a list of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from posixpath import basename
from typing import TYPE_CHECKING, Any

from bookkeeper.errors import NotFound, UsageError
from bookkeeper_cli import catalogs, render

if TYPE_CHECKING:
    from bookkeeper.filelists import Sample


def define_samples(
    path: str, name: str | None, *, declared: bool, by_sample: bool, update: bool, as_json: bool
) -> None:
    """Define a dataset for each sample of a list, or for the one of this name; declare their files first, if asked to.

    All files are declared together, or none is.
    """
    from bookkeeper import datasets
    from bookkeeper.filelists import samples

    chosen = _chosen(samples(Path(path)), name, path)
    with catalogs.writing() as database:
        if declared:
            names = _declare(database, chosen, by_sample=by_sample, update=update)
        else:
            names = {one.name: [_name(one, place, by_sample) for place in one.files] for one in chosen}
        if not by_sample:
            _check_names(chosen)
        made = []
        for one in chosen:
            try:
                made.append(datasets.define(database, one.name, files=names[one.name], update=update))
            except NotFound as error:
                raise NotFound(
                    f"sample {one.name}: {error.message}",
                    remedy="--declare declares the files of the list; then they are called by their basenames",
                ) from error
    if as_json:
        rows = [asdict(one) for one in made]
        render.json_object(rows[0]) if name is not None else render.table(rows, (), as_json=True)
        return
    for dataset in made:
        render.say(f"dataset {dataset.name}: {render.count(dataset.files, 'file')}")
    render.next_step(f"bookkeeper project start NAME --dataset {made[0].name}")


def _chosen(found: Sequence[Sample], name: str | None, path: str) -> list[Sample]:
    chosen = [one for one in found if name is None or name in (one.name, one.metadata["sample"])]
    if not chosen:
        listed = ", ".join(one.name for one in found[:8]) + (", …" if len(found) > 8 else "")
        raise NotFound(f"{path} has no sample {name!r}", remedy=f"it has {listed}; without a name all are defined")
    return chosen


def _check_names(chosen: Sequence[Sample]) -> None:
    """Raise `UsageError` where two files would be one: they have the same basename."""
    places = {place for one in chosen for place in one.files}
    called, times = next(iter(Counter(map(basename, places)).most_common(1)))
    if times > 1:
        raise UsageError(
            f"{times} files of the list are called {called!r}",
            remedy="--by-sample calls each SAMPLE/BASENAME; or declare them by a list with names, and use --from-list",
        )


def _declare(database: Any, chosen: Sequence[Sample], *, by_sample: bool, update: bool) -> dict[str, list[str]]:
    """Declare the files of the samples; return their names."""
    from bookkeeper import files
    from bookkeeper_cli.file import scanned

    if not by_sample:
        _check_names(chosen)
    names: dict[str, list[str]] = {one.name: [] for one in chosen}

    def records(move: render.Progress) -> Iterator[Any]:
        for one in chosen:
            metadata = dict(one.metadata)
            read = scanned(one.files, metadata=metadata, tree=one.tree, checksum=True, workers=None, move=move)
            for record in read:
                named = replace(record, name=f"{one.name}/{record.name}") if by_sample else record
                names[one.name].append(named.name)
                yield named

    with render.progress("declaring", "files") as move:
        told = files.declare(database, records(move), update=update, on_progress=partial(_move, move))
    render.note(f"{told.new:,} new, {told.unchanged:,} unchanged, {told.updated:,} updated")
    return names


def _move(move: render.Progress, done: int) -> None:
    move(done, None)


def _name(sample: Sample, place: str, by_sample: bool) -> str:
    return f"{sample.name}/{basename(place)}" if by_sample else basename(place)
