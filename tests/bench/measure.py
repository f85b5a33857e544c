"""Speed as a ratio against a floor that is measured in the same run.

A benchmark module ``bench_*.py`` has one function ``rows()`` that yields ``Row``. A time in seconds means little on
another machine; the ratio to the best that could be done there means the same everywhere.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Row:
    """One result: ``name`` took ``ratio`` of ``floor`` (named in words), and should keep to ``bound``.

    ``better`` is ``higher`` for speeds (1 is as fast as the floor) and ``lower`` for costs.
    """

    name: str
    ratio: float
    floor: str
    bound: float
    better: Better

    @property
    def ok(self) -> bool:
        """Whether the ratio keeps to the bound."""
        return self.ratio >= self.bound if self.better == "higher" else self.ratio <= self.bound


def seconds(action: Callable[[], object]) -> float:
    """The wall time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def medians(contenders: Mapping[str, Callable[[], float]], rounds: int = 7) -> dict[str, float]:
    """Run all contenders in turn, ``rounds`` times, and return the median of what each returns.

    A contender prepares what it needs, and returns the seconds (or another amount) that count. One unmeasured round
    warms caches; every other round goes backwards, so that none always runs after the same neighbour.
    """
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in order:
            samples[name].append(contenders[name]())
    return {name: statistics.median(values) for name, values in samples.items()}


def compare(
    name: str,
    ours: Callable[[], float],
    floor: Callable[[], float],
    *,
    against: str,
    bound: float,
    better: Better,
    rounds: int = 7,
) -> Row:
    """Measure ours against the floor, interleaved; both return the seconds that count.

    ``higher``: the ratio is the floor's time by ours, a relative speed. ``lower``: ours by the floor's, a relative cost.
    """
    median = medians({"ours": ours, "floor": floor}, rounds)
    if better == "higher":
        ratio = median["floor"] / median["ours"]
    else:
        ratio = median["ours"] / median["floor"]
    return Row(name, ratio, against, bound, better)


def as_dict(row: Row) -> dict[str, Any]:
    """The row as it is written to JSON."""
    return {**asdict(row), "ok": row.ok}


def write(rows: Iterable[Row], path: Path) -> None:
    """Write the rows as a JSON array of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([as_dict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


def show(rows: Iterable[Row]) -> None:
    """Print the rows as a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("benchmark")
    table.add_column("ratio", justify="right")
    table.add_column("bound", justify="right")
    table.add_column("against", style="dim")
    table.add_column("")
    for row in rows:
        sign = "≥" if row.better == "higher" else "≤"
        verdict = "[green]ok[/]" if row.ok else "[bold red]missed[/]"
        table.add_row(row.name, f"{row.ratio:.3g}", f"{sign} {row.bound:g}", row.floor, verdict)
    Console().print(table)
