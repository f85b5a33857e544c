"""Why nothing is started although files are left, in words."""

from __future__ import annotations

import json
import time
from typing import Final

from bookkeeper.catalog import Database
from bookkeeper.projects import RequestStatus

RESTED: Final = """
SELECT body FROM events WHERE project_id = (SELECT id FROM projects WHERE name = :project) AND kind = 'project.rested'
 ORDER BY id DESC LIMIT 1
"""


def deliverable(status: RequestStatus) -> int:
    """Return how many files would be given to a process that asked now."""
    if status.open_state != "open" or status.rest_until is not None or status.near_is_full:
        return 0
    return status.available - status.delayed


def waiting(database: Database, status: RequestStatus) -> str:
    """Return what the request waits for; "" where there is something to deliver, or nothing left."""
    project = status.open_project
    if status.open_state == "paused":
        return f"paused: {status.pause_reason}; when mended: `bookkeeper project resume {project}`"
    if status.rest_until is not None:
        row = database.one(RESTED, {"project": project})
        reason = json.loads(row["body"]).get("reason") if row else None
        return f"resting until {_clock(status.rest_until)}" + (f": {reason}" if reason else "")
    if status.near_is_full:
        return f"{status.near_bytes:,} bytes wait at the near storage for their transfer"
    if status.delayed and deliverable(status) == 0 and status.next_at is not None:
        one = status.delayed == 1
        files = "1 file waits for its next try" if one else f"{status.delayed:,} files wait for their next try"
        return f"{files} at {_clock(status.next_at)}"
    return ""


def _clock(at: float) -> str:
    """Return a time of today as ``14:05:10``, of another day with its date, in this host's own time."""
    there, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if there[:3] == now[:3] else "%Y-%m-%d %H:%M", there)
