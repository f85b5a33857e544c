"""Regular expressions that are searched only where a text they cannot do without is found: that is what makes it fast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

SHORTEST: Final = 3
"""Characters that a text must have to be worth looking for."""

_EVERYWHERE: Final = (
    " files errors events data input output job info plugin opened path lines time root server module process node"
    " worker host name config failed warning in <t error in error in < branch tree memory "
    " records run processing processed done open data block cluster size package version library plugin "
)
"""Words that stand in many lines of healthy logs: a pattern is rather looked for by something else."""

_CLASSES: Final = frozenset("dDwWsSbBAZ")
_PLAIN: Final = re.compile(r"[^\\()\[.^$?*+{]+")
"""Characters that stand for themselves, outside of alternatives."""
_MARKS: Final = re.compile(r"[\\(\[|]")
_BRACKETS: Final = re.compile(r"[\\()\[]")
_FLAGS: Final = re.compile(r"[aimsux-]*:")
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
        found = required_literals(self.source)
        return found if all(len(one) >= SHORTEST for one in found) else ()


def exception_pattern(name: str) -> Pattern:
    """Return the pattern of a line that names an exception: ``pkg.Name: message``, ``Name('message')`` or ``Name``."""
    return Pattern(rf"(?<![\w.])(?:\w+\.)*{re.escape(name)}(?=[:(]|\s*$|['\"])")


def required_literals(pattern: str) -> tuple[str, ...]:
    """Return texts, in lower case, one of which stands in everything that ``pattern`` matches; one may be empty.

    Careful rather than clever: of everything that may be repeated zero times, nothing is taken.
    """
    found = [text for branch in _branches(pattern) for text in _of_branch(branch)]
    return tuple(dict.fromkeys(found))


def _of_branch(pattern: str) -> tuple[str, ...]:
    """Return the same for a pattern without alternatives outside of groups: the set whose shortest is longest."""
    offered: list[tuple[str, ...]] = [("",)]
    run, position = "", 0
    while position < len(pattern):
        if plain := _PLAIN.match(pattern, position):  # the last of them may be optional, or repeated
            run += pattern[position : plain.end() - 1]
            position = plain.end() - 1
        ends, literal, group = _token(pattern, position)
        optional = pattern[ends : ends + 1] in ("?", "*", "{") and ends < len(pattern)
        if literal and not optional:
            run += literal
        if not literal or optional or pattern[ends : ends + 1] == "+":
            offered.append((run.lower(),))
            run = ""
        if group and not optional:
            offered.append(required_literals(group))
        position = _end_of_quantifier(pattern, ends)
    return max((*offered, (run.lower(),)), key=_worth)


def _worth(texts: tuple[str, ...]) -> float:
    """Return how much is won by looking for one of these texts: the length of the shortest, unless most logs hold it."""
    return min(SHORTEST - 1 + len(one) / 100 if _is_common(one) else len(one) for one in texts)


def _is_common(text: str) -> bool:
    return len(text) >= SHORTEST and text.strip() in _EVERYWHERE


def _token(pattern: str, position: int) -> tuple[int, str, str]:
    """Return where a piece of a pattern ends, the character that it stands for, and the inside of a group."""
    char, following = pattern[position], pattern[position + 1 : position + 2]
    if char == "\\" and following:
        if following in _CLASSES or following.isdigit():
            return position + 2, "", ""
        if following.isalpha() and following not in _CONTROLS:  # \\x41 and its like: nothing after it is looked at
            return len(pattern), "", ""
        return position + 2, _CONTROLS.get(following, following), ""
    if char == "(":
        ends = _end_of_group(pattern, position)
        if following != "?":
            return ends, "", pattern[position + 1 : ends - 1]
        flags = _FLAGS.match(pattern, position + 2)
        return ends, "", pattern[flags.end() : ends - 1] if flags else ""
    if char == "[":
        return _end_of_class(pattern, position), "", ""
    return position + 1, "" if char in ".^$" else char, ""


def _branches(pattern: str) -> list[str]:
    """Return the alternatives of a pattern that stand outside of groups."""
    found, begin, position = [], 0, 0
    while mark := _MARKS.search(pattern, position):
        if mark[0] == "\\":
            position = mark.end() + 1
        elif mark[0] == "(":
            position = _end_of_group(pattern, mark.start())
        elif mark[0] == "[":
            position = _end_of_class(pattern, mark.start())
        else:
            found.append(pattern[begin : mark.start()])
            begin = position = mark.end()
    return [*found, pattern[begin:]]


def _end_of_group(pattern: str, position: int) -> int:
    depth = 0
    while bracket := _BRACKETS.search(pattern, position):
        if bracket[0] == "\\":
            position = bracket.end() + 1
        elif bracket[0] == "[":
            position = _end_of_class(pattern, bracket.start())
        else:
            depth += 1 if bracket[0] == "(" else -1
            position = bracket.end()
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


def may_take_for_ever(regex: re.Pattern[str]) -> bool:
    """Tell whether a pattern repeats without end what may itself be repeated without end, as ``(a+)+`` does.

    On a text that does not match, such a pattern tries every way to divide it. Something that must stand between the
    repetitions, as the blank in ``(?:\\w+ )+``, prevents that.
    """
    from re import _parser  # the only way to see what a pattern is made of

    return _repeats_itself(_parser.parse(regex.pattern, regex.flags), _parser.MAXREPEAT)


def _repeats_itself(items: Any, endless: Any) -> bool:
    for operation, argument in items:
        inner = _parts(operation, argument)
        if str(operation) in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] == endless:
            body = _unwrapped(argument[2])
            free = [one for one in body if str(one[0]) in ("MAX_REPEAT", "MIN_REPEAT") and one[1][1] == endless]
            fixed = [one for one in body if str(one[0]) not in ("MAX_REPEAT", "MIN_REPEAT") or one[1][1] != endless]
            if free and not any(_width(one) for one in fixed):
                return True
        if any(_repeats_itself(part, endless) for part in inner):
            return True
    return False


def _parts(operation: Any, argument: Any) -> list[Any]:
    """Return the patterns that a piece of a pattern is made of."""
    name = str(operation)
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return [argument[2]]
    if name == "SUBPATTERN":
        return [argument[-1]]
    if name == "BRANCH":
        return list(argument[1])
    if name in ("ASSERT", "ASSERT_NOT"):
        return [argument[1]]
    return [argument] if name == "ATOMIC_GROUP" else []


def _unwrapped(items: Any) -> list[Any]:
    """Return the pieces of a pattern, those of a group that is all of it instead of the group."""
    found = list(items)
    while len(found) == 1 and str(found[0][0]) == "SUBPATTERN":
        found = list(found[0][1][-1])
    return found


def _width(item: Any) -> int:
    """Return how many characters a piece of a pattern matches at least."""
    operation, argument = item
    name = str(operation)
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return int(argument[0]) * sum(_width(one) for one in argument[2])
    if name == "SUBPATTERN":
        return sum(_width(one) for one in argument[-1])
    if name == "BRANCH":
        return min((sum(_width(one) for one in part) for part in argument[1]), default=0)
    return 1 if name in ("LITERAL", "NOT_LITERAL", "IN", "ANY", "GROUPREF") else 0
