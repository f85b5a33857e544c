"""The report on the screen: nodes, time and memory, progress, waste."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bookkeeper_cli.render import words
from bookkeeper_cli.render.lines import Line, draw, paragraph, percent, spark, speed, title
from bookkeeper_cli.render.screen import summary
from bookkeeper_cli.render.streams import drawable, visible
from bookkeeper_cli.render.tables import Column, table

View = Mapping[str, Any]

NODES: Final = 20
SLOW: Final = 10
_LABEL: Final = 14


def _until(until: float | None) -> str:
    return "" if until is None else f"until {words.when(until)[5:16]}"


_NODES: Final = (
    Column("node"),
    Column("running", show=words.number, right=True),
    Column("committed", "successful", show=words.number, right=True),
    Column("stageout_failures", "stage-out", show=words.number, right=True),
    Column("failed", show=words.number, right=True),
    Column("failed_files", "hit", show=words.number, right=True),
    Column("retried", show=words.number, right=True),
    Column("recovered", show=words.number, right=True),
    Column("wall_time_s", "wall time", show=words.spent, right=True),
    Column("waste_s", "lost", show=words.spent, right=True),
    Column("excluded", show=str, spare=True),
)
_WASTE: Final = (
    Column("category"),
    Column("processes", show=words.number, right=True),
    Column("waste_s", "lost", show=words.spent, right=True),
)


def report_screen(view: View) -> None:
    """Print the report of a request."""
    draw(_head(view))
    if not view["nodes"]:
        draw([[("no process has been started yet", "dim")]])
        return
    nodes = view["nodes"]
    domain = _domain([row["node"] for row in nodes[:NODES]])
    draw([[], [("nodes", "bold"), (f" of {domain[1:]}" if domain else "", "dim")]])
    draw([[("  (stage-out: processes whose output could not be stored)", "dim")]])
    if any(row["failed_files"] for row in nodes):
        draw(
            [[("  (hit: files of processes that failed; retried: given out again; recovered: committed since)", "dim")]]
        )
    table([_shown(row, domain) for row in nodes[:NODES]], _NODES, indent="  ")
    if len(nodes) > NODES:
        draw([[(f"  and {len(nodes) - NODES:,} more (--json prints all)", "dim")]])
    draw(_slow(view["slow_nodes"]))
    draw(_distributions(view))
    if view["waste"]:
        draw([[], title("lost time")])
        table(view["waste"], _WASTE, indent="  ")


def _domain(names: list[str | None]) -> str:
    """Return the domain that several nodes share, with its dot; nothing where they do not."""
    domains = {name.partition(".")[2] for name in names if name}
    domain = domains.pop() if len(domains) == 1 and len(names) > 1 else ""
    return f".{domain}" if domain else ""


def _shown(row: View, domain: str) -> dict[str, Any]:
    until = _until(row["excluded_until"]) if row["excluded"] else ""
    return {**row, "node": (row["node"] or "unknown").removesuffix(domain), "excluded": until}


def _head(view: View) -> Iterator[Line]:
    now, totals = view["status"], view["totals"]
    state = "complete" if now["complete"] else now["open_state"] or "ended"
    style = "green" if now["complete"] else words.state_style(state)
    yield [(view["request"], "bold"), ("  ", ""), (state, style), (f"  {summary(now)}", "")]
    counts = (
        f"{totals['running']:,} running, {totals['committed']:,} successful, {totals['failed']:,} failed,"
        f" {words.count(totals['stageout_failures'], 'stage-out failure')}"
    )
    yield from _labelled("processes", counts)
    if totals["wall_time_s"]:
        lost = (
            f"{words.span(totals['waste_s'])} of them lost ({percent(totals['waste_share'])})"
            if totals["waste_s"]
            else "none lost"
        )
        yield from _labelled("wall time", f"{words.span(totals['wall_time_s'])}, {lost}")
    if totals["cpu_efficiency"] is not None:
        measured = words.count(totals["measured"], "measured process", "measured processes")
        yield from _labelled("efficiency", f"{percent(totals['cpu_efficiency'])} (CPU time / wall time, {measured})")
    if totals["entries"]:
        yield from _labelled("read", f"{totals['entries']:,} entries" + _bytes(totals["input_bytes"]))


def _bytes(amount: int | None) -> str:
    return f", {words.size(amount)} of input" if amount else ""


def _labelled(name: str, text: str) -> Iterator[Line]:
    yield from paragraph(text, _LABEL, first=[(f"{name:{_LABEL}}", "dim")])


def _slow(rows: Any) -> Iterator[Line]:
    for row in rows[:SLOW]:
        how = f"{speed(row['median'])} {row['unit']} in the median, all nodes {speed(row['whole'])}"
        first = [("  slow: ", "yellow")]
        yield from paragraph(f"{row['node']} is {row['times']:.1f} times slower ({how})", 8, first=first)
    if len(rows) > SLOW:
        yield [(f"  and {len(rows) - SLOW:,} more that are slow", "dim")]


def _distributions(view: View) -> Iterator[Line]:
    parts = (
        ("wall time", view["wall_time_s"], words.span),
        ("memory", view["peak_rss_mb"], lambda value: f"{value:,.0f} MB"),
        ("efficiency", view["cpu_efficiency"], percent),
        ("speed", view["speed"], lambda value: f"{speed(value)} {view['speed']['unit']}"),
    )
    known = [(name, found, show) for name, found, show in parts if found]
    if known or view["progress"]:
        yield []
        yield title("how processes ran")
    for name, found, show in known:
        shown = ", ".join(f"{key} {show(found[key])}" for key in ("min", "median", "p95", "max"))
        yield [
            (f"  {name:{_LABEL - 2}}", "dim"),
            (_framed(spark(found["counts"])), "cyan"),
            (f" {show(found['edges'][0]) if found['edges'][0] else 0} to {show(found['edges'][-1])}", "dim"),
        ]
        yield [(" " * _LABEL, ""), (shown, ""), (f"  ({words.count(found['count'], 'process', 'processes')})", "dim")]
    if view["progress"]:
        yield from _progress(view["progress"])


def _progress(parts: Any) -> Iterator[Line]:
    files = [part["files"] for part in parts]
    length = parts[0]["end"] - parts[0]["begin"]
    best = max(files) / length * 3600
    yield [
        ("  files        "[:_LABEL].ljust(_LABEL), "dim"),
        (_framed(spark(files)), "green"),
        (f" up to {best:,.0f} files/h", ""),
    ]
    lost = [part["rolled_back"] for part in parts]
    if any(lost):
        yield [
            ("  rolled back ".ljust(_LABEL), "dim"),
            (_framed(spark(lost)), "red"),
            (f" {words.count(sum(lost), 'process', 'processes')}", ""),
        ]
    since, until = words.when(parts[0]["begin"]), words.when(parts[-1]["end"])
    yield [(" " * _LABEL, ""), (visible(f"from {since} to {until}"), "dim")]


def _framed(bars: str) -> str:
    edge = "│" if drawable("│") else "|"
    return f"{edge}{bars}{edge}"
