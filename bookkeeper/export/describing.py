"""Say in the export what it is: titles, what every column means, and the same for Datasette."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.export.contents import EXPORTED, FAILURES, VIEWS
from bookkeeper.export.tables import types_of
from bookkeeper.reporting import write_page

if TYPE_CHECKING:
    from sqlite_utils import Database as Target

SUMMARY: Final = (
    "What was processed, by whom, and what came of it: exported by bookkeeper. Times are seconds since the epoch, UTC"
    " (columns in _utc show them as dates); sizes are bytes; the table `descriptions` says what every column means."
)


def views(target: Target) -> None:
    """Create the documented views: they read the tables of an export as they read those of a catalog."""
    from bookkeeper_schema.migrate import view_sources

    sources = view_sources()
    for name in VIEWS:
        target.execute(sources[name])


def inside(target: Target, facts: Mapping[str, Any]) -> None:
    """Write the tables that describe the export: ``about`` and ``descriptions``."""
    target.table("about").insert_all(
        [["item", "value"], *([name, str(value)] for name, value in facts.items())], pk="item", columns={"value": str}
    )
    target.table("descriptions").insert_all(
        [
            ["table_name", "column_name", "description"],
            *(
                [name, column, words]
                for name, described in _tables().items()
                for column, words in (("", described["description"]), *described.get("columns", {}).items())
            ),
        ],
        pk=("table_name", "column_name"),
    )


def write(path: str | os.PathLike[str], database: str, facts: Mapping[str, Any]) -> str:
    """Write the metadata file of Datasette for an export whose file name begins with ``database``; return its path."""
    text = json.dumps(metadata(database, facts), indent=2, ensure_ascii=False)
    return str(write_page(f"{text}\n", path))


def metadata(database: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return Datasette's metadata (https://docs.datasette.io/en/stable/metadata.html)."""
    title = f"{facts['request']}: the history of a request"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts["exported_at"]))
    about = {
        "title": title,
        "description": f"{SUMMARY} Exported {when}.",
        "source": f"bookkeeper catalog {facts['catalog']}, epoch {facts['epoch']}",
    }
    # Datasette would show the words of all columns above the first row; they are in `descriptions`
    shown = {name: {key: one for key, one in said.items() if key != "columns"} for name, said in _tables().items()}
    return {**about, "databases": {database: {**about, "tables": shown}}}


def _tables() -> dict[str, dict[str, Any]]:
    from bookkeeper_schema.meanings import column_meanings

    words = column_meanings()
    found: dict[str, dict[str, Any]] = {}
    for table in EXPORTED:
        known = _FAILURES if table is FAILURES else words[table.name]
        columns = {name: known[name] for name in types_of(table)}
        columns |= {f"{name}_utc": f"{known[name]}: as a date" for name in table.times}
        found[table.name] = {"description": table.title, "columns": columns, "facets": list(table.facets)}
        if table.name == "events":
            found[table.name]["sort"] = "id"
    found |= {name: {"description": title} for name, title in VIEWS.items()}
    found["about"] = {"description": "Of which request, from which catalog, and when this was exported"}
    found["descriptions"] = {"description": "What every table and column means"}
    return found


_FAILURES: Final = {
    "process_id": "the process that failed",
    "request": "the request",
    "project": "the project",
    "node": "the node it ran on",
    "at": "when it ended",
    "category": "what kind of failure it was",
    "rule": "the rule that told so",
    "confidence": "how sure the rule is, 0 to 1",
    "message": "what the job said last, in one line",
    "fingerprint": "the message without what differs from one failure to the next",
    "evidence": "the line that the rule matched",
    "remedy": "what to do about it",
    "step": "the step of the job that failed",
    "exit_code": "the exit code of the command",
    "signal": "the signal that ended it",
    "files": "how many files the process had been given",
    "wall_time_s": "how long it ran, in seconds",
    "by": "who explained it: the rules, or a person",
    "retried": "how many of its files were given to another process since",
    "recovered": "how many of its files are committed now",
    "parked": "how many of its files are parked now",
    "waiting": "how many of its files are available now, for their next try",
}
