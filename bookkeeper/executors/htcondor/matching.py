"""Why jobs wait in a queue for ever: no slot of the pool is such as they require.

A slot that is divided among jobs is taken as it would be if it were empty: who only waits for others is told nothing.
What slots ask of jobs (``START``) and who comes first is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

MOST: Final = 3
"""Requirements that are told, of those that no slot meets."""

_WHOLE: Final = re.compile(r"\b(Memory|Disk|Cpus|GPUs)\b(?!\s*\()", re.IGNORECASE)
"""What is left of a slot; the same behind ``TotalSlot`` is what there is of it when it is empty."""

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')

Count = Callable[[str], int]
"""Tells how many slots of the pool there are for which an expression is true."""


def why(job: Any, count: Count) -> str:
    """Return what keeps a job, by its ad, from ever being run, in words; "" where some slot could."""
    if "Requirements" not in job:
        return ""
    asked = job.lookup("Requirements")
    flat = job.flatten(asked)
    if flat is False:
        return f"its requirements are never true: {asked}"
    required = str(flat)
    if count(of_slot(required)):
        return ""
    if not count("true"):
        return "the pool has no slot"
    alone = [part for part in parts(required) if not count(of_slot(part))]
    if not alone:
        return f"no slot of the pool can run it: none has all of {_shown(required)}"
    more = f" (and {len(alone) - MOST} more)" if len(alone) > MOST else ""
    return "no slot of the pool can run it: none has " + ", none has ".join(map(_shown, alone[:MOST])) + more


def of_slot(required: str) -> str:
    """Return what a job requires as a question about a slot, as if that were empty."""
    return _outside_strings(required, lambda text: _WHOLE.sub(r"TotalSlot\1", _of_target(text)))


def parts(required: str) -> Iterator[str]:
    """Yield what is required, each by itself: what ``&&`` joins."""
    text = _bare(required.strip())
    depth, begin, found = 0, 0, list[str]()
    covered = _STRING.sub(lambda match: "_" * len(match[0]), text)
    for place, sign in enumerate(covered):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and covered.startswith(("&&", "||", "?"), place):
            if not covered.startswith("&&", place):
                yield text
                return
            found.append(text[begin:place])
            begin = place + 2
    if not found:
        yield text
        return
    for part in (*found, text[begin:]):
        yield from parts(part)


def _bare(text: str) -> str:
    """Return an expression without parentheses around the whole of it."""
    while text.startswith("("):
        depth = 0
        for place, sign in enumerate(_STRING.sub(lambda match: "_" * len(match[0]), text)):
            depth += (sign == "(") - (sign == ")")
            if depth == 0:
                if place != len(text) - 1:
                    return text
                break
        text = text[1:-1].strip()
    return text


def _of_target(text: str) -> str:
    return re.sub(r"\bTARGET\.", "", text, flags=re.IGNORECASE)


def _outside_strings(text: str, change: Callable[[str], str]) -> str:
    place, made = 0, ""
    for match in _STRING.finditer(text):
        made += change(text[place : match.start()]) + match[0]
        place = match.end()
    return made + change(text[place:])


def _shown(text: str) -> str:
    return _outside_strings(text, _of_target)
