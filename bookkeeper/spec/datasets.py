"""One spec for many datasets: ``{dataset}`` in it, and ``SPEC.toml@DATASET`` to name it for one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import SpecError

TABLES: Final = ("project", "job", "output")
"""The tables in which it may be said."""

_FIELD: Final = re.compile(r"(?<!\{)\{dataset\}(?!\})")


def parted(path: Path) -> tuple[Path, str | None]:
    """Return the file of a spec, and the dataset that its name carries, if it does: ``mass.toml@zmumu``."""
    name, at, dataset = path.name.rpartition("@")
    if not at or not name or not dataset or path.exists():
        return path, None
    return path.with_name(name), dataset


def filled(content: Mapping[str, Any], file: Path, dataset: str | None) -> dict[str, Any]:
    """Return what a spec says for a dataset. Raises `SpecError` where it is for one and none is named, or the reverse."""
    found = {key: value for key, value in content.items() if key in TABLES and _says(value)}
    if dataset is None:
        if found:
            raise SpecError(
                f"{file}: it says {{dataset}}, and no dataset is named",
                remedy=f"name one behind the file: {file.name}@DATASET; `bookkeeper dataset list` shows them",
            )
        return dict(content)
    project = content.get("project")
    if not isinstance(project, dict) or not _says(project.get("name")):
        raise SpecError(
            f"{file}: the name of its project is the same for every dataset",
            remedy='put {dataset} into it, for example name = "mass-{dataset}", and write dataset = "{dataset}"',
        )
    return {**content, **{key: _with(value, dataset) for key, value in found.items()}}


def _says(value: Any) -> bool:
    if isinstance(value, str):
        return _FIELD.search(value) is not None
    if isinstance(value, dict):
        return any(map(_says, value.values()))
    return isinstance(value, list) and any(map(_says, value))


def _with(value: Any, dataset: str) -> Any:
    if isinstance(value, str):
        return _FIELD.sub(lambda match: dataset, value)
    if isinstance(value, dict):
        return {key: _with(one, dataset) for key, one in value.items()}
    return [_with(one, dataset) for one in value] if isinstance(value, list) else value
