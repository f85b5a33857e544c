"""`report`: how a request runs, on the terminal or as a page."""

from __future__ import annotations

from typing import Annotated

import typer

from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.words import Json, Project

app = noun("See how a request runs.")


@verb(app, "report", example="bookkeeper report zmumu-mass --html report.html")
def report(
    project: Project,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write one HTML page with plots, which needs nothing else.")
    ] = None,
    json: Json = False,
) -> None:
    """Show nodes, wall time and memory, slow nodes, progress over time, lost time by category, and efficiency."""
    from bookkeeper import reporting

    with catalogs.reading() as database:
        view = reporting.performance_of(database, project)
        failed = reporting.failures_of(database, project) if html is not None else None
    written = None
    if html is not None and failed is not None:
        written = reporting.write_page(reporting.page_of(view, failed), html)
    if json:
        render.json_object(view)
    elif written is not None:
        render.say(f"wrote {written}")
        render.next_step(f"open {written}   (in a browser)")
    else:
        render.report_screen(view)
        render.next_step(f"bookkeeper report {project} --html report.html   (with plots)")
