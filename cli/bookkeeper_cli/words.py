"""What is typed, understood: numbers, pairs, choices. Each function names the option and the allowed values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Annotated, Final, overload

import typer

from bookkeeper.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[
    str, typer.Argument(metavar="PROJECT", help="The name of a project; the answer covers its whole request.")
]

_LARGEST: Final = 2**63 - 1


@overload
def whole(option: str, text: str, *, least: int = ...) -> int: ...
@overload
def whole(option: str, text: str | None, *, least: int = ...) -> int | None: ...
def whole(option: str, text: str | None, *, least: int = 1) -> int | None:
    """Return a whole number that was given to an option, None where none was. Raises `UsageError`."""
    if text is None:
        return None
    plain = text.replace("_", "").replace(",", "")
    written = re.fullmatch(r"[0-9]{1,19}|[0-9]{1,3}([_,][0-9]{3}){1,6}", text)  # 1_0 is a job, not ten
    if not written or not least <= int(plain) <= _LARGEST:
        raise UsageError(f"{option}: {text[:100]!r} is no whole number", remedy=f"give {least} or more")
    return int(plain)


@overload
def process_number(option: str, text: str) -> int: ...
@overload
def process_number(option: str, text: str | None) -> int | None: ...
def process_number(option: str, text: str | None) -> int | None:
    """Return the number of a process; a job's, which looks like one, is none. Raises `UsageError`."""
    if (
        text is not None
        and re.fullmatch(r"[0-9]+[._][0-9]+", text)
        and not re.fullmatch(r"[0-9]{1,3}(_[0-9]{3})+", text)
    ):
        remedy = "this looks like a batch system's number: `bookkeeper jobs PROJECT` shows each job's process"
        raise UsageError(f"{option}: {text[:100]!r} is no whole number", remedy=remedy)
    return whole(option, text)


def size(option: str, text: str) -> int:
    """Return a number of bytes, of ``30000``, ``500MB``, ``30GB`` or ``2GiB``. Raises `UsageError`."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    units |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", text)
    number = float(found[1]) * units.get(found[2].upper(), 0) if found else 0
    if not 1 <= number <= _LARGEST:
        raise UsageError(f"{option}: {text[:100]!r} is no number of bytes", remedy="write for example 500MB or 30GB")
    return round(number)


def one_of(option: str, text: str, allowed: Collection[str]) -> str:
    """Return ``text`` if it is one of the allowed words. Raises `UsageError`."""
    if text not in allowed:
        raise UsageError(f"{option}: {text[:100]!r} is unknown", remedy=f"use one of {', '.join(allowed)}")
    return text


def pairs(option: str, texts: Iterable[str]) -> dict[str, str | int | float | bool]:
    """Return ``key=value`` pairs; numbers, true and false are taken as such, a quoted value as text."""
    found: dict[str, str | int | float | bool] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"{option}: {text[:100]!r} is no pair", remedy="write key=value, for example run_type=mc")
        if key in found:
            raise UsageError(f"{option}: {key[:100]!r} is given twice", remedy="give each key once")
        found[key] = _value(value)
    return found


def _value(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]*)\.[0-9]+([eE][+-]?[0-9]{1,2})?", text):
        return float(text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
