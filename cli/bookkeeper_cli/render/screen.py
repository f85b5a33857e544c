"""One screen of a request: the bar by state, processes, reasons, rate, and what to type next."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bookkeeper_cli.render import words
from bookkeeper_cli.render.lines import Line, draw, wrapped
from bookkeeper_cli.render.streams import console, drawable, line, on_terminal, visible, width

View = Mapping[str, Any]
"""What `bookkeeper status --json` prints."""

_PARTS: Final = (("committed", "█", "#"), ("held", "▒", "="), ("parked", "▚", "!"), ("available", "░", "."))
_WIDEST: Final = 100
_SHORT: Final = 60
_EXCLUDED: Final = 3
_OVER: Final = ("completed", "removed", "lost")
LAST: Final = 3
_ENDED: Final = re.compile(r"(process |worker )(\d+): (.*)", re.DOTALL)


def status_lines(view: View) -> None:
    """Print the screen."""
    draw(_screen(view))


class Watch:
    """Shows views as they come: in place on a terminal, else a line for each that differs from the last."""

    def __init__(self) -> None:
        self._live: Any = None
        self._last = ""

    def show(self, view: View) -> None:
        """Show a view."""
        if not on_terminal():
            if (now := summary(view)) != self._last:
                self._last = now
                line(now)
                sys.stdout.flush()  # whoever reads the pipe waits for it
            return
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(
                console=console(), auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(Group(*(Text.assemble(*pieces) for pieces in _screen(view))), refresh=True)

    def close(self) -> None:
        """Take away what is shown in place."""
        if self._live is not None:
            self._live.stop()
            self._live = None


@contextlib.contextmanager
def watching() -> Iterator[Callable[[View], None]]:
    """Give a function that shows views as they come, while the block runs."""
    watch = Watch()
    try:
        yield watch.show
    finally:
        watch.close()


def summary(view: View) -> str:
    """Return the view in one line."""
    if "scanned" in view:
        return _scanned(view)
    parts = [f"{view['committed']:,} of {words.count(view['files'], 'file')} committed"]
    parts += [f"{view[name]:,} {name}" for name in ("held", "available", "parked") if view[name]]
    if view["unpublished"]:
        parts.append(f"{words.count(view['unpublished'], 'output')} to publish")
    if view["live"]:
        parts.append(f"{words.count(view['live'], 'live process', 'live processes')}")
    if view.get("eta_s") is not None:
        parts.append(f"about {words.span(max(1, view['eta_s']))} left")
    waiting = f"; {view['waiting']}" if view.get("waiting") else ""
    return ", ".join(parts) + waiting


def _scanned(view: View) -> str:
    of = f" of {view['to_scan']:,}" if view["to_scan"] else ""
    return f"{view['project']}: {view['scanned']:,}{of} files looked at"


def _screen(view: View) -> Iterator[Line]:
    if "scanned" in view:
        yield [(_scanned(view), "")]
        return
    room = min(width(), _WIDEST)
    yield from _title(view)
    yield _bar(view, room)
    yield from _counts(view, room)
    yield from _pace(view)
    yield from _waiting(view, room)
    yield from _trouble(view, room)
    yield from _processes(view, room)
    yield from _reasons(view, room)
    for number, reason in enumerate(_folded(view.get("last", ())[-LAST:])):
        for part, text in enumerate(wrapped(reason, room - 11)):
            yield [("last       " if number == part == 0 else " " * 11, "dim"), (text, "red")]
    for step in view.get("next", ()):
        yield [("→ ", "dim"), (visible(step), "bold")]


def _title(view: View) -> Iterator[Line]:
    state = "complete" if view["complete"] else view["open_state"] or "ended"
    style = "green" if view["complete"] else words.state_style(state)
    name = view["project"] if view["project"] == view["request"] else f"{view['project']} (request {view['request']})"
    began = f"started {words.when(view['started_at'])}" if view.get("started_at") else ""
    yield [(name, "bold"), ("  ", ""), (state, style), ("  ", ""), (began, "dim")]
    if view.get("pause_reason"):
        yield [("paused: ", "yellow"), (visible(view["pause_reason"]), "")]


def _bar(view: View, room: int) -> Line:
    """Return the bar: as wide as the screen, each state in its share, the least of them still seen."""
    files = view["files"]
    percent = f" {_percent(view['committed'], files)}"
    cells = max(10, room - len(percent))
    fine = drawable()
    widths = _shares([view[name] for name, _, _ in _PARTS], cells)
    pieces = [
        ((full if fine else plain) * wide, words.state_style(name) or "dim")
        for (name, full, plain), wide in zip(_PARTS, widths, strict=True)
    ]
    return [*pieces, (percent, "bold")]


def _percent(part: int, whole: int) -> str:
    """Return a share in percent; 100 % is said of the whole only."""
    if part >= whole:
        return "100 %"
    share = 100 * part / whole
    return f"{min(99.9, share):.1f} %" if share >= 0.1 else "<0.1 %" if part else "0 %"


def _shares(amounts: Sequence[int], cells: int) -> list[int]:
    """Divide cells in the ratio of the amounts; an amount that is not nothing gets a cell."""
    whole = sum(amounts) or 1
    widths = [max(1, round(cells * amount / whole)) if amount else 0 for amount in amounts]
    largest = max(range(len(widths)), key=widths.__getitem__)
    widths[largest] += cells - sum(widths)
    return widths


def _counts(view: View, room: int) -> Iterator[Line]:
    counts = [(name, view[name]) for name, _, _ in _PARTS]
    pieces: list[tuple[str, str]] = []
    for name, amount in counts:
        pieces += [(f"{amount:,} ", "bold" if amount else "dim"), (name, words.state_style(name)), ("   ", "")]
    of = f"of {words.count(view['files'], 'file')}"
    if sum(len(text) for text, _ in pieces) + len(of) <= room:
        yield [*pieces, (of, "dim")]
        return
    for name, amount in counts:
        yield [(f"{amount:>13,} ", "bold" if amount else "dim"), (name, words.state_style(name))]
    yield [(f"{'':13} {of}", "dim")]


def _pace(view: View) -> Iterator[Line]:
    processes = [
        f"{view['live']:,} live",
        f"{view['commits'] or 0:,} committed",
        f"{view['rollbacks'] or 0:,} rolled back",
    ]
    yield [("processes  ", "dim"), (", ".join(processes), "")]
    if view.get("unpublished"):
        yield [("outputs    ", "dim"), (f"{words.count(view['unpublished'], 'output')} to publish", "yellow")]
    if view.get("files_per_s"):
        pace = [f"{view['files_per_s'] * 60:,.1f} files/min"]
        if view.get("events_per_s"):
            pace.append(f"{view['events_per_s']:,.0f} events/s")
        if view.get("eta_s") is not None:
            pace.append(f"about {words.span(max(1, view['eta_s']))} left")
        yield [("rate       ", "dim"), (", ".join(pace), "")]


def _jobs(jobs: Mapping[str, Mapping[str, int]], room: int) -> Iterator[Line]:
    """Say how many jobs are in batch systems, why they wait, and where batch systems and catalog do not agree."""
    waiting = {state: count for state, count in jobs.get("states", {}).items() if state not in _OVER}
    if waiting:
        yield [
            ("jobs       ", "dim"),
            (", ".join(f"{count:,} {state}" for state, count in sorted(waiting.items())), ""),
        ]
    for reason, count in jobs.get("waits", {}).items():
        for number, text in enumerate(wrapped(f"{words.count(count, 'job')}: {reason}", room - 11)):
            yield [("idle       " if number == 0 else " " * 11, "dim"), (text, "yellow")]
    for verdict, count in sorted(jobs.get("verdicts", {}).items()):
        yield [("finding    ", "dim"), (f"{words.count(count, 'job')}: {verdict}", "yellow")]


def _trouble(view: View, room: int) -> Iterator[Line]:
    """Say what keeps files from being delivered, and what failed; nothing where all is well."""
    at = view.get("at") or 0.0
    if (view.get("rest_until") or 0.0) > at:
        rest = f"until {words.when(view['rest_until'])}, for {words.span(view['rest_until'] - at)} more"
        yield [("resting    ", "dim"), (rest, "yellow")]
    if view.get("delayed"):
        soon = f", the first in {words.span(view['next_at'] - at)}" if (view.get("next_at") or 0.0) > at else ""
        yield [("waiting    ", "dim"), (f"{words.count(view['delayed'], 'file')} for the next try{soon}", "")]
    yield from _jobs(view.get("jobs") or {}, room)
    excluded = view.get("excluded") or ()
    for number, row in enumerate(excluded[:_EXCLUDED]):
        text = f"node {row['node']} until {words.when(row['until'])}: {row['reason']}"
        for part, shown in enumerate(wrapped(text, room - 11)):
            yield [("excluded   " if number == part == 0 else " " * 11, "dim"), (shown, "yellow")]
    if len(excluded) > _EXCLUDED:
        yield [(f"{'':11}and {len(excluded) - _EXCLUDED:,} more nodes", "dim")]
    if failures := view.get("failures"):
        yield [("failures   ", "dim"), (failures["category"], "red"), (f": {_of_the_last(failures)}", "")]


def _of_the_last(failures: View) -> str:
    processes, of = failures["processes"], failures["of"]
    if of == 1:
        return "the one failed process"
    return f"{'all' if processes == of else f'{processes:,}'} of the last {of:,} failed processes"


def _waiting(view: View, room: int) -> Iterator[Line]:
    for number, text in enumerate(wrapped(view.get("waiting") or "", room - 11)):
        if text:
            yield [("waiting    " if number == 0 else " " * 11, "dim"), (text, "yellow")]


def _processes(view: View, room: int) -> Iterator[Line]:
    rows = view.get("processes") or ()
    for number, row in enumerate(rows):
        who = f"{row['process_id']}"
        where = f" on {row['node']}" if row.get("node") and room >= _SHORT else ""
        what = f"{row['consumed']:,} of {words.count(row['delivered'], 'file')} read"
        yield [
            ("live       " if number == 0 else " " * 11, "dim"),
            (f"process {who}{visible(where)}", ""),
            (f"  {row['state']}", words.state_style(row["state"])),
            (f"  {what}, for {words.span(row['running_s'])}", "dim"),
        ]
    if view["live"] > len(rows) > 0:
        yield [(f"{'':11}and {view['live'] - len(rows):,} more", "dim")]


def _folded(reasons: Sequence[str]) -> list[str]:
    """Say once what several processes (`process 7: why`) ended with."""
    who: dict[tuple[str, str], list[str]] = {}
    for reason in reasons:
        found = _ENDED.fullmatch(reason)
        kind, number, why = found.groups() if found else ("", "", reason)
        who.setdefault((kind, why), []).append(number)
    return [f"{kind}{', '.join(numbers)}: {why}" if kind else why for (kind, why), numbers in who.items()]


def _reasons(view: View, room: int) -> Iterator[Line]:
    reasons = view.get("reasons") or ()
    if not reasons:
        return
    yield [("why files do not count yet", "bold")]
    counts = [f"{row['files']:,}{'+' if row.get('at_least') else ''}" for row in reasons]
    longest = max(map(len, counts))
    for row, count in zip(reasons, counts, strict=True):
        indent = longest + 15
        first, *rest = wrapped(row["why"], room - indent)
        yield [(f"  {count:>{longest}}  ", ""), (f"{row['state']:9}  ", words.state_style(row["state"])), (first, "")]
        for more in rest:
            yield [(" " * indent + more, "")]
