"""The values of a spec: names, lengths of time, sizes; and the table that all tables are."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from bookkeeper import durations
from bookkeeper.catalog import check_name
from bookkeeper.errors import UsageError

UNITS: Final = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "PIB": 2**50,
}  # fmt: skip

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def _name(value: str) -> str:
    try:
        return check_name("name", value)
    except UsageError as error:
        raise ValueError(f"{value!r} is no name; {error.remedy}") from error


def _duration(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f'must be a length of time such as "10m" or seconds, not {value!r}')
    try:
        return durations.seconds(value)
    except UsageError as error:
        raise ValueError(f"{error}; {error.remedy}") from error


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None or match.group(2).upper() not in UNITS:
        raise ValueError(f'{value!r} is no size; write bytes, or for example "30GB" or "4GiB"')
    return int(float(match.group(1)) * UNITS[match.group(2).upper()])


Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[float, BeforeValidator(_duration)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=1)]
Word = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]


class Table(BaseModel):
    """A table of a spec: strict, and without a key that is not known."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def in_folder(folder: Path, path: str) -> str:
    """Return a path absolute: ``~`` understood, relative to the folder of the spec."""
    return str(folder.absolute() / os.path.expanduser(path))  # noqa: PTH111 - "~nobody" stays as it is
