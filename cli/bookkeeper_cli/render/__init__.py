"""Everything that the command line prints. Others compute.

On a terminal: tables, bars and colours (none where $NO_COLOR is set). In a pipe, and where a line would not fit: plain
lines, whole. rich is imported only where it draws.
"""

from __future__ import annotations

from bookkeeper_cli.render.estimating import estimates
from bookkeeper_cli.render.failing import (
    explanation_screen,
    failed_process,
    failures_screen,
    reclassified_screen,
)
from bookkeeper_cli.render.messages import error, headline, internal_error, next_step, note, say, verdict
from bookkeeper_cli.render.performing import report_screen
from bookkeeper_cli.render.progress import Progress, progress
from bookkeeper_cli.render.screen import Watch, status_lines, watching
from bookkeeper_cli.render.streams import line, on_terminal, prepare_streams, raw
from bookkeeper_cli.render.tables import Column, json_object, record, table
from bookkeeper_cli.render.words import count, number, size, span, spent, state_style, when

__all__ = [
    "Column",
    "Progress",
    "Watch",
    "count",
    "error",
    "estimates",
    "explanation_screen",
    "failed_process",
    "failures_screen",
    "headline",
    "internal_error",
    "json_object",
    "line",
    "next_step",
    "note",
    "number",
    "on_terminal",
    "prepare_streams",
    "progress",
    "raw",
    "reclassified_screen",
    "record",
    "report_screen",
    "say",
    "size",
    "span",
    "spent",
    "state_style",
    "status_lines",
    "table",
    "verdict",
    "watching",
    "when",
]
