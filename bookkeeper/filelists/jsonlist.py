"""Lists in JSON: an array, read as a stream, or an object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from bookkeeper.errors import UsageError
from bookkeeper.filelists.text import LONGEST, absolute, absolute_all, decoded, raw_lines, unreadable

_BLOCK: Final = 1 << 20  # characters
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def json_lines(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    """Yield where each line is and what it holds."""
    for number, raw in raw_lines(path, name):
        where = f"{name}, line {number}"
        if text := decoded(raw, where).strip():
            yield where, _parsed(text, where)


def json_array(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the members of a JSON array while it is being read; a file with one object is an array of it."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            window = _Window(stream)
            if window.next_is("{"):
                yield f"{name}, record 1", window.value(f"{name}, record 1")
            elif window.take("["):
                yield from _members(window, name)
            else:
                raise UsageError(f"{name}: this is no JSON array", remedy="begin with [, or name another format")
            if window.character():
                raise UsageError(f"{name}: something follows after the end", remedy="name the format jsonl if it is so")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: this is not UTF-8 ({error.reason})", remedy="convert the list to UTF-8") from None
    except OSError as error:
        raise unreadable(name, error) from error


def _members(window: _Window, name: str) -> Iterator[tuple[str, Any]]:
    number = 0
    while not window.take("]"):
        if number and not window.take(","):
            raise UsageError(f"{name}, after record {number}: expected a comma or ]", remedy="correct the list")
        number += 1
        yield f"{name}, record {number}", window.value(f"{name}, record {number}")


class _Window:
    """The part of a JSON text that is looked at: it moves on with what is taken from it."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.text = ""
        self.position = 0
        self.decoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def character(self) -> str:
        """Return the next character that is no white space, "" at the end."""
        while True:
            space = _SPACE.match(self.text, self.position)
            self.position = space.end() if space else self.position
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.more():
                return ""

    def next_is(self, character: str) -> bool:
        """Tell whether ``character`` comes next."""
        return self.character() == character

    def take(self, character: str) -> bool:
        """Go over ``character`` if it comes next; tell whether it did."""
        found = self.next_is(character)
        self.position += found
        return found

    def value(self, where: str) -> Any:
        """Take the object that comes next; read on until it is whole. Raises `UsageError`."""
        if not self.next_is("{"):
            found = self.text[self.position : self.position + 20]
            raise UsageError(f"{where}: expected an object {{…}}, found {found!r}", remedy="correct the list")
        while True:
            try:
                value, self.position = self.decoder.raw_decode(self.text, self.position)
                return value
            except json.JSONDecodeError as error:
                if len(self.text) - self.position > LONGEST or not self.more():
                    raise UsageError(f"{where}: this is no JSON ({error.msg})", remedy="correct the list") from None
            except (RecursionError, ValueError) as error:
                raise UsageError(f"{where}: this is no record ({error})", remedy="correct the list") from None

    def more(self) -> bool:
        """Read on, and forget what was taken; tell whether there was more."""
        rest = self.text[self.position :]
        block = self.stream.read(max(_BLOCK, len(rest)))
        self.text, self.position = rest + block, 0
        return bool(block)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: this is no JSON ({error})", remedy="correct the list") from None


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number that JSON knows")


def objects(members: Iterator[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the members, which must be objects, with absolute locations."""
    for where, member in members:
        if not isinstance(member, dict):
            raise UsageError(
                f"{where}: expected an object, found {json.dumps(member)[:40]}",
                remedy='write each file as {"name": …, "size": …}',
            )
        if "locations" in member:
            member["locations"] = absolute_all(member["locations"])
        if isinstance(member.get("path"), str):
            member["path"] = absolute(member["path"])
        yield member
