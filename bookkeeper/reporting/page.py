"""The report as one HTML page: nothing is loaded from anywhere, no script runs, and nothing from the catalog is trusted."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bookkeeper.errors import StorageError
from bookkeeper.reporting import plots, values


def page_of(report: Mapping[str, Any], failed: Mapping[str, Any]) -> str:
    """Return the HTML page of what `performance_of` and `failures_of` found of a request."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    import bookkeeper

    environment = Environment(
        loader=PackageLoader("bookkeeper.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(values.FILTERS)
    template = environment.get_template("page.html.j2")
    return template.render(report=report, failed=failed, figures=_figures(report), version=bookkeeper.__version__)


def write_page(text: str, path: str | os.PathLike[str]) -> Path:
    """Write a page whole, or not at all. Return its absolute path. Raises `StorageError`."""
    target = Path(path).absolute()
    try:
        if target.is_dir():
            raise StorageError(f"{target} is a folder", remedy=f"name a file: {target / 'report.html'}")
        if not target.parent.is_dir():
            raise StorageError(f"the folder {target.parent} does not exist", remedy=f"mkdir -p {target.parent}")
        beside = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}")
        try:
            beside.write_text(text, encoding="utf-8", errors="backslashreplace")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        remedy = "check the path, the space and the permissions, or name another file"
        raise StorageError(f"{target} cannot be written: {why}", remedy=remedy) from error
    return target


def _figures(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the plots that there are data for, each with its title, what it says in words, and its SVG."""
    from markupsafe import Markup

    files = report["status"]["files"]
    busy = [row for row in report["nodes"] if row["wall_time_s"] > 0]
    lost = [row for row in report["waste"] if row["waste_s"] > 0]
    wall, memory, efficiency, speed = (report[key] for key in ("wall_time_s", "peak_rss_mb", "cpu_efficiency", "speed"))
    drawn: list[tuple[str, str, str]] = []
    if report["progress"]:
        drawn.append(("Progress", "", plots.progress(report["progress"], files)))
        drawn.append(("How processes ended", "", plots.ends(report["progress"])))
    if wall:
        label = "wall time of committed processes"
        drawn.append(("Wall time", _in_short(wall, values.span), plots.seconds("wall", wall, label)))
    if memory:
        words = _in_short(memory, lambda value: f"{value:,.0f} MB")
        drawn.append(("Memory", words, plots.histogram("memory", memory, "peak memory in MB")))
    if efficiency:
        label = "CPU time / wall time in %"
        drawn.append(
            (
                "CPU efficiency",
                _in_short(efficiency, values.percent),
                plots.histogram("cpu", efficiency, label, scale=0.01),
            )
        )
    if speed:
        words = _in_short(speed, lambda value: f"{values.speed(value)} {speed['unit']}")
        drawn.append(("Speed", words, plots.histogram("speed", speed, f"{speed['unit']} of committed processes")))
    if lost:
        drawn.append(("Lost time", "wall time of rolled-back processes", plots.waste(lost)))
    if busy:
        more = f"the {plots.MOST_NODES} busiest of {len(busy):,}" if len(busy) > plots.MOST_NODES else ""
        drawn.append(("Nodes", more, plots.nodes(busy)))
    # what matplotlib wrote is markup, whose texts it has escaped
    return [{"title": title, "words": words, "svg": Markup(svg)} for title, words, svg in drawn]  # noqa: S704


def _in_short(found: Mapping[str, Any], show: Any) -> str:
    return f"median {show(found['median'])}, 95 % up to {show(found['p95'])}, at most {show(found['max'])}"
