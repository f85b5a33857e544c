"""Failures on the screen: of a request, of one process, and what explaining them anew has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bookkeeper_cli.render import words
from bookkeeper_cli.render.lines import Line, draw, listed, paragraph, steps, title
from bookkeeper_cli.render.streams import visible
from bookkeeper_cli.render.tables import Column, table

View = Mapping[str, Any]

EXCERPT: Final = 30
"""Lines of stderr that are shown."""

_LABEL: Final = 12


def _some(number: int | None) -> str:
    return words.number(number) if number else ""


_COUNTED: Final = (
    Column("processes", show=words.number, right=True),
    Column("files", show=words.number, right=True),
    Column("retried", show=words.number, right=True),
    Column("recovered", show=words.number, right=True),
    Column("parked", show=_some, right=True, spare=True),
    Column("waiting", show=_some, right=True, spare=True),
    Column("waste_s", "lost", show=words.spent, right=True),
)
_SPARE: Final = ("parked", "waiting")
_CATEGORIES: Final = (Column("category"), *_COUNTED)
_RULES: Final = (Column("rule"), *_COUNTED)
_NODES: Final = (Column("node"), *_COUNTED, Column("last_at", "last", show=words.when))
_PARKED: Final = (Column("file"), Column("attempts", right=True), Column("reason"))
_CHANGES: Final = (
    Column("from_category", "was"),
    Column("from_rule", "by rule"),
    Column("to_category", "is"),
    Column("to_rule", "by rule"),
    Column("processes", show=words.number, right=True),
    Column("example", right=True),
)


def failures_screen(view: View) -> None:
    """Print the failures of a request."""
    draw([_summary(view)])
    if view["processes"]:
        _titled("by category", view["categories"], _CATEGORIES)
        _titled("by rule", view["rules"], _RULES)
        draw(_messages(view["messages"]))
        _titled("by node", view["nodes"], _NODES)
    draw(_decisions(view["decisions"]))
    draw(_suspects(view))
    if view["parked"]["count"]:
        draw([[], title("parked files")])
        table(view["parked"]["files"], _PARKED, indent="  ")
        draw(_more(view["parked"]["count"] - len(view["parked"]["files"])))
    draw([[], *steps(view)])


def _summary(view: View) -> Line:
    narrowed = "".join(f", {name} {visible(str(value))}" for name, value in view["filters"].items())
    if not view["processes"]:
        return [(view["request"], "bold"), (f"{narrowed}: no process failed", "")]
    counts = (
        f"{words.count(view['processes'], 'process', 'processes')} failed, with {words.count(view['files'], 'file')}"
    )
    lost = f"; {words.span(view['waste_s'])} lost" if view["waste_s"] else ""
    return [(view["request"], "bold"), (narrowed, ""), (f": {counts}{lost}", "")]


def _titled(name: str, rows: Sequence[View], columns: Sequence[Column]) -> None:
    """Print how failures of each group count; what no group has, is left out."""
    draw([[], title(name)])
    table([{**row, **{key: row[key] or None for key in _SPARE}} for row in rows], columns, indent="  ")


def _more(count: int) -> Iterator[Line]:
    if count > 0:
        yield [(f"  and {count:,} more", "dim")]


def _messages(rows: Sequence[View]) -> Iterator[Line]:
    yield []
    yield title("what they said")
    longest = max(len(f"{row['processes']:,}") for row in rows)
    indent = longest + 5
    for row in rows:
        first = [(f"  {row['processes']:>{longest},} × ", "bold")]
        yield from paragraph(row["message"] or "nothing", indent, first=first)
        who = (
            f"processes {', '.join(map(str, row['examples']))}"
            if row["processes"] > 1
            else f"process {row['examples'][0]}"
        )
        more = ", …" if row["processes"] > len(row["examples"]) else ""
        files = f"; files {listed(row['concerned'])}" if row["concerned"]["names"] else ""
        about = f"{row['category']}, rule {row['rule']}; on {listed(row['nodes'])}{files}; {who}{more}"
        yield from paragraph(about, indent, "dim")
        if row["remedy"]:
            yield from paragraph(row["remedy"], indent + 2, first=[(" " * indent + "→ ", "dim")])


def _decisions(made: View) -> Iterator[Line]:
    if made["counts"] or made["pauses"]:
        yield []
        yield title("what was decided")
    if made["counts"]:
        yield from paragraph(", ".join(f"{name} {times:,} ×" for name, times in made["counts"].items()), 2)
    for row in made["pauses"]:
        kind = str(row["kind"]).removeprefix("project.")
        first = [(f"  {words.when(row['at'])}  {kind}  ", "dim")]
        yield from paragraph(row.get("reason") or "", len(first[0][0]), first=first)


def _suspects(view: View) -> Iterator[Line]:
    files, nodes, excluded = view["suspects"]["files"], view["suspects"]["nodes"], view["excluded"]
    if files or nodes or excluded:
        yield []
        yield title("suspects")
    for row in files:
        where = ", ".join(row["nodes"])
        text = f"file {row['file']} failed {words.count(row['failures'], 'time')}, on {where}; now {row['state']}"
        yield from paragraph(text, 2)
    for row in nodes:
        share = f"{row['failures']:,} of {words.count(row['processes'], 'process', 'processes')} failed there"
        yield from paragraph(f"node {row['node']}: {share}, with {words.count(row['files'], 'different file')}", 2)
    for row in excluded:
        yield from paragraph(f"node {row['node']} is excluded until {words.when(row['until'])}: {row['reason']}", 2)


def failed_process(view: View) -> None:
    """Print all that is known of the failure of one process."""
    draw(_process(view))


def _process(view: View) -> Iterator[Line]:
    said = view["explanation"]
    where = f" on {visible(view['node'])}" if view["node"] else ""
    yield [(f"process {view['process_id']}", "bold"), (f" of {view['project']}{where}", "")]
    ran = f"after {words.span(view['wall_time_s'])}, with {words.count(view['files'], 'file')}"
    yield from _labelled("failed", f"{words.when(view['ended_at'])}, {ran}")
    yield from explanation_lines(said)
    for key, name in (("step", "step"), ("exit_code", "exit code"), ("signal", "signal"), ("hold_code", "hold code")):
        yield from _labelled(name, said.get(key))
    yield from _labelled("state", said.get("state"))
    for number, (kind, text) in enumerate(said.get("exceptions") or ()):
        yield from _labelled("" if number else "exception", f"{kind}: {text}")
    yield from _labelled("decision", _decision(view["decision"]))
    yield from _labelled("measured", _measured(view["performance"]))
    yield from _labelled(
        "files", ", ".join(_file(one) for one in view["deliveries"]), view["files"] - len(view["deliveries"])
    )
    for row in view["earlier"]:
        yield from _labelled("earlier", f"{row['category']}, by rule {row['rule']}")
    yield from _excerpt(said.get("stderr") or "")
    yield from steps(view)


def explanation_lines(said: View) -> Iterator[Line]:
    """Yield what a failure was explained by."""
    sure = f" (confidence {said['confidence']:.2g})" if said.get("confidence") else ""
    yield from _labelled("category", f"{said['category']}{sure}")
    by = f", by {said['by']}" if said.get("by") not in (None, "rules") else ""
    yield from _labelled("rule", f"{said['rule']}{by}")
    if said.get("evidence") and said.get("source") != "none":
        yield from _labelled("evidence", f"{said['evidence']}   (in: {said.get('source')})")
    yield from _labelled("message", said.get("message"))
    yield from _labelled("remedy", said.get("remedy"))


def explanation_screen(said: View) -> None:
    """Print what a log was explained by."""
    draw(explanation_lines(said))


def _labelled(name: str, text: Any, more: int = 0) -> Iterator[Line]:
    if text not in (None, ""):
        whole = f"{text} and {more:,} more" if more > 0 else str(text)
        yield from paragraph(whole, _LABEL, first=[(f"{name:{_LABEL}}", "dim")])


def _decision(made: View | None) -> str:
    if made is None:
        return ""
    delay = f"; next try after {words.span(made['delay'])}" if made.get("delay") else ""
    suspects = f"; suspected: {', '.join(made['suspects'])}" if made.get("suspects") else ""
    reason = f"; {made['reason']}" if made.get("reason") else ""
    return f"{', '.join(made.get('decisions') or ()) or 'none'}{delay}{suspects}{reason}"


def _measured(found: View | None) -> str:
    if found is None:
        return ""
    parts = [f"wall {words.span(found['wall_s'])}" if found.get("wall_s") is not None else ""]
    parts.append(f"CPU {words.span(found['cpu_s'])}" if found.get("cpu_s") is not None else "")
    parts.append(f"peak memory {found['peak_rss_mb']:,.0f} MB" if found.get("peak_rss_mb") is not None else "")
    return ", ".join(part for part in parts if part)


def _file(one: View) -> str:
    reason = f": {one['reason']}" if one["reason"] else ""
    return f"{one['file']} ({one['state']}{reason}; now {one['now']})"


def _excerpt(stderr: str) -> Iterator[Line]:
    lines = stderr.splitlines()
    if not lines:
        return
    yield title("stderr")
    if len(lines) > EXCERPT:
        yield [(f"  … {len(lines) - EXCERPT:,} lines before", "dim")]
    for text in lines[-EXCERPT:]:
        yield [("  ", ""), (visible(text), "")]


def reclassified_screen(view: View) -> None:
    """Print what explaining failures anew has changed."""
    would = "would change" if view["dry_run"] else "changed"
    kept = f"; {view['kept']:,} explained by plug-ins were left as they are" if view["kept"] else ""
    text = f"{words.count(view['looked_at'], 'failure')} explained anew: {view['changed']:,} {would}{kept}"
    draw([[(text, "")]])
    if view["changes"]:
        table(view["changes"], _CHANGES, indent="  ")
