"""Regular expressions that are searched only where a text they cannot do without is found: that is what makes it fast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

SHORTEST: Final = 3
"""Characters that a text must have to be worth looking for."""

_CLASSES: Final = frozenset("dDwWsSbBAZ")
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class Pattern:
    """A regular expression, regardless of case, for one line of text."""

    source: str

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled expression."""
        return re.compile(self.source, re.IGNORECASE)

    @cached_property
    def literals(self) -> Sequence[str]:
        """Lower-case texts one of which stands in every line that matches; empty where none is known."""
        found = [required_literal(branch) for branch in _branches(self.source)]
        return tuple(dict.fromkeys(found)) if all(len(one) >= SHORTEST for one in found) else ()


def exception_pattern(name: str) -> Pattern:
    """Return the pattern of a line that names an exception: ``pkg.Name: message``, ``Name('message')`` or ``Name``."""
    return Pattern(rf"(?<![\w.])(?:\w+\.)*{re.escape(name)}(?=[:(]|\s*$|['\"])")


def required_literal(pattern: str) -> str:
    """Return the longest text, in lower case, that stands in everything that ``pattern`` matches; it may be empty.

    Careful rather than clever: groups, classes and whatever may be repeated zero times end a text. ``pattern`` is to
    have no alternatives outside of groups.
    """
    best = run = ""
    position, length = 0, len(pattern)
    while position < length:
        char = pattern[position]
        ends, literal = position + 1, char
        if char == "\\" and position + 1 < length:
            following = pattern[position + 1]
            ends = position + 2
            if following in _CLASSES or following.isdigit():
                literal = ""
            elif following in _CONTROLS:
                literal = _CONTROLS[following]
            elif following.isalpha():  # \x41, ሴ and their like
                return best
            else:
                literal = following
        elif char == "(":
            ends, literal = _end_of_group(pattern, position), ""
        elif char == "[":
            ends, literal = _end_of_class(pattern, position), ""
        elif char in ".^$":
            literal = ""
        after = pattern[ends : ends + 1]
        if literal and after not in ("?", "*", "{"):
            run += literal
        best = max(best, run, key=len)
        if not literal or after in ("?", "*", "{", "+"):
            run = ""
        position = _end_of_quantifier(pattern, ends)
    return best.lower()


def _branches(pattern: str) -> list[str]:
    """Return the alternatives of a pattern that stand outside of groups."""
    found, begin, position = [], 0, 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            position += 2
        elif char == "(":
            position = _end_of_group(pattern, position)
        elif char == "[":
            position = _end_of_class(pattern, position)
        else:
            if char == "|":
                found.append(pattern[begin:position])
                begin = position + 1
            position += 1
    return [*found, pattern[begin:]]


def _end_of_group(pattern: str, position: int) -> int:
    depth = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            position += 2
            continue
        if char == "[":
            position = _end_of_class(pattern, position)
            continue
        depth += (char == "(") - (char == ")")
        position += 1
        if depth == 0:
            return position
    return len(pattern)


def _end_of_class(pattern: str, position: int) -> int:
    position += 1
    if pattern[position : position + 1] == "^":
        position += 1
    if pattern[position : position + 1] == "]":
        position += 1
    while position < len(pattern) and pattern[position] != "]":
        position += 2 if pattern[position] == "\\" else 1
    return position + 1


def _end_of_quantifier(pattern: str, position: int) -> int:
    if pattern[position : position + 1] == "{":
        position = pattern.find("}", position) + 1 or len(pattern)
    while pattern[position : position + 1] in ("?", "*", "+") and position < len(pattern):
        position += 1
    return position
