"""Lines in pieces, each with its style: in colours where they are wanted; and texts that fit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bookkeeper_cli.render import words
from bookkeeper_cli.render.streams import coloured, console, drawable, line, on_terminal, visible, width

Line = Sequence[tuple[str, str]]
"""Pieces of text, each with its style."""

_FINE: Final = " ▁▂▃▄▅▆▇█"
_PLAIN: Final = " .:-=+*%#"
_NARROWEST: Final = 20


def draw(lines: Iterable[Line]) -> None:
    """Print lines."""
    if coloured():
        from rich.text import Text

        for pieces in lines:
            console().print(Text.assemble(*pieces), soft_wrap=True)
    else:
        for pieces in lines:
            line("".join(text for text, _ in pieces).rstrip())


def wrapped(text: str, room: int) -> list[str]:
    """Break a text between words where a person watches; elsewhere a line stays whole, for `grep`."""
    shown = visible(" ".join(text.split()))
    if not on_terminal():
        return [shown]
    return textwrap.wrap(shown, max(room, _NARROWEST), break_on_hyphens=False) or [""]


def paragraph(text: str, indent: int, style: str = "", *, first: Line | None = None) -> Iterator[Line]:
    """Yield a text as lines that begin in the same column; ``first`` stands before the first of them, as wide."""
    for number, part in enumerate(wrapped(text, width() - indent)):
        begin = first if number == 0 and first is not None else [(" " * indent, "")]
        yield [*begin, (part, style)]


def spark(counts: Sequence[float]) -> str:
    """Return counts as a row of bars, one letter each; what is not nothing is seen."""
    letters = _FINE if drawable("█") else _PLAIN
    most = max(counts, default=0) or 1
    steps = len(letters) - 1
    return "".join(letters[max(1, round(steps * count / most))] if count else letters[0] for count in counts)


def listed(some: Mapping[str, Any]) -> str:
    """Return ``a, b and 12 more`` of the first names and the number of all."""
    names = [visible("unknown" if name is None else str(name)) for name in some["names"]]
    more = some["count"] - len(names)
    if more <= 0 and not some["at_least"]:
        return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])
    least = "at least " if some["at_least"] else ""
    return f"{', '.join(names)} and " + (f"{least}{more:,} more" if more > 0 else "perhaps more")


def steps(view: Mapping[str, Any]) -> Iterator[Line]:
    """Yield what to type next."""
    for step in view["next"]:
        yield [("→ ", "dim"), (visible(step), "bold")]


def title(text: str) -> Line:
    """Return the heading of a part."""
    return [(text, "bold")]


def percent(share: float | None) -> str:
    """Return a share in percent."""
    return words.plain(None) if share is None else f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def speed(value: float) -> str:
    """Return a rate in three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
