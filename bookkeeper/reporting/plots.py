"""The plots of the report: SVG that takes its colours from the page, so that they are right in light, dark and print.

matplotlib draws with stand-in colours; each is then replaced by the name that the style sheet gives a meaning to.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 5.2, 2.7
"""Inches: at 72 to the inch about what a phone is wide, so that letters keep their size."""

INK: Final = "#010203"
GRID: Final = "#010204"
COLOURS: Final = {
    INK: "currentColor",
    GRID: "var(--grid)",
    "#010205": "var(--good)",
    "#010206": "var(--bad)",
    "#010207": "var(--accent)",
    "#010208": "var(--warn)",
}
GOOD, BAD, ACCENT, WARN = list(COLOURS)[2:]

MOST_NODES: Final = 8

_SETTINGS: Final[Any] = {
    "svg.hashsalt": "bookkeeper",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.major.pad": 5.0,
    "ytick.major.pad": 5.0,
    "text.parse_math": False,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}

_STYLE: Final = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>\s*", re.DOTALL)
_ID: Final = re.compile(r'\bid="([^"]+)"')
_USE: Final = re.compile(r'(url\(#|href="#)([^)"]+)')
_INLINE: Final = re.compile(r'\bstyle="([^"]*)"')
_SIZE: Final = re.compile(r"[0-9.]+px")
_FONT: Final = re.compile(r"(font(?:-family)?: [^;\"]*?)'[^;\"]*(?=[;\"])")


def progress(parts: Sequence[Mapping[str, Any]], files: int, before: int = 0) -> str:
    """Draw the files that were committed in each interval and the share of all, over time; ``before`` had come before."""

    def draw(axes: Axes) -> None:
        begin = parts[0]["begin"]
        unit, name = _unit(parts[-1]["end"] - begin)
        ends = [(part["end"] - begin) / unit for part in parts]
        widths = [ends[0]] * len(ends)
        lefts = [end - ends[0] for end in ends]
        axes.bar(lefts, [part["files"] for part in parts], widths, align="edge", color=GOOD, alpha=0.75)
        axes.set_ylabel("files in each interval", color=GOOD)
        _count(axes)
        axes.set_xlabel(f"{name} since the start")
        axes.grid(visible=False, axis="x")
        axes.set_xlim(0, ends[-1])
        total, sums = before, [100.0 * before / max(files, 1)]
        for part in parts:
            total += part["files"]
            sums.append(100.0 * total / max(files, 1))
        share = axes.twinx()
        share.plot([0.0, *ends], sums, color=ACCENT, linewidth=1.8)
        share.set_ylim(0, 105)
        share.set_ylabel("% of all files", color=ACCENT)
        share.grid(visible=False)

    return _svg("progress", draw, "Files committed in each interval, and the share of all files, over time")


def _count(axes: Axes) -> None:
    """Let the vertical axis count in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def ends(parts: Sequence[Mapping[str, Any]]) -> str:
    """Draw how processes ended, over time."""

    def draw(axes: Axes) -> None:
        begin = parts[0]["begin"]
        unit, name = _unit(parts[-1]["end"] - begin)
        lefts = [(part["begin"] - begin) / unit for part in parts]
        width = (parts[0]["end"] - begin) / unit
        good, bad = [part["committed"] for part in parts], [part["rolled_back"] for part in parts]
        axes.bar(lefts, good, width, align="edge", color=GOOD, alpha=0.75, label="committed")
        axes.bar(lefts, bad, width, bottom=good, align="edge", color=BAD, alpha=0.85, label="rolled back")
        axes.set_ylabel("processes")
        _count(axes)
        axes.set_xlabel(f"{name} since the start")
        axes.grid(visible=False, axis="x")
        axes.set_xlim(0, lefts[-1] + width)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, handlelength=1.0)

    return _svg("ends", draw, "Processes that were committed and rolled back, over time")


def histogram(name: str, found: Mapping[str, Any], label: str, *, scale: float = 1.0) -> str:
    """Draw a distribution; ``label`` names its quantity and unit, ``scale`` is how many of ours are one of these."""

    def draw(axes: Axes) -> None:
        edges = [edge / scale for edge in found["edges"]]
        width = edges[1] - edges[0]
        axes.bar(edges[:-1], found["counts"], width * 0.94, align="edge", color=ACCENT, alpha=0.8)
        axes.axvline(found["median"] / scale, color=INK, linewidth=1.2)
        axes.axvline(found["p95"] / scale, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_xlabel(f"{label}   (line: median, dashed: 95 %)")
        axes.set_ylabel("processes")
        _count(axes)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(edges[0], edges[-1])

    return _svg(name, draw, f"Distribution of {label}")


def seconds(name: str, found: Mapping[str, Any], label: str) -> str:
    """Draw a distribution of lengths of time, in the unit that suits."""
    scale, unit = _unit(found["max"])
    return histogram(name, found, f"{label} in {unit}", scale=scale)


def waste(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the wall time that was lost, by category."""

    def draw(axes: Axes) -> None:
        unit, name = _unit(max(row["waste_s"] for row in rows))
        names = [row["category"].replace("_", " ") for row in rows]
        axes.barh(names, [row["waste_s"] / unit for row in rows], 0.6, color=BAD, alpha=0.85)
        axes.invert_yaxis()
        axes.set_xlabel(f"lost wall time in {name}")
        axes.grid(visible=False, axis="y")

    return _svg("waste", draw, "Wall time of rolled-back processes, by category of failure", rows=len(rows))


def nodes(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw what the nodes did with their wall time, those with most of it."""
    shown = rows[:MOST_NODES]

    def draw(axes: Axes) -> None:
        unit, name = _unit(max(row["wall_time_s"] for row in shown))
        places = range(len(shown))
        useful = [(row["wall_time_s"] - row["waste_s"]) / unit for row in shown]
        axes.barh(places, useful, 0.65, color=GOOD, alpha=0.75, label="not lost")
        axes.barh(
            places, [row["waste_s"] / unit for row in shown], 0.65, left=useful, color=BAD, alpha=0.85, label="lost"
        )
        axes.set_yticks(places, [_short(row["node"] or "unknown") for row in shown])
        axes.invert_yaxis()
        axes.set_xlabel(f"wall time in {name}")
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, handlelength=1.0)

    return _svg("nodes", draw, "Wall time of the nodes, and the part of it that was lost", rows=len(shown))


def _unit(longest: float) -> tuple[float, str]:
    """Return the unit that suits lengths of time up to the longest: its seconds, and its name."""
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * size:
            return size, name
    return 1.0, "seconds"


def _short(text: str, longest: int = 24) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _svg(name: str, draw: Callable[[Axes], None], title: str, *, rows: int = 0) -> str:
    """Return a plot as an SVG element that can stand in a page with others; the same data give the same text."""
    import warnings

    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the page's own fonts draw the letters
        figure = Figure(figsize=(WIDTH, max(HEIGHT, 0.75 + 0.26 * rows)), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _embedded(name, text.getvalue(), title)


def without_styles(svg: str) -> str:
    """Return an SVG of this module whose styles are attributes: a page that forbids inline styles may show it."""
    return _INLINE.sub(lambda found: " ".join(_attributes(found.group(1))), svg)


def _attributes(style: str) -> Iterator[str]:
    for one in style.split(";"):
        name, _, value = one.partition(":")
        if name.strip() == "font":  # "9px inherit": the size is what matters, the family is the page's
            found = _SIZE.search(value)
            if found:
                yield f'font-size="{found.group()}"'
        elif value.strip():
            yield f'{name.strip()}="{value.strip()}"'


def _embedded(name: str, svg: str, title: str) -> str:
    """Return the element alone: identifiers of its own, colours and fonts of the page, a title for those who cannot see."""
    svg = _STYLE.sub("", svg[svg.index("<svg") :].strip())
    svg = _ID.sub(rf'id="{name}-\1"', _USE.sub(rf"\g<1>{name}-\2", svg))
    svg = _FONT.sub(r"\1inherit", svg)
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    head = f'<svg role="img" aria-label="{title}" class="plot" '
    return svg.replace("<svg ", head, 1)
