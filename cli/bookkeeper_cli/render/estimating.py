"""What something will cost: a number, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from bookkeeper_cli.render import words
from bookkeeper_cli.render.lines import Line, draw, paragraph, title

if TYPE_CHECKING:
    from bookkeeper.estimates import Estimate, Forecast

_LABEL: Final = 16
_VALUE: Final = 14


def estimates(forecast: Forecast) -> None:
    """Print what processing the available files will need, a line for each number, with its evidence."""
    draw(_lines(forecast))


def _lines(forecast: Forecast) -> Iterator[Line]:
    from bookkeeper.estimates import Estimate, amount

    yield []
    yield title(f"what {words.count(forecast.files, 'file')} will need")
    yield from _row("processes", forecast.processes, lambda value: f"{value:,.0f}")
    yield from _row("to read", forecast.read_bytes, lambda value: words.size(round(value)))
    yield from _row("CPU time", forecast.cpu_s, words.span)
    yield from _row("wall time", forecast.wall_s, words.span)
    yield from _row("elapsed", forecast.elapsed_s, words.span)
    yield from _row("time of a job", forecast.job_wall_s, words.span)
    yield from _row("memory of a job", forecast.job_memory_mb, amount)
    ask = forecast.ask
    yield from _row("a job asks for", Estimate(ask.memory_mb, "of memory"), amount, unknown="nothing")
    if ask.wall_s is not None:
        yield from _row("", Estimate(ask.wall_s, f"of wall time: {ask.wall.evidence}"), words.span)
    yield []


def _row(name: str, one: Estimate, show: Callable[[Any], str], unknown: str = "unknown") -> Iterator[Line]:
    value = unknown if one.value is None else show(one.value)
    high = f"; p95 {show(one.high)}" if one.high is not None else ""
    first: Line = [(f"  {name:{_LABEL}}", "dim"), (f"{value:{_VALUE}}", "bold")]
    evidence = one.evidence.removesuffix(": unknown") if one.value is None else one.evidence
    yield from paragraph(f"{evidence}{high}", _LABEL + _VALUE + 2, "dim", first=first)
